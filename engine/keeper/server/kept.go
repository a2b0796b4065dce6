package server

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"naru/engine/keeper/internal/wire"
)

const (
	maxKept     = 1024
	maxKeptName = 200 // so that all names fit into one packet
)

// put keeps a descriptor. The keeper does not know what it is: a listening socket is made by the daemon, which can
// say why it could not, and outlives it here.
func (s *server) put(name string, sent *descriptors) wire.Reply {
	if _, ok := s.kept[name]; ok {
		return refuse(wire.Exists, "the keeper keeps a %q already", name)
	}
	if name == "" || len(name) > maxKeptName || len(s.kept) == maxKept || len(sent.fds) != 1 {
		return refuse(wire.Failed, "the keeper keeps %d descriptors at most, each sent alone with a name of up to %d bytes", maxKept, maxKeptName)
	}
	s.kept[name] = sent.take(1)[0]
	return wire.Reply{}
}

func (s *server) get(name string) (wire.Reply, int) {
	fd, ok := s.kept[name]
	if !ok {
		return unknown(name), -1
	}
	return wire.Reply{}, fd
}

// drop is idempotent.
func (s *server) drop(name string) wire.Reply {
	if fd, ok := s.kept[name]; ok {
		_ = unix.Close(fd)
		delete(s.kept, name)
	}
	return wire.Reply{}
}

func (s *server) names() wire.Reply {
	return wire.Reply{Names: slices.Sorted(maps.Keys(s.kept))}
}
