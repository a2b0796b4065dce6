package peer

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// OCI is an OCI runtime: a program with runc's command line.
type OCI struct {
	program []string
	root    string
	id      string
}

// NewOCI runs a runtime with its state in a folder below dir.
func NewOCI(dir string, program ...string) OCI {
	name := filepath.Base(program[0])
	return OCI{program, filepath.Join(dir, name+".state"), fmt.Sprintf("%s-%s", filepath.Base(dir), name)}
}

// Runc is the runtime that test/deps.sh unpacked below deps.
func Runc(deps, dir string) (OCI, error) {
	program, err := unpacked(deps, "runc")
	return NewOCI(dir, program), err
}

func (o OCI) command(ctx context.Context, args ...string) *exec.Cmd {
	args = append(append(o.program[1:len(o.program):len(o.program)], "--root", o.root), args...)
	return exec.CommandContext(ctx, o.program[0], args...)
}

// Run runs the bundle's container to its end and checks what it printed.
func (o OCI) Run(ctx context.Context, bundle, want string) error {
	return expect(o.command(ctx, "run", "--bundle", bundle, o.id), want)
}

// Clear removes a container whose run was broken off.
func (o OCI) Clear() {
	_ = o.command(context.Background(), "delete", "--force", o.id).Run() // most often there is none
}

// Bundle makes a bundle of one program, with the config that the runtime itself proposes and changes to it.
func (o OCI) Bundle(ctx context.Context, bundle, program string, changes ...func(*specs.Spec) error) error {
	root := filepath.Join(bundle, "rootfs")
	for _, folder := range []string{"proc", "dev", "sys"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil {
			return err
		}
	}
	if err := os.Link(program, filepath.Join(root, filepath.Base(program))); err != nil {
		return err
	}
	if err := quiet(o.command(ctx, "spec", "--bundle", bundle)); err != nil {
		return err
	}
	file := filepath.Join(bundle, "config.json")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var spec specs.Spec
	if err := json.Unmarshal(text, &spec); err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	spec.Process.Terminal, spec.Process.Args = false, []string{"/" + filepath.Base(program)}
	for _, change := range changes {
		if err := change(&spec); err != nil {
			return err
		}
	}
	if text, err = json.Marshal(spec); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}

// Guarded adds to a config what runc's proposal leaves out: users of its own, limits, and Docker's seccomp policy.
func Guarded(spec *specs.Spec) error {
	policy, err := seccomp.GetDefaultProfile(spec)
	if err != nil {
		return fmt.Errorf("read Docker's seccomp policy: %w", err)
	}
	memory, quota, period, pids := int64(64<<20), int64(100_000), uint64(100_000), int64(100)
	users := []specs.LinuxIDMapping{{HostID: 200_000, Size: 65_536}}
	spec.Linux.Seccomp = policy
	spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.UserNamespace})
	spec.Linux.UIDMappings, spec.Linux.GIDMappings = users, users
	spec.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &memory}
	spec.Linux.Resources.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period}
	spec.Linux.Resources.Pids = &specs.LinuxPids{Limit: &pids}
	return nil
}
