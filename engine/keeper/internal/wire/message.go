// Package wire is what the keeper and its clients say to each other: one request and one reply a connection, each a
// packet of a unix seqpacket socket, with descriptors beside it. It receives bytes and hands on requests and replies;
// it owns the protocol's version.
//
// The first byte of every packet is the version, and Hello keeps its form in all versions, so that any client can
// tell which keeper it found.
package wire

import (
	"syscall"
	"time"

	"naru/engine/sandbox/fork"
)

// Version is the protocol's. A keeper lives longer than the daemon that started it: change nothing below without
// counting this up.
const Version = 2

const (
	// MaxPacket is the most a packet holds: a process's arguments and environment are the only things that get long.
	MaxPacket = 256 << 10
	// MaxFiles is the most descriptors a packet carries: the kernel's SCM_MAX_FD.
	MaxFiles = 253
)

// Op is what a request asks for.
type Op uint8

// The operations.
const (
	Hello       Op = iota + 1 // who are you?
	Spawn                     // start a process and be its parent
	List                      // children, from a sequence number on
	PidFD                     // of a running child
	Wait                      // for a child's exit
	Forget                    // an exited child
	Put                       // keep a descriptor under a name
	Get                       // a duplicate of a kept descriptor
	Drop                      // a kept descriptor
	Names                     // of the kept descriptors
	Quit                      // end, if nothing is kept
	SetTerminal               // read a child's terminal into its logs
	Terminal                  // a duplicate of a running child's terminal
)

// Request is a packet to the keeper. Which fields count depends on Op.
type Request struct {
	Version uint8
	Op      Op
	ID      string // of a child, or a descriptor's name
	After   uint64 // List: children with a greater sequence number
	Spawn   SpawnRequest
}

// SpawnRequest is a fork.Cmd without its descriptors. Those go beside the packet, in the order of the fields here.
type SpawnRequest struct {
	Args, Env             []string
	Namespaces, JoinFlags uint64
	UIDMap, GIDMap        []fork.IDMap
	Setsid                bool
	HasExe, HasJoin       bool
	HasCgroup             bool
	Cgroups               int    // how many cgroup v1 tasks files
	Files                 []bool // by descriptor number: whether it was sent
	LogDir                string // "" for no logs
	LogSize               int64
	LogFiles              int
	Bare                  bool // fork.Cmd's; only for a keeper of the same build
}

// Encode renders r as a packet.
func (r Request) Encode() []byte {
	e := encoder{b: []byte{r.Version, byte(r.Op)}}
	switch r.Op {
	case Spawn:
		e.string(r.ID)
		r.Spawn.encode(&e)
	case List:
		e.uint(r.After)
	case PidFD, Wait, Forget, Put, Get, Drop, SetTerminal, Terminal:
		e.string(r.ID)
	}
	return e.b
}

// DecodeRequest reads a packet. Of another version it reads the head only.
func DecodeRequest(b []byte) (Request, error) {
	if len(b) < 2 {
		return Request{}, errMalformed
	}
	r := Request{Version: b[0], Op: Op(b[1])}
	if r.Op == Hello || r.Version != Version {
		return r, nil
	}
	d := decoder{b: b[2:]}
	switch r.Op {
	case Spawn:
		r.ID = d.string()
		r.Spawn.decode(&d)
	case List:
		r.After = d.uint()
	case PidFD, Wait, Forget, Put, Get, Drop, SetTerminal, Terminal:
		r.ID = d.string()
	case Names, Quit:
	default:
		d.fail()
	}
	return r, d.end()
}

func (s *SpawnRequest) encode(e *encoder) {
	e.strings(s.Args)
	e.strings(s.Env)
	e.uint(s.Namespaces)
	e.uint(s.JoinFlags)
	encodeIDMaps(e, s.UIDMap)
	encodeIDMaps(e, s.GIDMap)
	e.bool(s.Setsid)
	e.bool(s.HasExe)
	e.bool(s.HasJoin)
	e.bool(s.HasCgroup)
	e.uint(uint64(s.Cgroups))
	e.uint(uint64(len(s.Files)))
	for _, sent := range s.Files {
		e.bool(sent)
	}
	e.string(s.LogDir)
	e.int(s.LogSize)
	e.int(int64(s.LogFiles))
	if s.Bare { // a keeper of another build would not know it
		e.bool(true)
	}
}

