package sandbox

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/naru"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// show renders a plan as its golden has it: an operation a line, with the source of what it attaches.
func show(p *plan) string {
	var b strings.Builder
	for _, op := range p.ops {
		fmt.Fprintln(&b, op)
	}
	for i, s := range p.sources {
		fmt.Fprintf(&b, "source %d %s", i, s.path)
		if s.idmap {
			b.WriteString(" idmap")
		}
		if s.recursive {
			b.WriteString(" recursive")
		}
		if s.set|s.clear != 0 {
			fmt.Fprintf(&b, " set=%#x clear=%#x", s.set, s.clear)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".plan")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func spec(t *testing.T, d Defaults) *specs.Spec {
	t.Helper()
	s, err := DefaultSpec(d)
	if err != nil {
		t.Fatal(err)
	}
	s.Linux.Seccomp = nil // its length depends on the kernel that the policy is made for
	return s
}

func someIDs() []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
}

func TestPlans(t *testing.T) {
	v1 := facts{Cgroups: map[string]string{"cpu,cpuacct": "/sys/fs/cgroup/cpu,cpuacct/naru/x", "memory": "/sys/fs/cgroup/memory/naru/x"}}
	layers := Rootfs{Lower: []string{"/l/2/fs", "/l/1/fs"}, Upper: "/s/3/fs", Work: "/s/3/work"}
	web := Defaults{Args: []string{"/web", "-v"}, Env: []string{"PORT=80"}, Hostname: "web", UIDMap: someIDs(), GIDMap: someIDs(), ReadOnly: true}

	user := spec(t, web)
	user.Mounts = append(user.Mounts, specs.Mount{Destination: "/data", Source: "/volumes/data", Options: []string{"rbind", "idmap", "nosuid"}},
		specs.Mount{Destination: "/etc/resolv.conf", Type: "bind", Source: "/run/resolv.conf", Options: []string{"bind", "ro"}})

	web.UIDMap, web.GIDMap, web.HostNetwork, web.Terminal = nil, nil, true, true
	host := spec(t, web)
	host.Process.NoNewPrivileges = false
	host.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: 10, Hard: 20}}

	for name, c := range map[string]struct {
		cfg  Config
		host facts
	}{
		"userns":       {Config{Spec: user, Rootfs: layers}, facts{Unified: true}},
		"hostterminal": {Config{Spec: host, Rootfs: Rootfs{Path: "/some/root"}, Init: true}, v1},
	} {
		if err := validate(c.cfg.Spec); err != nil {
			t.Fatal(err)
		}
		p, err := planContainer(&c.cfg, c.host)
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, show(p))
	}
}

