package program

import (
	"encoding/binary"
	"errors"
)

// ErrMalformed is what DecodeFailure says about bytes that Encode did not make.
var ErrMalformed = errors.New("malformed message")

// SocketFD is the descriptor of an init's end of the socket to the daemon.
const SocketFD = 3

// Names that the init's binary is started under; argv[0] tells what it is to do.
const (
	InitName = "init"
	ReapName = "reap"
)

// A program comes over the socket as a head (HeadSize bytes: its size, the room of its lists as Encode has it, and how many
// descriptors there are, four bytes each, the lowest first), the descriptors, with a byte for each message of up to MaxFiles,
// and its bytes.
const HeadSize = 12

// Head makes the head of a program.
func Head(size, room, files int) []byte {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, HeadSize), uint32(size))
	b = binary.LittleEndian.AppendUint32(b, uint32(room))
	return binary.LittleEndian.AppendUint32(b, uint32(files))
}

// The first byte of a message on the socket, after the program. The daemon says Go once the network is there. The init
// answers with Console (carrying the terminal's master), Ready (the next thing is exec) and, when something fails, Failure
// (with its length and body). At a Sync it says Sync and waits for one more Go; at a Gate it says Ready and closes the
// socket, to go on with whoever connects there.
// The end of the stream after Ready without a Failure means that exec succeeded: exec closed it.
const (
	MsgGo      = 'G'
	MsgConsole = 'C'
	MsgSync    = 'S'
	MsgReady   = 'X'
	MsgFailure = 'E'
)

// MaxFiles is how many descriptors go with one message; the kernel's limit is 253.
const MaxFiles = 200

// Failure is what an init says when an operation failed.
type Failure struct {
	Kind  Kind
	Errno uint32
	Text  string // what it was about: a path, a program
}

// Encode makes the body of a message of f.
func (f Failure) Encode() []byte {
	b := []byte{byte(f.Kind)}
	b = binary.LittleEndian.AppendUint32(b, f.Errno)
	return append(b, f.Text...)
}

// DecodeFailure reads what Encode made.
func DecodeFailure(b []byte) (Failure, error) {
	if len(b) < 5 {
		return Failure{}, ErrMalformed
	}
	return Failure{Kind: Kind(b[0]), Errno: binary.LittleEndian.Uint32(b[1:]), Text: string(b[5:])}, nil
}
