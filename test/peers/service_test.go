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
	"syscall"
	"testing"
	"time"

	"naru/internal/testkit"
)

// service is a peer that has a daemon, here one of the test's own: what it makes is below its folder, below its cgroup and
// in its namespaces, and ends with it.
type service struct {
	peer
	dir    string
	parent string // cgroup above its containers
	daemon *exec.Cmd
}

// newService makes the folder; the peer's command and daemon are the caller's to add.
func newService(t testing.TB, name string) *service {
	t.Helper()
	dir, err := os.MkdirTemp("", "np") // a socket's path is short of room
	must(t, err)
	return &service{peer: peer{t: t, name: name}, dir: dir, parent: "/naru-peers-" + filepath.Base(dir)}
}

// socket is where the daemon listens.
func (s *service) socket() string { return filepath.Join(s.dir, "sock") }

// start runs the daemon, with its mounts in a namespace of its own, until it answers the peer's command.
func (s *service) start(daemon *exec.Cmd, apart syscall.SysProcAttr) {
	s.t.Helper()
	log, err := os.Create(filepath.Join(s.dir, "log"))
	must(s.t, err)
	defer log.Close()
	apart.Setpgid = true
	apart.Unshareflags = syscall.CLONE_NEWNS
	daemon.Stdout, daemon.Stderr, daemon.SysProcAttr = log, log, &apart
	must(s.t, daemon.Start())
	s.daemon = daemon
	s.t.Cleanup(s.stop)
	testkit.Eventually(s.t, 30*time.Second, s.name+" answers", func() error { _, _, err := s.try("version"); return err })
}

func (s *service) stop() {
	if err := s.daemon.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Error(err)
	}
	_ = s.daemon.Wait() // by a signal
	endShims(s.dir)
	if s.t.Failed() {
		log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
		s.t.Logf("%s: %s", filepath.Base(s.daemon.Path), log[max(0, len(log)-4000):])
	}
	s.removeGroups()
	if err := os.RemoveAll(s.dir); err != nil {
		s.t.Error(err)
	}
}

// removeGroups removes what the daemon leaves of the cgroup above its containers, and fails when one of those is left.
func (s *service) removeGroups() {
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/*"} {
		groups, _ := filepath.Glob(pattern + s.parent)
		for _, g := range groups {
			if err := removeGroups(g); err != nil {
				s.t.Errorf("a cgroup is left: %v", err)
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
