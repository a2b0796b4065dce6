package inside

import (
	"errors"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/program"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// exec becomes the user's process. Ready is said before it, as exec closes the socket when it succeeds; a failure
// after Ready takes it back.
func (m *machine) exec(o *program.Op) error {
	env := withHome(o.Env)
	if err := m.send([]byte{program.MsgReady}); err != nil {
		return fail("ready", err)
	}
	return fail(o.List[0], tryEach(o.List[0], env, func(file string) error {
		return syscall.Exec(file, o.List, env)
	}))
}

// tryEach tries a program's places until run does not return, like execvp: a place without it is passed over, and of
// the other errors the first is told.
func tryEach(name string, env []string, run func(file string) error) error {
	if strings.Contains(name, "/") {
		return run(name)
	}
	first := error(unix.ENOENT)
	for dir := range strings.SplitSeq(searchPath(env), ":") {
		if dir == "" {
			dir = "."
		}
		err := run(dir + "/" + name)
		switch {
		case err == nil:
			return nil
		case !missing(err) && errors.Is(first, unix.ENOENT):
			first = err
		}
	}
	return first
}

func searchPath(env []string) string {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			return v
		}
	}
	return defaultPath
}

// reap executes this very binary again, as a reaper: with the user's identity, capabilities and seccomp filter on all
// of its threads, like any init that an image could bring along.
func (m *machine) reap(o *program.Op) error {
	args, err := syscall.SlicePtrFromStrings(append([]string{program.ReapName}, o.List...))
	if err != nil {
		return fail(o.List[0], err)
	}
	env, err := syscall.SlicePtrFromStrings(withHome(o.Env))
	if err != nil {
		return fail(o.List[0], err)
	}
	if _, err := unix.FcntlInt(uintptr(m.sock), unix.F_SETFD, 0); err != nil {
		return fail("socket", err)
	}
	empty := [1]byte{}
	_, _, errno := syscall.RawSyscall6(unix.SYS_EXECVEAT, uintptr(m.exe), uintptr(unsafe.Pointer(&empty)),
		uintptr(unsafe.Pointer(&args[0])), uintptr(unsafe.Pointer(&env[0])), unix.AT_EMPTY_PATH, 0)
	return fail("the reaper", errno)
}

// withHome adds HOME as the container's /etc/passwd says, when the environment lacks it.
func withHome(env []string) []string {
	for _, e := range env {
		if strings.HasPrefix(e, "HOME=") {
			return env
		}
	}
	return append(env[:len(env):len(env)], "HOME="+home(unix.Getuid()))
}
