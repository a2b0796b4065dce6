//go:build !front

package main

import "testing"

func TestWithNameServer(t *testing.T) {
	const conf = "# by hand\nnameserver 127.0.0.53\nsearch example.com\n nameserver ::1\noptions ndots:2\n"
	const want = "nameserver 10.0.2.3\n# by hand\nsearch example.com\noptions ndots:2\n"
	if got := withNameServer(conf); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
