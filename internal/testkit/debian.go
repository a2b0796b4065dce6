package testkit

import (
	"os"
	"path/filepath"
	"testing"
)

// DebianDir is the folder into which test/deps.sh unpacks packages of Debian's, one folder below it for each peer.
func DebianDir() string {
	if dir := os.Getenv("NARU_DEPS"); dir != "" {
		return dir
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "naru-deps" // of the working directory: whoever has no home finds nothing there, and is told to make deps
	}
	return filepath.Join(cache, "naru-deps")
}

// Debian is the path of something that test/deps.sh unpacked, such as docker/usr/sbin/runc; without it the test is skipped.
func Debian(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(DebianDir(), name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs Debian's %s: run make deps (%v)", filepath.Base(name), err)
	}
	return path
}