func (s *SpawnRequest) decode(d *decoder) {
	s.Args = d.strings()
	s.Env = d.strings()
	s.Namespaces = d.uint()
	s.JoinFlags = d.uint()
	s.UIDMap = decodeIDMaps(d)
	s.GIDMap = decodeIDMaps(d)
	s.Setsid = d.bool()
	s.HasExe = d.bool()
	s.HasJoin = d.bool()
	s.HasCgroup = d.bool()
	s.Cgroups = int(min(d.uint(), MaxFiles+1))
	for range d.count() {
		s.Files = append(s.Files, d.bool())
	}
	s.LogDir = d.string()
	s.LogSize = d.int()
	s.LogFiles = int(d.int())
	s.Bare = d.more() && d.bool()
}

// Descriptors is how many descriptors must come with s.
func (s *SpawnRequest) Descriptors() int {
	n := s.Cgroups
	for _, sent := range append([]bool{s.HasExe, s.HasJoin, s.HasCgroup}, s.Files...) {
		if sent {
			n++
		}
	}
	return n
}

func encodeIDMaps(e *encoder, maps []fork.IDMap) {
	e.uint(uint64(len(maps)))
	for _, m := range maps {
		e.int(int64(m.ContainerID))
		e.int(int64(m.HostID))
		e.int(int64(m.Size))
	}
}

func decodeIDMaps(d *decoder) (maps []fork.IDMap) {
	for range d.count() {
		maps = append(maps, fork.IDMap{ContainerID: int(d.int()), HostID: int(d.int()), Size: int(d.int())})
	}
	return maps
}

// Kind is how a request went.
type Kind uint8

// The kinds of reply.
const (
	OK       Kind = iota
	Failed        // Text says why
	NotFound      // no such child or descriptor
	Exists        // the id or name is taken
	Kept          // it runs, or something is kept: it cannot be forgotten, or quit
	Exited        // the child runs no more
	Foreign       // the request was of another version
)

// Reply is a packet from the keeper. Which fields count depends on the request.
type Reply struct {
	Version  uint8
	Kind     Kind
	Errno    syscall.Errno // of a failure that has one
	Text     string        // of a failure
	PID      int           // Hello: the keeper's; Spawn: the process's
	Build    string        // Hello: which executable runs
	Children []Child       // List: one page; Wait: one
	More     bool          // List: ask again
	Names    []string      // Names
}

// Child is a process that the keeper started.
type Child struct {
	Sequence  uint64 // grows with each process
	ID        string
	PID       int
	StartedAt time.Time
	Exited    bool
	Logging   bool // a process still holds one of its log pipes
	Exit      Exit
}

// Exit is how a process ended.
type Exit struct {
	Code   int
	Signal int
	At     time.Time
}

// Encode renders r as a packet.
func (r Reply) Encode() []byte {
	e := encoder{b: []byte{r.Version, byte(r.Kind)}}
	e.uint(uint64(r.Errno))
	e.string(r.Text)
	e.int(int64(r.PID))
	e.string(r.Build)
	e.uint(uint64(len(r.Children)))
	for _, c := range r.Children {
		c.encode(&e)
	}
	e.bool(r.More)
	e.strings(r.Names)
	return e.b
}

// DecodeReply reads a packet. Of another version it reads the head only.
func DecodeReply(b []byte) (Reply, error) {
	if len(b) < 2 {
		return Reply{}, errMalformed
	}
	r := Reply{Version: b[0], Kind: Kind(b[1])}
	if r.Version != Version {
		return r, nil
	}
	d := decoder{b: b[2:]}
	r.Errno = syscall.Errno(d.uint())
	r.Text = d.string()
	r.PID = int(d.int())
	r.Build = d.string()
	for range d.count() {
		r.Children = append(r.Children, decodeChild(&d))
	}
	r.More = d.bool()
	r.Names = d.strings()
	return r, d.end()
}

func (c Child) encode(e *encoder) {
	e.uint(c.Sequence)
	e.string(c.ID)
	e.int(int64(c.PID))
	e.int(c.StartedAt.UnixNano())
	e.bool(c.Exited)
	e.bool(c.Logging)
	if c.Exited {
		e.int(int64(c.Exit.Code))
		e.int(int64(c.Exit.Signal))
		e.int(c.Exit.At.UnixNano())
	}
}

func decodeChild(d *decoder) Child {
	c := Child{Sequence: d.uint(), ID: d.string(), PID: int(d.int())}
	c.StartedAt = time.Unix(0, d.int())
	c.Exited = d.bool()
	c.Logging = d.bool()
	if c.Exited {
		c.Exit = Exit{Code: int(d.int()), Signal: int(d.int())}
		c.Exit.At = time.Unix(0, d.int())
	}
	return c
}
