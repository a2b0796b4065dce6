package server

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// source is a descriptor that the keeper waits for. ready is called when it is readable or closed at its other end.
type source interface{ ready() }

// poller waits for all sources at once. A source is known by a token that is never used again, so an event that was
// on its way when its source left finds nobody, whatever descriptor has the number now.
type poller struct {
	fd      int
	sources map[uint64]source
	last    uint64
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	return &poller{fd: fd, sources: map[uint64]source{}}, nil
}

func (p *poller) add(fd int, s source) (token uint64, err error) {
	p.last++
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(uint32(p.last)), Pad: int32(uint32(p.last >> 32))}
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
		return 0, fmt.Errorf("add to epoll: %w", err)
	}
	p.sources[p.last] = s
	return p.last, nil
}

// remove forgets a source. Its descriptor may still be open elsewhere, so closing it is not enough.
func (p *poller) remove(fd int, token uint64) {
	delete(p.sources, token)
	_ = unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil) // it was added, and the event would find nobody anyway
}

// wait calls ready on what is ready.
func (p *poller) wait(events []unix.EpollEvent, call func(source)) error {
	n, err := unix.EpollWait(p.fd, events, -1)
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wait for events: %w", err)
	}
	for _, e := range events[:n] {
		if s, ok := p.sources[uint64(uint32(e.Fd))|uint64(uint32(e.Pad))<<32]; ok {
			call(s)
		}
	}
	return nil
}

func (p *poller) close() { _ = unix.Close(p.fd) }
