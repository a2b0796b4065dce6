package rootless

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"naru/internal/testkit"
)

// The user's ids: nobody else's on any machine, and the further ones that a test may give it.
const (
	uid     = 31001
	subuids = 0x50000000
)

// person is an ordinary user. It lives in a mount and a network namespace of its own, where /etc says who it is.
type person struct {
	testing.TB
	holder *exec.Cmd // has the namespaces
	dir    string    // its home
	bin    string    // its copies of naru's programs
}

// newPerson makes a user, with further ids or with its own alone, on a machine that lacks some programs.
func newPerson(t testing.TB, ids bool, lacks ...string) *person {
	t.Helper()
	testkit.RequireRoot(t)
	for _, program := range []string{"unshare", "nsenter", "setpriv", "busybox", "ip"} {
		testkit.RequireCommand(t, program)
	}
	if ids {
		testkit.RequireCommand(t, "newuidmap")
	}
	dir, err := os.MkdirTemp("", "nr") // a socket's path is short of room
	if err != nil {
		t.Fatal(err)
	}
	p := &person{TB: t, dir: filepath.Join(dir, "home"), bin: filepath.Join(dir, "bin")}
	t.Cleanup(func() { p.check(os.RemoveAll(dir)) })
	p.check(os.Chmod(dir, 0o755), os.Mkdir(p.dir, 0o700), os.Mkdir(p.bin, 0o755), os.Mkdir(p.path("run"), 0o700))
	for _, program := range []string{"naru", "naru-oci"} {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(testkit.Binary(t)), program))
		p.check(err, os.WriteFile(filepath.Join(p.bin, program), b, 0o755))
	}
	p.check(exec.Command("chown", "-R", strconv.Itoa(uid)+":"+strconv.Itoa(uid), p.dir).Run())
	p.settle(ids, lacks)
	return p
}

// settle makes the namespaces in which the user lives. /dev/net/tun is open to everybody there, as it is on Linux.
func (p *person) settle(ids bool, lacks []string) {
	p.Helper()
	lines := ""
	if ids {
		lines = fmt.Sprintf("sailor:%d:65536\\n", subuids)
	}
	script := fmt.Sprintf(`set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /mnt
cp -a /etc/passwd /mnt/passwd; echo 'sailor:x:%[1]d:%[1]d::%[2]s:/bin/sh' >>/mnt/passwd; mount --bind /mnt/passwd /etc/passwd
for f in subuid subgid; do printf '%[3]s' >/mnt/$f; touch /etc/$f; mount --bind /mnt/$f /etc/$f; done
if [ -e /dev/net/tun ]; then mknod -m 666 /mnt/tun c 10 200; mount --bind /mnt/tun /dev/net/tun; fi
ip link set lo up
for f in %[4]s; do f=$(command -v $f) || continue; mount --bind /dev/null "$(readlink -f "$f")"; done
echo settled
exec sleep infinity`, uid, p.dir, lines, strings.Join(lacks, " "))
	p.holder = exec.Command("unshare", "--mount", "--net", "sh", "-c", script)
	out, err := p.holder.StdoutPipe()
	p.check(err)
	var said bytes.Buffer
	p.holder.Stderr = &said
	p.check(p.holder.Start())
	p.Cleanup(func() {
		p.check(p.holder.Process.Kill())
		_ = p.holder.Wait() // killed
	})
	p.Cleanup(p.nothingLeft)
	line := make([]byte, len("settled\n"))
	if _, err := out.Read(line); err != nil {
		p.Fatalf("make the user's world: %v: %s", err, said.String())
	}
}

func (p *person) path(elements ...string) string {
	return filepath.Join(append([]string{p.dir}, elements...)...)
}

func (p *person) check(errs ...error) {
	p.Helper()
	for _, err := range errs {
		if err != nil {
			p.Fatal(err)
		}
	}
}

