package naru

import (
	"strings"
	"testing"
)

func TestLabels(t *testing.T) {
	long := strings.Repeat("a", 63)
	for s, want := range map[string]bool{
		"a": true, "0": true, "web-2": true, long: true, long[:61] + "-a": true, "a-b-c": true,
		"": false, "-": false, "-a": false, "a-": false, "a--b": false, "A": false, "a.b": false, "a_b": false, "é": false, long + "a": false,
	} {
		if err := ServiceName(s).Validate(); (err == nil) != want {
			t.Errorf("%q: %v, want valid: %v", s, err, want)
		}
	}
}
