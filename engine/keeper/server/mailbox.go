package server

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// mailbox brings work of other goroutines to the loop, which does it in its turn.
type mailbox struct {
	fd int // an eventfd, the only part that the loop waits for

	mu      sync.Mutex
	letters []func()
}

func newMailbox(p *poller) (*mailbox, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("create eventfd: %w", err)
	}
	m := &mailbox{fd: fd}
	if _, err := p.add(fd, m); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return m, nil
}

// post never blocks.
func (m *mailbox) post(letter func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.letters = append(m.letters, letter)
	_, _ = unix.Write(m.fd, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // full is as good: the loop is about to wake
}

// ready does one letter: if it panics, the others are still there, and so is the reason to wake.
func (m *mailbox) ready() {
	if letter := m.next(); letter != nil {
		letter()
	}
}

func (m *mailbox) next() (letter func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.letters) > 0 {
		letter, m.letters = m.letters[0], m.letters[1:]
	}
	if len(m.letters) == 0 {
		m.letters = nil
		var count [8]byte
		_, _ = unix.Read(m.fd, count[:])
	}
	return letter
}

// shut is not named close, which a panic in a letter would call.
func (m *mailbox) shut() { _ = unix.Close(m.fd) }
