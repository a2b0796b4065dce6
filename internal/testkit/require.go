package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// RequireRoot skips the test when it may not make namespaces, mounts and cgroups.
func RequireRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes namespaces, mounts and cgroups")
	}
}

// RequireCommand skips the test when a program that it needs is missing.
func RequireCommand(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("needs %s: run make deps", name)
	}
	return path
}

// Binary is the path of the naru program: what NARU_BIN names, as `make test` does, else bin/naru as it was last built.
func Binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv("NARU_BIN")
	if path == "" {
		_, here, _, _ := runtime.Caller(0)
		path = filepath.Join(filepath.Dir(here), "..", "..", "bin", "naru")
	}
	if _, err := os.Stat(path); err != nil { // also tells go test that a cached result depends on the program
		t.Skipf("needs the naru program: run make build (%v)", err)
	}
	return path
}

// Eventually waits until check returns nil, and fails the test with its last error when that takes longer than limit.
func Eventually(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s: %v", limit, what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
