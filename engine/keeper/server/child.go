package server

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"naru/engine/keeper/internal/wire"
	"naru/engine/logs"
	"naru/engine/sandbox/fork"
)

// child is a process that the keeper started, from then until it is forgotten.
type child struct {
	s       *server
	info    wire.Child
	pidfd   *os.File
	token   uint64
	log     *logs.Writer
	pumps   []*pump
	waiters []*conn
}

// spawn starts a process.
func (s *server) spawn(id string, r wire.SpawnRequest, sent *descriptors) (wire.Reply, int) {
	if err := wire.CheckName(id); err != nil {
		return failure(err), -1
	}
	if _, ok := s.children[id]; ok {
		return refuse(wire.Exists, "the keeper has a child %q already", id), -1
	}
	c := &child{s: s, info: wire.Child{Sequence: s.sequence + 1, ID: id}}
	if err := c.start(r, sent); err != nil {
		return failure(err), -1
	}
	s.sequence++
	s.children[id] = c
	return wire.Reply{PID: c.info.PID}, int(c.pidfd.Fd())
}

// start starts the process and begins to watch it. It undoes all on failure.
func (c *child) start(r wire.SpawnRequest, sent *descriptors) (err error) {
	cmd, files, err := c.command(r, sent)
	defer files.close()
	if err != nil {
		c.closeLogs()
		return err
	}
	p, err := fork.Start(cmd)
	if err != nil {
		c.closeLogs()
		return err
	}
	c.pidfd, c.info.PID, c.info.StartedAt = p.FD, p.PID, time.Now()
	if c.token, err = c.s.poller.add(int(p.FD.Fd()), c); err != nil {
		c.abort()
		return fmt.Errorf("watch process: %w", err)
	}
	return nil
}

// abort ends a process that cannot be watched. Killed, it takes a moment to end, the only one that is waited for.
func (c *child) abort() {
	_ = unix.PidfdSendSignal(int(c.pidfd.Fd()), unix.SIGKILL, nil, 0)
	_, _ = unix.Wait4(c.info.PID, nil, unix.WALL, nil)
	_ = c.pidfd.Close()
	c.closeLogs()
}

// ready is called when the process has exited. What it wrote before is in the logs before anybody hears of the exit.
func (c *child) ready() {
	var status unix.WaitStatus
	pid, err := unix.Wait4(c.info.PID, &status, unix.WNOHANG|unix.WALL, nil)
	if pid == 0 && err == nil || err == unix.EINTR {
		return
	}
	c.s.poller.remove(int(c.pidfd.Fd()), c.token)
	_ = c.pidfd.Close()
	for _, p := range slices.Clone(c.pumps) {
		p.drain()
	}
	c.info.Exited, c.info.Exit = true, exitOf(status, err)
	if err := c.s.saveExit(c.info); err != nil {
		logf("save exit of %s: %v", c.info.ID, err) // it is still known here
	}
	c.tell()
}

// exitOf reads a wait status as a shell does: a signal is 128 and its number.
func exitOf(status unix.WaitStatus, err error) wire.Exit {
	e := wire.Exit{Code: status.ExitStatus(), At: time.Now()}
	switch {
	case err != nil: // somebody else reaped it: nobody will ever know
		e.Code = 255
	case status.Signaled():
		e.Signal = int(status.Signal())
		e.Code = 128 + e.Signal
	}
	return e
}

func (c *child) tell() {
	waiters := c.waiters
	c.waiters = nil
	for _, w := range waiters {
		w.waitsFor = nil
		w.answer(wire.Reply{Children: []wire.Child{c.info}}, -1)
	}
}

func (c *child) dropWaiter(w *conn) {
	c.waiters = slices.DeleteFunc(c.waiters, func(x *conn) bool { return x == w })
}

func (s *server) pidFD(id string) (wire.Reply, int) {
	c, ok := s.children[id]
	switch {
	case !ok:
		return unknown(id), -1
	case c.info.Exited:
		return refuse(wire.Exited, "%q has exited", id), -1
	}
	return wire.Reply{}, int(c.pidfd.Fd())
}

// forget is idempotent.
func (s *server) forget(id string) wire.Reply {
	c, ok := s.children[id]
	if !ok {
		return wire.Reply{}
	}
	if !c.info.Exited {
		return refuse(wire.Kept, "%q runs: it cannot be forgotten", id)
	}
	if err := s.removeExit(id); err != nil {
		return failure(err)
	}
	c.closeLogs()
	delete(s.children, id)
	return wire.Reply{}
}

// pageSize keeps a page of children well within a packet.
const pageSize = 256

// list returns a page of the children behind sequence number after, in their order.
func (s *server) list(after uint64) wire.Reply {
	all := slices.SortedFunc(maps.Values(s.children), func(a, b *child) int {
		return cmp.Compare(a.info.Sequence, b.info.Sequence)
	})
	var r wire.Reply
	for _, c := range all {
		if c.info.Sequence <= after {
			continue
		}
		if len(r.Children) == pageSize {
			r.More = true
			break
		}
		info := c.info
		info.Logging = len(c.pumps) > 0
		r.Children = append(r.Children, info)
	}
	return r
}
