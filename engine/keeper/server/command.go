package server

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"naru/engine/keeper/internal/wire"
	"naru/engine/logs"
	"naru/engine/sandbox/fork"
)

// files are closed in this process when the child has its own.
type files []*os.File

func (f files) close() {
	for _, file := range f {
		_ = file.Close()
	}
}

// command builds what fork needs out of a request and the descriptors that came with it.
func (c *child) command(r wire.SpawnRequest, sent *descriptors) (cmd fork.Cmd, open files, err error) {
	if r.Descriptors() != len(sent.fds) {
		return cmd, nil, errors.New("spawn: other descriptors came than were announced")
	}
	next := func() *os.File {
		f := os.NewFile(uintptr(sent.take(1)[0]), "sent")
		open = append(open, f)
		return f
	}
	cmd = fork.Cmd{
		Exe: c.s.exe, Args: r.Args, Env: r.Env, Setsid: r.Setsid, Bare: r.Bare,
		Namespaces: uintptr(r.Namespaces), UIDMap: r.UIDMap, GIDMap: r.GIDMap,
	}
	if r.HasExe {
		cmd.Exe = next()
	}
	if r.HasJoin {
		cmd.Joins = []fork.Join{{File: next(), Flags: uintptr(r.JoinFlags)}}
	}
	if r.HasCgroup {
		cmd.CgroupFD = int(next().Fd())
	}
	for range r.Cgroups {
		cmd.Cgroups = append(cmd.Cgroups, next())
	}
	for _, given := range r.Files {
		var f *os.File // nil is /dev/null
		if given {
			f = next()
		}
		cmd.Files = append(cmd.Files, f)
	}
	if r.LogDir == "" {
		return cmd, open, nil
	}
	ends, err := c.openLogs(r, &cmd)
	return cmd, append(open, ends...), err
}

// openLogs gives the process pipes for the outputs it was not given, and opens the logs behind them. It returns the
// process's ends.
func (c *child) openLogs(r wire.SpawnRequest, cmd *fork.Cmd) (ends files, err error) {
	c.out = output{r.LogDir, logs.Limits{Size: r.LogSize, Files: r.LogFiles}}
	if err := c.openLog(); err != nil {
		return nil, err
	}
	for len(cmd.Files) <= int(logs.Stderr) {
		cmd.Files = append(cmd.Files, nil)
	}
	for _, stream := range []logs.Stream{logs.Stdout, logs.Stderr} {
		if cmd.Files[stream] != nil {
			continue
		}
		end, err := c.openPump(stream, r)
		if err != nil {
			return ends, fmt.Errorf("open log pipe: %w", err)
		}
		cmd.Files[stream] = end
		ends = append(ends, end)
	}
	return ends, nil
}

// openPump makes a log pipe, pumps one end and returns the other.
func (c *child) openPump(stream logs.Stream, r wire.SpawnRequest) (*os.File, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, err
	}
	end := os.NewFile(uintptr(fds[1]), stream.String())
	p := &pump{child: c, fd: fds[0], stream: stream}
	if err := p.open(r); err != nil {
		_ = unix.Close(fds[0])
		_ = end.Close()
		return nil, err
	}
	c.pumps = append(c.pumps, p)
	return end, nil
}

// rootOf is the id outside of the user namespace that is root inside: the owner the pipes need, so that the process
// can open /dev/stdout and its init can hand it on to another user.
func rootOf(maps []fork.IDMap) int {
	for _, m := range maps {
		if m.ContainerID == 0 {
			return m.HostID
		}
	}
	return -1
}
