package sandbox

import (
	"testing"

	"golang.org/x/sys/unix"

	"naru/naru"
)

func TestParseSignal(t *testing.T) {
	for word, want := range map[string]unix.Signal{
		"KILL": 9, "SIGTERM": 15, "term": 15, "9": 9, "RTMIN": 34, "RTMIN+3": 37, "SIGRTMIN+3": 37, "SIGRTMAX-1": 63,
	} {
		if got, err := ParseSignal(word); err != nil || got != want {
			t.Errorf("%s: got %d, %v", word, got, err)
		}
	}
	for _, bad := range []string{"", "0", "65", "15abc", "NONE", "SIGNOPE", "RTMIN+31", "RTMAX-31", "-1", "-9"} {
		if got, err := ParseSignal(bad); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("%q: got %d, %v", bad, got, err)
		}
	}
}

// FuzzParseSignal: whatever an image or a person names is refused, or is a signal that the kernel has.
func FuzzParseSignal(f *testing.F) {
	f.Add("SIGRTMIN+3")
	f.Add("15")
	f.Fuzz(func(t *testing.T, s string) {
		if got, err := ParseSignal(s); err == nil && (got < 1 || got > 64) {
			t.Errorf("%q: %d", s, got)
		}
	})
}
