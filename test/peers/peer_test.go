package peers

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"naru/internal/testkit"
)

// peer is somebody else's engine, as its command line shows it.
type peer struct {
	t       testing.TB
	name    string
	command func(args ...string) *exec.Cmd
}

// try runs the peer's command and returns what it said and its exit status.
func (p *peer) try(args ...string) (out string, status int, err error) {
	b, err := p.command(args...).CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		status = exit.ExitCode()
	}
	return strings.TrimSpace(strings.ReplaceAll(string(b), "\r", "")), status, err
}

// want runs the peer's command and wants words in its output, and an exit status.
func (p *peer) want(words string, status int, args ...string) {
	p.t.Helper()
	out, got, _ := p.try(args...)
	if got != status || !strings.Contains(out, words) {
		p.t.Errorf("%s %s: status %d, want %d; said %q, want %q", p.name, strings.Join(args, " "), got, status, out, words)
	}
}

// runtime is the program that stands in for runc.
func runtime(t testing.TB) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(testkit.Binary(t)), "naru-oci")
	if _, err := os.Stat(path); err != nil {
		t.Skip("needs naru-oci: run make build")
	}
	return path
}

// makeRootfs unpacks busybox into a folder.
func makeRootfs(t testing.TB, dir string) string {
	t.Helper()
	rootfs := filepath.Join(dir, "rootfs")
	must(t, os.MkdirAll(rootfs, 0o755))
	untar := exec.Command("tar", "-x", "-p", "-C", rootfs)
	untar.Stdin = bytes.NewReader(testkit.BusyboxRootfs(t))
	if out, err := untar.CombinedOutput(); err != nil {
		t.Fatalf("unpack the rootfs: %v: %s", err, out)
	}
	return rootfs
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
