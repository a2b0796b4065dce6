package api

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// FrameKind says what a Frame carries.
type FrameKind byte

// The kinds of frames. Stdin, CloseStdin, Resize and Signal go to the daemon; Stdout, Stderr, Exit and Failure come from it,
// and Exit or Failure is the last.
const (
	FrameStdin      FrameKind = iota // bytes for the process
	FrameStdout                      // bytes of the process
	FrameStderr                      // bytes of the process
	FrameResize                      // Size: the terminal has changed
	FrameCloseStdin                  // no more bytes will come
	FrameSignal                      // a signal's name, such as "TERM"
	FrameStarted                     // the id of the container, once it runs
	FrameExit                        // exit status, 4 bytes
	FrameFailure                     // Error as JSON
	frameKinds
)

// MaxFrame bounds the payload of one frame; longer writes are split.
const MaxFrame = 64 << 10

// Frame is one message of an upgraded connection: on the wire a byte of kind, four bytes of length (big endian), then
// the payload.
type Frame struct {
	Kind    FrameKind
	Payload []byte
}

// Size is a terminal's, in characters.
type Size struct {
	Rows    uint16 `json:"rows"`
	Columns uint16 `json:"columns"`
}

const frameHeader = 5

// WriteFrame writes one frame with a single Write, so that writers that share a lock never mix frames.
func WriteFrame(w io.Writer, f Frame) error {
	if len(f.Payload) > MaxFrame {
		return fmt.Errorf("write frame: %d bytes are more than the %d a frame may carry", len(f.Payload), MaxFrame)
	}
	b := make([]byte, frameHeader, frameHeader+len(f.Payload))
	b[0] = byte(f.Kind)
	binary.BigEndian.PutUint32(b[1:], uint32(len(f.Payload)))
	_, err := w.Write(append(b, f.Payload...))
	return err
}

// ReadFrame reads one frame. It returns io.EOF only between frames; a connection that ends inside one is
// io.ErrUnexpectedEOF.
func ReadFrame(r io.Reader) (Frame, error) {
	var head [frameHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return Frame{}, err
	}
	f := Frame{Kind: FrameKind(head[0])}
	n := binary.BigEndian.Uint32(head[1:])
	if f.Kind >= frameKinds {
		return Frame{}, fmt.Errorf("read frame: kind %d is unknown", f.Kind)
	}
	if n > MaxFrame {
		return Frame{}, fmt.Errorf("read frame: length %d is more than the %d a frame may carry", n, MaxFrame)
	}
	f.Payload = make([]byte, n)
	if _, err := io.ReadFull(r, f.Payload); err != nil {
		return Frame{}, noEOF(err)
	}
	return f, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// ResizeFrame tells the process's terminal its new size.
func ResizeFrame(s Size) Frame {
	b := binary.BigEndian.AppendUint16(nil, s.Rows)
	return Frame{FrameResize, binary.BigEndian.AppendUint16(b, s.Columns)}
}

// Size reads a FrameResize.
func (f Frame) Size() (Size, error) {
	if f.Kind != FrameResize || len(f.Payload) != 4 {
		return Size{}, errors.New("read frame: not a terminal size")
	}
	return Size{binary.BigEndian.Uint16(f.Payload), binary.BigEndian.Uint16(f.Payload[2:])}, nil
}

// ExitFrame ends a session with the process's exit status.
func ExitFrame(code int) Frame {
	return Frame{FrameExit, binary.BigEndian.AppendUint32(nil, uint32(int32(code)))}
}

// ExitCode reads a FrameExit.
func (f Frame) ExitCode() (int, error) {
	if f.Kind != FrameExit || len(f.Payload) != 4 {
		return 0, errors.New("read frame: not an exit status")
	}
	return int(int32(binary.BigEndian.Uint32(f.Payload))), nil
}

// FailureFrame ends a session with an error. A message too long for a frame is cut.
func FailureFrame(err error) Frame {
	e := *ToError(err)
	if len(e.Message) > MaxFrame/8 { // JSON writes a byte as six at worst
		e.Message = e.Message[:MaxFrame/8] + "…"
	}
	b, merr := json.Marshal(e)
	if merr != nil {
		panic("api: an Error does not marshal: " + merr.Error()) // three plain fields always marshal
	}
	return Frame{FrameFailure, b}
}

// Failure reads a FrameFailure.
func (f Frame) Failure() error {
	var e Error
	if f.Kind != FrameFailure {
		return errors.New("read frame: not a failure")
	}
	if err := json.Unmarshal(f.Payload, &e); err != nil {
		return fmt.Errorf("read frame: %w", err)
	}
	return &e
}

// FrameWriter is an io.Writer whose writes become frames of one kind. Its Send is called with one frame at a time and
// decides on locking.
type FrameWriter struct {
	Kind FrameKind
	Send func(Frame) error
}

// Write sends p in as many frames as it takes.
func (w FrameWriter) Write(p []byte) (int, error) {
	for done := 0; done < len(p); {
		n := min(len(p)-done, MaxFrame)
		if err := w.Send(Frame{w.Kind, p[done : done+n]}); err != nil {
			return done, err
		}
		done += n
	}
	return len(p), nil
}
