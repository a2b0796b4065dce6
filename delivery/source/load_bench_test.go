package source

import "testing"

// BenchmarkLoad is what `naru up` spends on reading the guestbook, beyond the first time in a process.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := Load(b.Context(), "../../examples/guestbook", Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
