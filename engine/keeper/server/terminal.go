package server

import (
	"fmt"

	"golang.org/x/sys/unix"

	"naru/engine/keeper/internal/wire"
	"naru/engine/logs"
)

// maxTerminal is more than the kernel holds of what was written to a terminal and not read.
const maxTerminal = 256 << 10

// setTerminal begins to read what a child prints on its terminal, whose master was sent. One that has exited by now has
// left there what it said.
func (s *server) setTerminal(id string, sent *descriptors) wire.Reply {
	c, ok := s.children[id]
	switch {
	case !ok:
		return unknown(id)
	case c.pidfd == nil && !c.info.Exited:
		return refuse(wire.NotFound, "%q is not started yet", id)
	case c.terminal() != nil:
		return refuse(wire.Exists, "%q has a terminal already", id)
	case c.out.dir == "" || len(sent.fds) != 1:
		return refuse(wire.Failed, "a terminal is sent alone, for a child with logs")
	}
	if err := c.readTerminal(sent.take(1)[0]); err != nil {
		return failure(fmt.Errorf("read the terminal of %q: %w", id, err))
	}
	return wire.Reply{}
}

func (c *child) readTerminal(master int) error {
	p := &pump{child: c, fd: master, stream: logs.Stdout, terminal: true, slave: -1}
	if err := c.openTerminal(p); err != nil {
		_ = unix.Close(master)
		p.hangUp()
		return err
	}
	c.pumps = append(c.pumps, p)
	if c.info.Exited {
		p.drain()
		p.hangUp()
	}
	return nil
}

func (c *child) openTerminal(p *pump) (err error) {
	if err := unix.SetNonblock(p.fd, true); err != nil {
		return err
	}
	slave, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(p.fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return errno
	}
	p.slave = int(slave)
	if err := c.openLog(); err != nil {
		return err
	}
	p.token, err = c.s.poller.add(p.fd, p)
	return err
}

// hangUp lets a terminal end with those who write to it; a pipe does without.
func (p *pump) hangUp() {
	if p.terminal && p.slave >= 0 {
		_ = unix.Close(p.slave)
		p.slave = -1
	}
}

// terminal is the child's, or nil.
func (c *child) terminal() *pump {
	for _, p := range c.pumps {
		if p.terminal {
			return p
		}
	}
	return nil
}

func (s *server) terminal(id string) (wire.Reply, int) {
	c, ok := s.children[id]
	if !ok {
		return unknown(id), -1
	}
	p := c.terminal()
	if p == nil {
		return refuse(wire.NotFound, "%q has no terminal", id), -1
	}
	return wire.Reply{}, p.fd
}
