package sandbox

import (
	"os"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/engine/sandbox/program"
	"naru/naru"
)

// checkLabels refuses labels of a security module that this machine does not run: nothing would enforce them.
func checkLabels(p *specs.Process, l *specs.Linux) error {
	if p.ApparmorProfile != "" && !hasAppArmor() {
		return naru.Errorf(naru.FailedPrecondition, "spec field process.apparmorProfile %q: this machine does not run AppArmor", p.ApparmorProfile)
	}
	for field, label := range map[string]string{"process.selinuxLabel": p.SelinuxLabel, "linux.mountLabel": l.MountLabel} {
		if label != "" && !hasSELinux() {
			return naru.Errorf(naru.FailedPrecondition, "spec field %s %q: this machine does not run SELinux", field, label)
		}
	}
	return nil
}

func hasAppArmor() bool {
	enabled, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(enabled), "Y")
}

func hasSELinux() bool {
	_, err := os.Stat("/sys/fs/selinux/enforce")
	return err == nil
}

// planLabels has exec give the program its labels.
func planLabels(p *specs.Process) []program.Op {
	var ops []program.Op
	if p.ApparmorProfile != "" {
		ops = append(ops, program.Op{Kind: program.Label, Path: "thread-self/attr/apparmor/exec", Data: "exec " + p.ApparmorProfile})
	}
	if p.SelinuxLabel != "" {
		ops = append(ops, program.Op{Kind: program.Label, Path: "thread-self/attr/exec", Data: p.SelinuxLabel})
	}
	return ops
}

// labelled adds the label that the files of a new filesystem get. Those of the kernel's own filesystems have theirs.
func labelled(fsType, data, label string) string {
	switch {
	case label == "" || fsType == "proc" || fsType == "sysfs" || fsType == "cgroup" || fsType == "cgroup2" || fsType == "mqueue":
		return data
	case data != "":
		data += ","
	}
	return data + `context="` + label + `"`
}