func TestWhatIsNotSupportedIsNamed(t *testing.T) {
	for want, change := range map[string]func(*specs.Spec){
		"spec field hooks is not supported":  func(s *specs.Spec) { s.Hooks = &specs.Hooks{} },
		"spec field linux.personality":       func(s *specs.Spec) { s.Linux.Personality = &specs.LinuxPersonality{Domain: "BSD"} },
		"spec field linux.memoryPolicy.mode": func(s *specs.Spec) { s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: "MINE"} },
		"spec field linux.memoryPolicy.nodes": func(s *specs.Spec) {
			s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "1-x"}
		},
		"spec field process.scheduler.policy": func(s *specs.Spec) { s.Process.Scheduler = &specs.Scheduler{Policy: "SCHED_LATER"} },
		"spec field process.scheduler.flags": func(s *specs.Spec) {
			s.Process.Scheduler = &specs.Scheduler{Policy: specs.SchedOther, Flags: []specs.LinuxSchedulerFlag{"X"}}
		},
		"spec field process.ioPriority": func(s *specs.Spec) {
			s.Process.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: 8}
		},
		"spec field process.execCPUAffinity":                func(s *specs.Spec) { s.Process.ExecCPUAffinity = &specs.CPUAffinity{Final: "3-1"} },
		"spec field linux.timeOffsets has an unknown clock": func(s *specs.Spec) { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"wall": {}} },
		"spec field linux.timeOffsets need a new time":      func(s *specs.Spec) { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 1}} },
		"names \"pid\" twice": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "pid"})
		},
		"path \"x\" is not absolute": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "time", Path: "x"})
		},
		"spec field linux.rootfsPropagation \"open\" is none": func(s *specs.Spec) { s.Linux.RootfsPropagation = "open" },
		"unknown type \"soul\"": func(s *specs.Spec) {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "soul"})
		},
		"spec field process.cwd is not absolute":   func(s *specs.Spec) { s.Process.Cwd = "x" },
		"spec field process.args names no program": func(s *specs.Spec) { s.Process.Args = nil },
		"spec field linux.uidMappings maps 0 ids":  func(s *specs.Spec) { mapped(s, specs.LinuxIDMapping{HostID: 1}) },
		"spec field linux.uidMappings maps 2 ids":  func(s *specs.Spec) { mapped(s, specs.LinuxIDMapping{HostID: 1<<32 - 2, Size: 2}) },
		"spec field linux.uidMappings maps an id twice": func(s *specs.Spec) {
			mapped(s, specs.LinuxIDMapping{HostID: 1000, Size: 10}, specs.LinuxIDMapping{ContainerID: 9, HostID: 2000, Size: 1})
		},
		"spec field linux.uidMappings has 341": func(s *specs.Spec) { mapped(s, make([]specs.LinuxIDMapping, 341)...) },
		"names RLIMIT_CPU twice": func(s *specs.Spec) {
			s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CPU"}, {Type: "RLIMIT_CPU"}}
		},
		"spec field linux.maskedPaths":   func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"x"} },
		"spec field linux.readonlyPaths": func(s *specs.Spec) { s.Linux.ReadonlyPaths = []string{"x"} },
		"spec field linux.resources.rdma": func(s *specs.Spec) {
			s.Linux.Resources.Rdma = map[string]specs.LinuxRdma{"mlx5_1": {}}
		},
		"spec field linux.resources.blockIO.weightDevice": func(s *specs.Spec) {
			s.Linux.Resources.BlockIO = &specs.LinuxBlockIO{WeightDevice: []specs.LinuxWeightDevice{{}}}
		},
		"unknown limit RLIMIT_X":                                  func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_X"}} },
		"unknown capability \"CAP_FLY\"":                          func(s *specs.Spec) { s.Process.Capabilities.Bounding = []string{"CAP_FLY"} },
		"linux.gidMappings belong together with a user namespace": func(s *specs.Spec) { s.Linux.UIDMappings = someIDs() },
		"mount /x: option \"mand\" is not supported": func(s *specs.Spec) {
			s.Mounts = []specs.Mount{{Destination: "/x", Source: "/y", Options: []string{"bind", "mand"}}}
		},
		"mount /x: a bind has no option \"size=1\"": func(s *specs.Spec) {
			s.Mounts = []specs.Mount{{Destination: "/x", Source: "/y", Options: []string{"bind", "size=1"}}}
		},
		"mount \"x\": the destination is not absolute": func(s *specs.Spec) { s.Mounts = []specs.Mount{{Destination: "x", Type: "tmpfs"}} },
		"mount /x: id mappings are only supported on binds": func(s *specs.Spec) {
			s.Mounts = []specs.Mount{{Destination: "/x", Type: "tmpfs", UIDMappings: someIDs()}}
		},
		"mount /x: uidMappings and gidMappings belong together": func(s *specs.Spec) {
			s.Mounts = []specs.Mount{{Destination: "/x", Source: "/y", Type: "bind", UIDMappings: someIDs()}}
		},
		"without a new mount namespace the root is a folder": func(s *specs.Spec) {
			s.Linux.Namespaces[0] = specs.LinuxNamespace{Type: specs.MountNamespace, Path: "/x"}
		},
		"compile the seccomp policy: default action: action \"X\" ": func(s *specs.Spec) { s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: "X"} },
	} {
		s := spec(t, Defaults{Args: []string{"/x"}})
		change(s)
		err := validate(s)
		if err == nil {
			_, err = planContainer(&Config{Spec: s, Rootfs: Rootfs{Path: "/r"}}, facts{})
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want an error with %q, got %v", want, err)
		}
		if code := naru.CodeOf(err); code == naru.Internal {
			t.Errorf("%q has no code", want)
		}
	}
}

func mapped(s *specs.Spec, maps ...specs.LinuxIDMapping) {
	s.Linux.UIDMappings, s.Linux.GIDMappings = maps, maps
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
}

func TestIDsMapToTheHosts(t *testing.T) {
	maps := idmaps{true, someIDs(), nil}
	if maps.hostUID(0) != 100000 || maps.hostUID(65535) != 165535 || maps.hostUID(65536) != -1 || maps.hostGID(7) != 7 {
		t.Errorf("got %d %d %d %d", maps.hostUID(0), maps.hostUID(65535), maps.hostUID(65536), maps.hostGID(7))
	}
}
