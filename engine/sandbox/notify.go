package sandbox

import (
	"net"
	"os"
	"slices"

	"naru/engine/sandbox/program"
	"naru/naru"
)

// lendAgent adds a connection to who listens for the notifications of a seccomp filter, if there is one that makes any,
// and writes what they read with it.
func lendAgent(ops []program.Op, files []*os.File, state func(pid int) ([]byte, error), pid int) ([]*os.File, error) {
	i := slices.IndexFunc(ops, func(o program.Op) bool { return o.Kind == program.Notify })
	if i < 0 {
		return files, nil
	}
	op := &ops[i]
	if state == nil {
		return files, naru.Errorf(naru.Unimplemented, "spec field linux.seccomp.listenerPath is for the OCI command only")
	}
	said, err := state(pid)
	if err != nil {
		return files, err
	}
	agent, err := dialAgent(op.Source)
	if err != nil {
		return files, naru.Errorf(naru.FailedPrecondition, "spec field linux.seccomp.listenerPath: %w", err)
	}
	op.Data, op.FD = string(said), len(files)
	return append(files, agent), nil
}

func dialAgent(path string) (*os.File, error) {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*net.UnixConn).File()
}
