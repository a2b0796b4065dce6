package rootless

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/internal/testkit"
)

// bundle makes a bundle of busybox at home, with the configuration of `spec --rootless`, and returns that.
func (p *person) bundle() *specs.Spec {
	p.Helper()
	bin := p.path("box", "rootfs", "bin")
	p.ok("mkdir", "-p", bin)
	p.ok("cp", testkit.RequireCommand(p, "busybox"), filepath.Join(bin, "busybox"))
	for _, name := range []string{"sh", "id", "cat", "sleep", "echo", "kill"} {
		p.ok("ln", "-s", "busybox", filepath.Join(bin, name))
	}
	p.ok("naru-oci", "spec", "--rootless", "--bundle", p.path("box"))
	b, err := os.ReadFile(p.path("box", "config.json"))
	s := &specs.Spec{}
	p.check(err, json.Unmarshal(b, s))
	s.Process.Terminal, s.Root.Readonly = false, false
	return s
}

func (p *person) write(s *specs.Spec) {
	p.Helper()
	b, err := json.Marshal(s)
	p.check(err, os.WriteFile(p.path("box", "config.json"), b, 0o644))
}

func (p *person) oci(args ...string) string {
	p.Helper()
	return p.ok("naru-oci", args...)
}

// TestOCIWithTheOwnIDAlone lives a container's life with nobody's help: no newuidmap, no cgroup.
func TestOCIWithTheOwnIDAlone(t *testing.T) {
	p := newPerson(t, false)
	s := p.bundle()
	s.Process.Args = []string{"sh", "-c", "id; cat /proc/self/uid_map; echo x >/made; exit 7"}
	p.write(s)
	out, status := p.run("naru-oci", "run", "--bundle", p.path("box"), "box")
	if status != 7 || !strings.Contains(out, "uid=0 gid=0") {
		t.Errorf("run: exit status %d, %s", status, out)
	}
	if made := owner(t, p.path("box", "rootfs", "made")); made != uid {
		t.Errorf("root inside is %d outside, not the user", made)
	}

	s.Process.Args = []string{"sleep", "1000"}
	p.write(s)
	p.oci("create", "--bundle", p.path("box"), "box")
	if got := p.oci("state", "box"); !strings.Contains(got, `"status": "created"`) || !strings.Contains(got, `"owner": "sailor"`) {
		t.Errorf("created: %s", got)
	}
	p.oci("start", "box")
	if got := p.oci("exec", "box", "sh", "-c", "id; echo $$"); !strings.HasPrefix(got, "uid=0 gid=0") {
		t.Errorf("exec: %s", got)
	}
	if exec.Command("ps", "--version").Run() == nil { // procps has it, busybox does not
		if got := p.oci("ps", "box", "-e", "-o", "pid,args"); !strings.Contains(got, "PID COMMAND") || strings.Count(got, "\n") != 1 || !strings.Contains(got, "sleep 1000") {
			t.Errorf("ps -e -o pid,args: %s", got)
		}
	}
	if got := p.oci("ps", "box"); !strings.Contains(got, "sleep 1000") {
		t.Errorf("ps: %s", got)
	}
	p.refused("without a cgroup", "naru-oci", "pause", "box")
	p.refused("without a cgroup", "naru-oci", "update", "--memory", "64m", "box")
	p.oci("kill", "--all", "box", "KILL")
	testkit.Eventually(t, 10*time.Second, "it stops", func() error {
		if got := p.oci("state", "box"); !strings.Contains(got, `"status": "stopped"`) {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
	p.oci("delete", "box")
	if got := p.oci("list", "-q"); got != "" {
		t.Errorf("left in the list: %s", got)
	}
}

// TestOCIWithFurtherIDs has users in the container who are users outside as well.
func TestOCIWithFurtherIDs(t *testing.T) {
	p := newPerson(t, true)
	s := p.bundle()
	maps := []specs.LinuxIDMapping{{ContainerID: 0, HostID: uid, Size: 1}, {ContainerID: 1, HostID: subuids, Size: 1000}}
	s.Linux.UIDMappings, s.Linux.GIDMappings = maps, maps
	s.Process.User = specs.User{UID: 7, GID: 8, AdditionalGids: []uint32{9}}
	s.Process.Args = []string{"sh", "-c", "id -u; id -G; echo x >/tmp/made"}
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/tmp", Type: "bind", Source: p.path("box", "rootfs", "tmp"), Options: []string{"rbind"}})
	p.ok("mkdir", "-m", "1777", p.path("box", "rootfs", "tmp"))
	p.write(s)
	if got := p.oci("run", "--bundle", p.path("box"), "box"); got != "7\n8 9" {
		t.Errorf("run: %s", got)
	}
	if made := owner(t, p.path("box", "rootfs", "tmp", "made")); made != subuids+6 {
		t.Errorf("user 7 inside is %d outside, want %d", made, subuids+6)
	}
	s.Process.Args = []string{"sleep", "1000"}
	p.write(s)
	p.oci("run", "--detach", "--bundle", p.path("box"), "box")
	if got := p.oci("exec", "--user", "1:1", "box", "id", "-u"); got != "1" {
		t.Errorf("exec: %s", got)
	}
	p.oci("delete", "--force", "box")
}

// TestOCIInADelegatedCgroup has limits that hold, in a cgroup v2 that root gave to the user. It is the user's alone: the first
// create moves the runtime below it.
func TestOCIInADelegatedCgroup(t *testing.T) {
	p := newPerson(t, false)
	group := p.delegate()
	if !strings.Contains(p.read(filepath.Join(group, "cgroup.controllers")), "memory") {
		t.Skip("needs cgroup v2 with all controllers: make test-vm boots such a machine")
	}
	memory, pids, quota, period := int64(64<<20), int64(8), int64(20000), uint64(100000)
	s := p.bundle()
	s.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &memory}, Pids: &specs.LinuxPids{Limit: &pids},
		CPU: &specs.LinuxCPU{Quota: &quota, Period: &period}}
	for limit, c := range holds() {
		s.Process.Args = []string{"sh", "-c", c.script}
		p.write(s)
		out, status := p.runIn(group, "naru-oci", "run", "--bundle", p.path("box"), "box")
		c.check(t, limit, out, status)
	}
	s.Process.Args = []string{"sleep", "1000"}
	p.write(s)
	if out, status := p.runIn(group, "naru-oci", "run", "--detach", "--bundle", p.path("box"), "box"); status != 0 {
		t.Errorf("run: exit status %d, %s", status, out)
	}
	if out, status := p.runIn(group, "naru-oci", "exec", "box", "sh", "-c", readLimits); status != 0 || out != "67108864 20000 100000 8" {
		t.Errorf("limits: exit status %d, %s", status, out)
	}
	for _, args := range [][]string{{"pause"}, {"resume"}, {"update", "--memory", "96m"}} {
		p.oci(append(args, "box")...)
	}
	if out, status := p.runIn(group, "naru-oci", "exec", "box", "cat", "/sys/fs/cgroup/memory.max"); status != 0 || out != "100663296" {
		t.Errorf("exec: exit status %d, %s", status, out)
	}
	if got := p.oci("events", "--stats", "box"); !strings.Contains(got, `"limit":100663296`) {
		t.Errorf("events: %s", got)
	}
	p.oci("delete", "--force", "box")
}

// TestOCIRefusesWhatAnOrdinaryUserCannotHave says what is lacking, and leaves nothing.
func TestOCIRefusesWhatAnOrdinaryUserCannotHave(t *testing.T) {
	p := newPerson(t, false)
	limit := int64(64 << 20)
	for words, change := range map[string]func(*specs.Spec){
		"lacks a user namespace": func(s *specs.Spec) {
			s.Linux.Namespaces = s.Linux.Namespaces[:1]
			s.Linux.UIDMappings, s.Linux.GIDMappings = nil, nil
		},
		"linux.uidMappings: id 0 of the host": func(s *specs.Spec) { s.Linux.UIDMappings[0].HostID = 0 },
		"process.user":                        func(s *specs.Spec) { s.Process.User.UID = 1 },
		"without a cgroup": func(s *specs.Spec) {
			s.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}
		},
		"ids of a mount": func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/m", Type: "bind", Source: "/usr", UIDMappings: s.Linux.UIDMappings, GIDMappings: s.Linux.GIDMappings})
		},
	} {
		p.ok("rm", "-rf", p.path("box"))
		s := p.bundle()
		change(s)
		p.write(s)
		p.refused(words, "naru-oci", "run", "--bundle", p.path("box"), "box")
		if got := p.oci("list", "-q"); got != "" {
			t.Errorf("%s: left in the list: %s", words, got)
		}
	}
}
