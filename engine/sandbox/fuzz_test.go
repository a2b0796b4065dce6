package sandbox

import (
	"encoding/json"
	"path"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/engine/sandbox/program"
)

// everyField is a configuration with the fields that the default one leaves alone.
const everyField = `{"ociVersion":"1.3.0","root":{"path":"r","readonly":true},"hostname":"h","domainname":"d","process":{"args":["a"],"cwd":"/",
"consoleSize":{"height":1,"width":2},"terminal":true,"user":{"uid":1,"gid":2,"umask":3,"additionalGids":[4]},"rlimits":[{"type":"RLIMIT_AS","soft":1,"hard":2}],
"capabilities":{"ambient":["CAP_KILL"],"bounding":["KILL"]},"apparmorProfile":"a","selinuxLabel":"s","oomScoreAdj":1,"scheduler":{"policy":"SCHED_FIFO","flags":["SCHED_FLAG_RECLAIM"]},
"ioPriority":{"class":"IOPRIO_CLASS_BE","priority":1},"execCPUAffinity":{"initial":"0","final":"0-1,3"},"noNewPrivileges":true},
"mounts":[{"destination":"/a","type":"bind","source":"/b","options":["rbind","rro","ridmap","rslave"],"uidMappings":[{"size":1}],"gidMappings":[{"size":1}]},
{"destination":"/dev","type":"tmpfs","options":["remount","size=1","tmpcopyup"]},{"destination":"/c","type":"cgroup"},{"destination":"/s","type":"sysfs"}],
"linux":{"uidMappings":[{"size":10}],"gidMappings":[{"size":10}],"sysctl":{"a.b":"c"},"namespaces":[{"type":"user"},{"type":"mount"},{"type":"uts"},{"type":"time"},{"type":"network","path":"/n"}],
"timeOffsets":{"boottime":{"secs":1,"nanosecs":2}},"devices":[{"path":"/dev/x","type":"c","major":1,"minor":2,"fileMode":438,"uid":1}],"mountLabel":"m",
"rootfsPropagation":"rshared","maskedPaths":["/p"],"readonlyPaths":["/q"],"personality":{"domain":"LINUX32"},"memoryPolicy":{"mode":"MPOL_BIND","nodes":"0-3"},
"resources":{"memory":{"limit":1,"swap":2},"cpu":{"shares":1,"quota":2},"pids":{"limit":3},"blockIO":{"weight":4,"weightDevice":[{"major":1,"weight":5}],"throttleReadBpsDevice":[{"rate":1}]},
"hugepageLimits":[{"pageSize":"2MB","limit":6}],"network":{"classID":7,"priorities":[{"name":"n","priority":8}]},"rdma":{"r":{"hcaHandles":9}},"unified":{"a":"b"},"devices":[{"allow":true}]},
"seccomp":{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]}]}}}`

// FuzzPlan: whatever a configuration says, it is refused, or it becomes a program whose paths are absolute and which ends
// in the user's.
func FuzzPlan(f *testing.F) {
	usual, err := DefaultSpec(Defaults{Args: []string{"a"}, UIDMap: someIDs(), GIDMap: someIDs()})
	if err != nil {
		f.Fatal(err)
	}
	b, err := json.Marshal(usual)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b, true)
	f.Add([]byte(everyField), false)
	f.Fuzz(func(t *testing.T, b []byte, unified bool) {
		s := &specs.Spec{}
		if json.Unmarshal(b, s) != nil || validate(s) != nil {
			return
		}
		cgroupResources(s.Linux.Resources)
		p, err := planContainer(&Config{Spec: s, Rootfs: Rootfs{Path: "/r", Owned: true}}, facts{Unified: unified, Cgroups: map[string]string{"cpu,cpuacct": "/c"}})
		if err != nil {
			return
		}
		if n := len(p.ops); n == 0 || p.ops[n-1].Kind != program.Exec {
			t.Fatalf("a program of %d operations", n)
		}
		for _, op := range p.ops {
			switch op.Kind {
			case program.Mount, program.CopyUp, program.Bind, program.Mkdir, program.Mask, program.ReadOnly, program.Cwd, program.Propagate:
				if !path.IsAbs(op.Path) {
					t.Errorf("%s of a path that is not absolute", op)
				}
			}
		}
	})
}
