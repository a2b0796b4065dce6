package server

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"runtime/debug"
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
	out     output
	log     *logs.Writer // open as long as there is a pump
	pumps   []*pump
	waiters []*conn
	bearer  *conn // the client that asked for it, until it is born
	left    bool  // that client went away before it could be told: nobody knows of the process
}

// spawn begins to start a process, for a client that is answered when it has started.
func (s *server) spawn(id string, r wire.SpawnRequest, sent *descriptors, client *conn) {
	if err := wire.CheckName(id); err != nil {
		client.answer(failure(err), -1)
		return
	}
	if other, ok := s.children[id]; ok && !other.leftMeanwhile() {
		client.answer(refuse(wire.Exists, "the keeper has a child %q already", id), -1)
		return
	}
	c := &child{s: s, info: wire.Child{ID: id}}
	cmd, open, err := c.command(r, sent)
	if err != nil {
		open.close()
		c.closeLogs()
		client.answer(failure(err), -1)
		return
	}
	s.children[id] = c // before it has a pid, so that the id is taken
	client.busy, client.bears, c.bearer = true, c, client
	go func() {
		p, err := birth(cmd)
		s.mail.post(func() { c.born(p, err, open) })
	}()
}

// birth is fork.Start, of which a defect must not end the keeper.
func birth(cmd fork.Cmd) (_ fork.Process, err error) {
	defer func() {
		if p := recover(); p != nil {
			logf("panic: %v\n%s", p, debug.Stack())
			err = fmt.Errorf("start process: panic: %v", p)
		}
	}()
	return fork.Start(cmd)
}

// born begins to watch the process and answers the client. A process that its client did not live to hear of, or gave
// up, is ended: nobody would ask for its exit.
func (c *child) born(p fork.Process, err error, open files) {
	open.close()
	client := c.bearer
	c.bearer, client.bears = nil, nil
	if err == nil {
		err = c.watch(p)
	}
	if err != nil {
		c.unborn()
		c.ended()
		client.answer(failure(err), -1)
		return
	}
	if !client.answer(wire.Reply{PID: p.PID}, int(p.FD.Fd())) {
		c.leave()
		_ = unix.PidfdSendSignal(int(p.FD.Fd()), unix.SIGKILL, nil, 0)
	}
}

// leave gives up the id of a process whose client has gone, which another may have at once.
func (c *child) leave() {
	if !c.left {
		c.left = true
		c.s.unheard++
		c.unborn()
	}
}

// ended reports whether the client left, in which case that was all.
func (c *child) ended() (left bool) {
	if c.left {
		c.s.unheard--
	}
	return c.left
}

// leftMeanwhile looks whether the client has gone that asked for a process which is being born.
func (c *child) leftMeanwhile() bool {
	if c.bearer != nil && c.bearer.hungUp() {
		c.leave()
	}
	return c.left
}

func (c *child) watch(p fork.Process) (err error) {
	if c.token, err = c.s.poller.add(int(p.FD.Fd()), c); err != nil {
		abort(p)
		return fmt.Errorf("watch process: %w", err)
	}
	c.s.sequence++
	c.pidfd = p.FD
	c.info.PID, c.info.Sequence, c.info.StartedAt = p.PID, c.s.sequence, time.Now()
	return nil
}

// unborn undoes spawn.
func (c *child) unborn() {
	if c.s.children[c.info.ID] == c {
		delete(c.s.children, c.info.ID)
	}
	c.closeLogs()
	for _, w := range slices.Clone(c.waiters) {
		w.answer(unknown(c.info.ID), -1)
	}
}

// abort ends a process that cannot be watched. Killed, it takes a moment to end, the only one that is waited for.
func abort(p fork.Process) {
	_ = unix.PidfdSendSignal(int(p.FD.Fd()), unix.SIGKILL, nil, 0)
	_, _ = unix.Wait4(p.PID, nil, unix.WALL, nil)
	_ = p.FD.Close()
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
		p.hangUp()
	}
	if c.ended() {
		return
	}
	c.info.Exited, c.info.Exit = true, exitOf(status, err)
	c.tell() // who waits knows it then, whatever becomes of this process
	if err := c.s.saveExit(c.info); err != nil {
		logf("save exit of %s: %v", c.info.ID, err) // it is still known here
	}
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
		w.waitsFor = nil // it is no longer in waiters
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
	case c.pidfd == nil:
		return refuse(wire.NotFound, "%q is not started yet", id), -1
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
		if c.info.Sequence <= after { // 0 when it is not started yet
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
