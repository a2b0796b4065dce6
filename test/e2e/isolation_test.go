package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// box runs a shell's line in a container and returns what it says.
func box(t *testing.T, run func(args ...string) string, script string, flags ...string) string {
	t.Helper()
	args := append([]string{"container", "run", "--rm"}, flags...)
	return strings.TrimSpace(run(append(args, busybox, "sh", "-c", script)...))
}

func TestADeviceOfTheHostBelongsToTheContainersRoot(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	for _, flags := range [][]string{{"--device", "/dev/loop-control:/dev/mine:rw"}, {"--device", "/dev/loop-control:/dev/mine", "--userns", "host"}} {
		if got := box(t, d.OK, "stat -c %u:%g:%a /dev/mine; : <>/dev/mine && echo opened", flags...); !strings.HasPrefix(got, "0:") || !strings.HasSuffix(got, "opened") {
			t.Errorf("%v: %s", flags, got)
		}
	}
	if r := d.Naru("container", "run", "--rm", "--device", "/dev/loop-control:/dev/mine:r", busybox, "sh", "-c", ": >/dev/mine"); r.Code == 0 {
		t.Error("a device for reading was opened for writing")
	}
	if got := box(t, d.OK, "ls /dev/all/null /dev/all/zero", "--device", "/dev:/dev/all"); got != "/dev/all/null\n/dev/all/zero" {
		t.Errorf("a folder of devices: %s", got)
	}
	d.Settles(before)
}

func TestContainersShareProcesses(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	d.OK("container", "run", "-d", "--name", "one", busybox, "sleep", "1000001")
	d.OK("container", "run", "-d", "--name", "two", "--pid", "container:one", "-v", "kept:/kept", busybox, "sh", "-c", "echo two >/kept/file; sleep 1000002")
	for _, name := range []string{"one", "two"} {
		if out := d.OK("container", "exec", name, "ps"); !strings.Contains(out, "sleep 1000001") || !strings.Contains(out, "sleep 1000002") {
			t.Errorf("%s sees\n%s", name, out)
		}
	}
	if out := d.OK("container", "exec", "two", "stat", "-c", "%u", "/kept/file"); out != "0\n" {
		t.Errorf("the file of a container that shares another one's users belongs to %s", out)
	}
	d.OK("container", "stop", "-t", "1", "two")
	if out := d.OK("container", "exec", "one", "ps"); strings.Contains(out, "1000002") {
		t.Errorf("what two had is left:\n%s", out)
	}
	refuses(t, d.Naru("container", "run", "--rm", "--pid", "container:two", busybox, "true"), "two", "start that first")
	refuses(t, d.Naru("container", "run", "--rm", "--pid", "container:one", "--userns", "host", busybox, "true"), "one", "--userns host")
	refuses(t, d.Naru("container", "run", "--rm", "--pid", "host", busybox, "true"), "--userns host")
	d.OK("container", "rm", "-f", "one", "two")
	d.OK("volume", "rm", "kept")
	d.Settles(before)
}

func TestSettingsOfTheWholeMachineAreRefused(t *testing.T) {
	d := start(t)
	for _, test := range []struct { // none of them would do harm
		says  string
		flags []string
	}{
		{"whole machine", []string{"--sysctl", "vm.nosuch=1"}}, {"whole machine", []string{"--sysctl", "kernel.hostname=x"}},
		{"not the container's own", []string{"--sysctl", "net.core.nosuch=1", "--network", "host"}},
		{"change the host", []string{"--sysctl", "fs.mqueue.nosuch=1", "--ipc", "host"}}, {"no such", []string{"--sysctl", "net.ipv4/../../kernel/nosuch=1"}},
	} {
		args := append([]string{"container", "run", "--rm", "--userns", "host"}, test.flags...)
		refuses(t, d.Naru(append(args, busybox, "true")...), "sysctl", test.says)
	}
}

func TestAnExecIsConfinedAsTheContainerIs(t *testing.T) {
	d := start(t)
	d.OK("container", "run", "-d", "--name", "web", "--cap-drop", "ALL", "--cap-add", "CHOWN", "--security-opt", "no-new-privileges=false",
		"--ulimit", "nofile=77", "--group-add", "88", busybox, "sleep", "1000")
	out := d.OK("container", "exec", "web", "sh", "-c", "grep -E 'CapBnd|NoNewPrivs' /proc/self/status; ulimit -n; id -G")
	if want := "CapBnd:\t0000000000000001\nNoNewPrivs:\t0\n77\n0 88\n"; out != want {
		t.Errorf("%q, want %q", out, want)
	}
}

func TestWhatIsKeptOfAnOutputCanBeLittle(t *testing.T) {
	d := start(t)
	script := "i=0; while [ $i -lt 3000 ]; do echo a line with the number $i; i=$((i+1)); done"
	for _, flags := range [][]string{nil, {"-t"}} {
		args := append([]string{"container", "run", "-d", "--name", "c", "--log-opt", "max-size=10k", "--log-opt", "max-file=2"}, flags...)
		d.OK(append(args, busybox, "sh", "-c", script)...)
		d.OK("container", "wait", "c")
		out := d.OK("container", "logs", "c")
		if !strings.Contains(out, "number 2999") || strings.Contains(out, "number 0\n") || len(out) > 30_000 {
			t.Errorf("%v: %d bytes are kept, to the end: %v", flags, len(out), strings.Contains(out, "number 2999"))
		}
		d.OK("container", "rm", "c")
	}
}

func TestTheIDOfAContainerGoesToAFile(t *testing.T) {
	d := start(t)
	for _, flags := range [][]string{{"run"}, {"run", "-d"}, {"create"}} {
		file := filepath.Join(t.TempDir(), "id")
		args := append(append([]string{"container"}, flags...), "--cidfile", file)
		d.OK(append(args, busybox, "true")...)
		id, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		d.OK("container", "inspect", string(id))
		refuses(t, d.Naru(append(args, busybox, "true")...), "--cidfile", file)
	}
	if n := len(d.Containers()); n != 3 {
		t.Errorf("there are %d containers, want 3", n)
	}
}

func TestOthersVolumesAndAllPorts(t *testing.T) {
	d := start(t)
	d.OK("container", "run", "-d", "--name", "one", "-P", "--expose", "80", "--expose", "53/udp", "-v", "kept:/kept", busybox, "sleep", "1000")
	if out := d.OK("container", "port", "one"); strings.Count(out, "\n") != 2 || !strings.Contains(out, "80/tcp ->") || !strings.Contains(out, "53/udp ->") {
		t.Errorf("the ports are %q", out)
	}
	box(t, d.OK, "echo x >/kept/file", "--volumes-from", "one")
	if got := box(t, d.OK, "cat /kept/file; echo y >/kept/file || echo read-only", "--volumes-from", "one:ro"); got != "x\nread-only" {
		t.Errorf("%q", got)
	}
}
