package server

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"naru/engine/keeper/internal/wire"
	"naru/engine/logs"
)

// output is where a child's logs are.
type output struct {
	dir    string // "": it has none
	limits logs.Limits
}

// openLog opens the logs, unless they are open.
func (c *child) openLog() (err error) {
	if c.log == nil {
		c.log, err = logs.Open(c.out.dir, c.out.limits, &c.s.scratch)
	}
	return err
}

// pump carries one output of a child from its pipe, or its terminal, into its logs.
type pump struct {
	child  *child
	fd     int
	token  uint64
	stream logs.Stream
	failed bool // the last write to the logs failed, and the failure was told

	terminal bool
	slave    int // of a terminal: held open, so that a child that has it closed for a while does not end the pump
}

func (p *pump) open(r wire.SpawnRequest) error {
	if err := unix.SetNonblock(p.fd, true); err != nil {
		return err
	}
	if err := unix.Fchown(p.fd, rootOf(r.UIDMap), rootOf(r.GIDMap)); err != nil {
		return err
	}
	var err error
	p.token, err = p.child.s.poller.add(p.fd, p)
	return err
}

// ready moves what is there, one buffer at most.
func (p *pump) ready() { _ = p.move() }

// drain moves what the process left in the pipe when it exited. Another may hold the pipe too and go on writing, so
// no more is moved than the pipe can have held.
func (p *pump) drain() {
	left, err := maxTerminal, error(nil)
	if !p.terminal {
		left, err = unix.FcntlInt(uintptr(p.fd), unix.F_GETPIPE_SZ, 0)
	}
	for err == nil && left > 0 {
		n := p.move()
		if n == 0 {
			return
		}
		left -= n
	}
}

// move returns how much it moved: 0 when nothing is there or nothing will be any more.
func (p *pump) move() int {
	n, err := unix.Read(p.fd, p.child.s.buffer[:readSize])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return 0
	case err != nil || n == 0:
		p.close()
		return 0
	}
	p.write(p.child.s.buffer[:n])
	return n
}

// write loses what the logs cannot take, a full disk say: the process must not stand still for it.
func (p *pump) write(data []byte) {
	err := p.child.log.Append(time.Now(), p.stream, data)
	if err != nil && !p.failed {
		logf("logs of %s are being lost: %v", p.child.info.ID, err)
	}
	p.failed = err != nil
}

// close ends the pump, and with the last one the logs.
func (p *pump) close() {
	c := p.child
	p.shut()
	c.pumps = slices.DeleteFunc(c.pumps, func(x *pump) bool { return x == p })
	if len(c.pumps) == 0 {
		c.closeLogs()
	}
}

func (p *pump) shut() {
	p.child.s.poller.remove(p.fd, p.token)
	_ = unix.Close(p.fd)
	p.hangUp()
}

// closeLogs ends what pumps there are. A process that still writes gets SIGPIPE.
func (c *child) closeLogs() {
	for _, p := range c.pumps {
		p.shut()
	}
	c.pumps = nil
	if c.log != nil {
		_ = c.log.Close() // every write was checked
		c.log = nil
	}
}