// command is a program that the user runs at home. What leads there has its path: busybox's shell would run busybox's.
func (p *person) command(name string, args ...string) *exec.Cmd {
	id := strconv.Itoa(uid)
	return p.asRoot(testkit.RequireCommand(p, "setpriv"), append([]string{"--reuid", id, "--regid", id, "--clear-groups", "--inh-caps=-all", name}, args...)...)
}

// asRoot is a program that root runs at the user's home.
func (p *person) asRoot(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(testkit.RequireCommand(p, "nsenter"), append([]string{"--target", strconv.Itoa(p.holder.Process.Pid), "--mount", "--net", "--wd=" + p.dir, name}, args...)...)
	cmd.Env = []string{"PATH=" + p.bin + ":/usr/bin:/bin:/usr/sbin:/sbin", "HOME=" + p.dir, "XDG_RUNTIME_DIR=" + p.path("run")}
	return cmd
}

// run runs a program to its end and returns what it said, and its exit status. What it says goes to a file: a container
// that lives on holds it open.
func (p *person) run(name string, args ...string) (string, int) {
	p.Helper()
	return p.end(p.command(name, args...))
}

// runIn is run in a cgroup that is the user's, or below it where naru has moved to.
func (p *person) runIn(group, name string, args ...string) (string, int) {
	p.Helper()
	return p.end(p.within(group, p.command(name, args...)))
}

// within has root, who alone may move it from where it is, start a program of the user's in a cgroup.
func (p *person) within(group string, cmd *exec.Cmd) *exec.Cmd {
	enter := `{ echo $$ >"$0/naru-daemon/cgroup.procs" || echo $$ >"$0/cgroup.procs"; } 2>/dev/null && exec "$@"`
	return p.asRoot("sh", append([]string{"-c", enter, group}, cmd.Args...)...)
}

func (p *person) end(cmd *exec.Cmd) (string, int) {
	p.Helper()
	file, err := os.Create(filepath.Join(filepath.Dir(p.dir), "said"))
	p.check(err)
	defer file.Close()
	cmd.Stdout, cmd.Stderr = file, file
	err = cmd.Run()
	if cmd.ProcessState == nil {
		p.Fatal(err)
	}
	said, err := os.ReadFile(file.Name())
	p.check(err)
	return strings.TrimSpace(string(said)), cmd.ProcessState.ExitCode()
}

// ok runs a program that must succeed.
func (p *person) ok(name string, args ...string) string {
	p.Helper()
	out, status := p.run(name, args...)
	if status != 0 {
		p.Fatalf("%s %s: exit status %d: %s", name, strings.Join(args, " "), status, out)
	}
	return out
}

// refused runs a program that must fail with certain words.
func (p *person) refused(words, name string, args ...string) {
	p.Helper()
	if out, status := p.run(name, args...); status == 0 || !strings.Contains(out, words) {
		p.Errorf("%s %s: exit status %d, %q; want a failure with %q", name, strings.Join(args, " "), status, out, words)
	}
}

// processes are those of the user, and of its further ids.
func (p *person) processes() string {
	entries, err := filepath.Glob("/proc/[0-9]*/status")
	p.check(err)
	var found strings.Builder
	for _, file := range entries {
		b, _ := os.ReadFile(file) // it may have ended
		_, rest, _ := strings.Cut(string(b), "\nUid:\t")
		first, _, _ := strings.Cut(rest, "\t")
		if n, err := strconv.Atoi(first); err == nil && (n == uid || n >= subuids && n < subuids+65536) {
			name, _, _ := strings.Cut(string(b), "\n")
			fmt.Fprintln(&found, filepath.Base(filepath.Dir(file)), name)
		}
	}
	return found.String()
}

// nothingLeft looks for what only a process can hold: namespaces, mounts and devices of an ordinary user end with the
// last one.
func (p *person) nothingLeft() {
	testkit.Eventually(p, 10*time.Second, "no process of the user is left", func() error {
		if left := p.processes(); left != "" {
			return fmt.Errorf("left:\n%s", left)
		}
		return nil
	})
}

// owner is whose a file is, outside.
func owner(t testing.TB, path string) int {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return int(st.Uid)
}
