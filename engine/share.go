package engine

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/naru"
)

// shared is what a container has of another one's: all of one container, which runs.
type shared struct {
	with       Container
	namespaces []specs.LinuxNamespace
	pidfd      *os.File // of that one's process 1; nil when nothing is shared
}

// findShared looks for the container whose namespaces c asks for.
func (e *Engine) findShared(c Container) (shared, error) {
	var s shared
	for _, ask := range []struct {
		what, whose, file string
		kind              specs.LinuxNamespaceType
	}{{"network", c.Spec.Network, "net", specs.NetworkNamespace}, {"processes", c.Spec.Isolation.PID, "pid", specs.PIDNamespace}} {
		name, ok := strings.CutPrefix(ask.whose, containerNetwork)
		if !ok {
			continue
		}
		other, pidfd, err := e.runningOther(c, name, ask.what)
		if err == nil && s.pidfd != nil && other.ID != s.with.ID {
			closeAll(pidfd)
			err = naru.Errorf(naru.InvalidArgument, "container %s shares the network of %s and the processes of %s: both can be had of one container only", c.Name, s.with.Name, other.Name)
		}
		if err != nil {
			closeAll(s.pidfd)
			return shared{}, err
		}
		closeAll(s.pidfd)
		s.with, s.pidfd = other, pidfd
		s.share(ask.kind, ask.file)
	}
	return s, e.shareUsers(c, &s)
}

func (s *shared) share(kind specs.LinuxNamespaceType, file string) {
	s.namespaces = append(s.namespaces, specs.LinuxNamespace{Type: kind, Path: "/proc/" + strconv.Itoa(s.with.PID) + "/ns/" + file})
}

// shareUsers shares the user namespace, too, where processes are shared: the kernel shows them only to who is root over
// their namespace.
func (e *Engine) shareUsers(c Container, s *shared) (err error) {
	if !strings.HasPrefix(c.Spec.Isolation.PID, containerNetwork) {
		return nil
	}
	switch {
	case s.with.Spec.HostUserNS != c.Spec.HostUserNS:
		err = naru.Errorf(naru.InvalidArgument, "container %s shares the processes of %s: --userns host is for both, or for none", c.Name, s.with.Name)
	case e.group == "":
		err = naru.Errorf(naru.FailedPrecondition, "containers can share processes only where each has a cgroup, and this user was given none")
	case !c.Spec.HostUserNS:
		s.share(specs.UserNamespace, "user")
	}
	if err != nil {
		closeAll(s.pidfd)
	}
	return err
}

// hasUsers reports whether the other one's user namespace is shared.
func (s shared) hasUsers() bool {
	return slices.ContainsFunc(s.namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.UserNamespace })
}

// runningOther is another container that runs, and its pidfd, which is the caller's.
func (e *Engine) runningOther(c Container, name, what string) (Container, *os.File, error) {
	en, err := e.find(name)
	if err != nil {
		return Container{}, nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	other := en.c
	switch {
	case other.ID == c.ID:
		return other, nil, naru.Errorf(naru.InvalidArgument, "container %s cannot share its own %s", c.Name, what)
	case other.State != Running || en.pidfd == nil:
		return other, nil, naru.Errorf(naru.FailedPrecondition, "container %s shares the %s of %s, which is %s: start that first", c.Name, what, other.Name, other.State)
	}
	pidfd, err := en.dupPidFD()
	if err != nil {
		return other, nil, fmt.Errorf("share the %s of container %s: %w", what, other.Name, err)
	}
	return other, pidfd, nil
}

// dupPidFD is the pidfd as the caller's own, who needs no lock for it: the entry's is closed when the container ends, and
// its number may then be another container's. The engine's lock is held, and there is one.
func (en *entry) dupPidFD() (*os.File, error) {
	fd, err := unix.FcntlInt(en.pidfd.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}
