package peers

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
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

// removeGroups removes what a peer leaves of the cgroup above its containers, and fails when one of those is left.
func (p *peer) removeGroups(parent string) {
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		groups, _ := filepath.Glob(pattern + parent)
		for _, g := range groups {
			if err := removeGroups(g); err != nil {
				p.t.Errorf("a cgroup is left: %v", err)
			}
		}
	}
}

// removeGroups removes a cgroup, and fails when a container left one below it that is in use.
func removeGroups(root string) error {
	var groups []string
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			groups = append(groups, path)
		}
		return err
	})
	for _, g := range slices.Backward(groups) {
		err = errors.Join(err, os.Remove(g))
	}
	return err
}

// endShims ends what a daemon leaves of its shims when it is interrupted while one says goodbye.
func endShims(dir string) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		line, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(line, []byte("containerd-shim")) || !bytes.Contains(line, []byte(dir+"/")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by now
		}
	}
}

// unpacked is a folder of what test/deps.sh unpacked.
func unpacked(t testing.TB, folder string) string {
	t.Helper()
	deps := os.Getenv("NARU_DEPS")
	if deps == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skip("needs a home folder: ", err)
		}
		deps = filepath.Join(cache, "naru-deps")
	}
	path := filepath.Join(deps, folder)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("needs Debian's %s: run make deps", filepath.Dir(folder))
	}
	return path
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
