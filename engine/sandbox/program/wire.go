package program

import "encoding/binary"

// SocketFD is the descriptor of an init's end of the socket to the daemon.
const SocketFD = 3

// Names that the init's binary is started under; argv[0] tells what it is to do.
const (
	InitName = "init"
	ReapName = "reap"
)

// The first byte of a message on the socket. The daemon sends Files messages (each carries up to MaxFiles
// descriptors), one Program (its length as 4 bytes, then itself), and Go once the network is there. The init answers
// with Console (carrying the terminal's master), Ready (the next thing is exec) and, when something fails, Failure (with
// its length and body). At a Sync it says Sync and waits for one more Go; at a Gate it says Ready and closes the socket,
// to go on with whoever connects there.
// The end of the stream after Ready without a Failure means that exec succeeded: exec closed it.
const (
	MsgFiles   = 'F'
	MsgProgram = 'P'
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
