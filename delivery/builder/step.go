package builder

import (
	"context"
	"io"
	"net/netip"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"naru/engine/image"
)

// StepRunner runs the RUN steps of Dockerfiles, each in a sandbox of its own.
type StepRunner interface {
	// RunStep runs the step's process until it ends and returns its exit status; 128 and the signal's number when a signal
	// ended it. An error says that it could not be run. When ctx ends, RunStep kills the step and returns soon.
	RunStep(ctx context.Context, step Step) (status int, err error)
}

// Step is one process to run on the files of an image under construction.
type Step struct {
	ID string // unique; letters and digits

	// Rootfs is the root file system. When Lower is empty, Upper is a plain folder to run in.
	Rootfs   image.Rootfs
	ReadOnly bool // the root file system

	// Mounts are binds of host folders and files, and tmpfs; beyond what every sandbox has. The source of a bind may itself be
	// a mounted overlay (files of another stage), which the kernel does not idmap.
	Mounts   []specs.Mount
	Process  *specs.Process // Args, Env, Cwd, User and Rlimits are set, the rest is the runner's
	Hostname string         // may be empty
	Hosts    []Host         // more lines for /etc/hosts
	Network  bool           // false: loopback only

	Stdin          io.Reader // may be nil
	Stdout, Stderr io.Writer
}

// Host is a line of /etc/hosts.
type Host struct {
	Name string
	Addr netip.Addr
}
