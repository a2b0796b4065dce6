package fork_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/fork"
)

// TestMain is also the program that the tests start: it prints what it sees of itself.
func TestMain(m *testing.M) {
	if os.Args[0] == "probe" {
		probe()
		return
	}
	os.Exit(m.Run())
}

func probe() {
	for _, name := range os.Args[1:] {
		link, _ := os.Readlink("/proc/self/ns/" + name)
		fmt.Println(name, link)
	}
	fmt.Println("pid", os.Getpid(), "uid", os.Getuid(), "gid", os.Getgid(), "env", os.Getenv("WORD"))
	io.Copy(io.Discard, os.Stdin)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes namespaces and maps ids")
	}
}

type started struct {
	fork.Process
	stdin  *os.File
	stdout *os.File
}

func start(t *testing.T, cmd fork.Cmd) started {
	t.Helper()
	exe, err := os.Open("/proc/self/exe")
	must(t, err)
	defer exe.Close()
	inR, inW, err := os.Pipe()
	must(t, err)
	outR, outW, err := os.Pipe()
	must(t, err)
	cmd.Exe, cmd.Files, cmd.Env = exe, []*os.File{inR, outW, nil}, []string{"WORD=boat"}
	p, err := fork.Start(cmd)
	must(t, err)
	inR.Close()
	outW.Close()
	return started{p, inW, outR}
}

// finish lets the probe end and returns what it printed.
func (s started) finish(t *testing.T) string {
	t.Helper()
	s.stdin.Close()
	out, err := io.ReadAll(s.stdout)
	must(t, err)
	s.stdout.Close()
	var status unix.WaitStatus
	_, err = unix.Wait4(s.PID, &status, 0, nil)
	must(t, err)
	if status.ExitStatus() != 0 {
		t.Fatalf("probe: %v: %s", status, out)
	}
	must(t, s.FD.Close())
	return string(out)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const everything = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC |
	unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

func TestNewNamespaces(t *testing.T) {
	needRoot(t)
	ids := []fork.IDMap{{ContainerID: 0, HostID: 100000, Size: 65536}}
	s := start(t, fork.Cmd{Args: []string{"probe", "net", "user"}, Namespaces: everything, UIDMap: ids, GIDMap: ids, Setsid: true})
	out := s.finish(t)
	if !strings.Contains(out, "pid 1 uid 0 gid 0 env boat") {
		t.Errorf("not process 1 and root in its namespaces:\n%s", out)
	}
	mine, _ := os.Readlink("/proc/self/ns/net")
	if strings.Contains(out, mine) {
		t.Errorf("in our network namespace:\n%s", out)
	}
}

func TestJoinIsAChildInTheSameNamespaces(t *testing.T) {
	needRoot(t)
	ids := []fork.IDMap{{ContainerID: 0, HostID: 100000, Size: 65536}}
	args := []string{"probe", "user", "ipc", "uts", "cgroup", "net", "mnt"}
	first := start(t, fork.Cmd{Args: args, Namespaces: everything, UIDMap: ids, GIDMap: ids})
	second := start(t, fork.Cmd{Args: args, Joins: []fork.Join{{File: first.FD, Flags: everything}}})
	got := second.finish(t)
	want := first.finish(t)
	if !strings.Contains(got, "uid 0") || strings.Contains(got, "pid 1 ") {
		t.Errorf("joined as %s", got)
	}
	namespaces := func(s string) string { return s[:strings.Index(s, "pid ")] }
	if namespaces(got[strings.Index(got, "user"):]) != namespaces(want) {
		t.Errorf("joined %s\nwant %s", got, want)
	}
}

// Namespaces of different owners are entered one by one: the host's network, and a user namespace with what it owns.
func TestJoinsAreEnteredInAnOrderThatRightsAllow(t *testing.T) {
	needRoot(t)
	ids := []fork.IDMap{{ContainerID: 0, HostID: 100000, Size: 65536}}
	args := []string{"probe", "user", "ipc", "mnt", "net"}
	host := start(t, fork.Cmd{Args: args, Namespaces: unix.CLONE_NEWNET})
	owned := start(t, fork.Cmd{Args: args, Namespaces: everything &^ unix.CLONE_NEWNET, UIDMap: ids, GIDMap: ids})
	var joins []fork.Join
	for _, j := range []struct {
		pid  int
		name string
		flag uintptr
	}{{owned.PID, "ipc", unix.CLONE_NEWIPC}, {owned.PID, "user", unix.CLONE_NEWUSER}, {owned.PID, "mnt", unix.CLONE_NEWNS}, {host.PID, "net", unix.CLONE_NEWNET}} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", j.pid, j.name))
		must(t, err)
		defer f.Close()
		joins = append(joins, fork.Join{File: f, Flags: j.flag})
	}
	got := start(t, fork.Cmd{Args: args, Joins: joins}).finish(t)
	want := owned.finish(t)
	net := host.finish(t)
	want = want[:strings.Index(want, "net ")] + net[strings.Index(net, "net "):strings.Index(net, "pid ")]
	if !strings.HasPrefix(got, want) || !strings.Contains(got, "uid 0") {
		t.Errorf("joined %s\nwant %s", got, want)
	}
}

func TestFailuresNameTheStepAndLeaveNoProcess(t *testing.T) {
	needRoot(t)
	text, err := os.Open("/etc/passwd")
	must(t, err)
	defer text.Close()
	_, err = fork.Start(fork.Cmd{Exe: text, Args: []string{"probe"}})
	if !errors.Is(err, unix.EACCES) || !strings.Contains(err.Error(), "execute") {
		t.Errorf("executing a text: %v", err)
	}
	if _, err := fork.Start(fork.Cmd{Exe: text, Args: []string{"probe"}, Joins: []fork.Join{{File: text, Flags: unix.CLONE_NEWNET}}}); err == nil ||
		!strings.Contains(err.Error(), "enter the namespaces") {
		t.Errorf("joining a text: %v", err)
	}
	if pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("left a child: %d %v", pid, err)
	}
}

func TestSealedProgramCannotBeChanged(t *testing.T) {
	f, err := fork.Seal("probe", strings.NewReader("ELF"), 0o111)
	must(t, err)
	defer f.Close()
	if _, err := f.Write([]byte("x")); err == nil {
		t.Error("wrote into a sealed program")
	}
}
