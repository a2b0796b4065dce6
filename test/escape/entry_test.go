package escape

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// attacksByExec are CVE-2024-21626: a working directory that is a descriptor of the runtime's.
func attacksByExec(t *testing.T, s *suite) {
	const name = "a working directory through /proc/self/fd (CVE-2024-21626)"
	s.background(t, "cwd", nil, "hold", "100")
	last := outcome{"held", "no descriptor is a folder"}
	for fd := 3; fd < 13; fd++ {
		at := fmt.Sprintf("/proc/self/fd/%d", fd)
		for _, r := range []outcome{
			s.inNaru(words("-w", at), "host-file", s.flag),
			s.exec("cwd", words("-w", at), "host-file", s.flag),
		} {
			if r.verdict == "escaped" {
				last = r
			}
		}
	}
	s.table.note(t, name, naru, last)
	root, err := os.Open("/")
	must(t, err)
	defer root.Close()
	s.table.red(t, name, "with a descriptor of / left open", s.onHost(t, []*os.File{root}, "host-file", s.flag))

	const ptrace = "another user's ptrace of process 1"
	s.table.note(t, ptrace, naru, s.exec("cwd", words("-u", "1000"), "ptrace-init"))
	s.table.red(t, ptrace, "as the same user", s.exec("cwd", nil, "ptrace-init"))
}

func (s *suite) exec(name string, flags []string, args ...string) outcome {
	r := s.d.Naru(append(append(append(words("container", "exec"), flags...), name, "/attacker"), args...)...)
	return parse(r.Stdout+r.Stderr, r.Code)
}

// attacksOnEntry wait inside for the runtime to come in: CVE-2019-5736 and CVE-2016-9962.
func attacksOnEntry(t *testing.T, s *suite) {
	for _, a := range []struct{ name, watch string }{
		{"overwrite the runtime through /proc/PID/exe (CVE-2019-5736)", "watch-exe"},
		{"trace the runtime as it enters (CVE-2016-9962)", "watch-ptrace"},
	} {
		t.Run(a.watch, func(t *testing.T) {
			s.table.note(t, a.name, naru, s.watchExecs(t, a.watch))
			s.table.red(t, a.name, "a program of the host that is neither sealed nor undumpable", s.watchVictim(t, a.watch))
		})
	}
	const entrypoint = "/proc/self/exe as the container's program"
	r := s.d.Naru("container", "run", "--rm", image, "/proc/self/exe")
	o := outcome{"held", fmt.Sprintf("exit status %d: %s", r.Code, r.Stderr)}
	if r.Code == 0 {
		o.verdict = "escaped"
	}
	s.table.note(t, entrypoint, naru, o)
}

// watchExecs watches in a container that is entered many times.
func (s *suite) watchExecs(t *testing.T, watch string) outcome {
	s.background(t, watch, nil, watch, "memfd", "15")
	s.says(t, watch, "watching")
	for range 15 {
		s.d.Naru("container", "exec", watch, "/proc/self/exe")
		s.d.Naru("container", "exec", watch, "/bin/true")
	}
	s.d.Naru("container", "exec", watch, "/bin/touch", "/tmp/stop")
	return parseLog(s.says(t, watch, ": "))
}

// watchVictim has the same attack watch a program of the host that nothing protects, in a pid namespace of their own.
func (s *suite) watchVictim(t *testing.T, watch string) outcome {
	t.Helper()
	victim := filepath.Join(s.dir, "victim")
	body, err := os.ReadFile(s.attacker)
	must(t, err)
	must(t, os.WriteFile(victim, body, 0o755))
	script := fmt.Sprintf("mount -t proc proc /proc; %s %s victim 5 & w=$!; for i in 1 2 3 4 5 6 7 8; do %s hold 0 >/dev/null 2>&1; done; wait $w; exit $?", s.attacker, watch, victim)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID, Unshareflags: unix.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	out, _ := cmd.CombinedOutput() // how it ended is in its exit status
	return parse(string(out), cmd.ProcessState.ExitCode())
}
