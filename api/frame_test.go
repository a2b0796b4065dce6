package api_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"naru/api"
	"naru/naru"
)

func TestFramesComeBackAsSent(t *testing.T) {
	var wire bytes.Buffer
	size := api.Size{Rows: 24, Columns: 80}
	for _, f := range []api.Frame{{Kind: api.FrameStdin, Payload: []byte("hi")}, api.ResizeFrame(size), api.ExitFrame(-1),
		api.FailureFrame(naru.Errorf(naru.NotFound, "no"))} {
		if err := api.WriteFrame(&wire, f); err != nil {
			t.Fatal(err)
		}
	}
	next := func() api.Frame {
		f, err := api.ReadFrame(&wire)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	if f := next(); f.Kind != api.FrameStdin || string(f.Payload) != "hi" {
		t.Errorf("%+v", f)
	}
	if got, err := next().Size(); got != size || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	if code, err := next().ExitCode(); code != -1 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
	if err := next().Failure(); naru.CodeOf(err) != naru.NotFound {
		t.Error(err)
	}
	if _, err := api.ReadFrame(&wire); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

func TestAFailureFitsItsFrame(t *testing.T) {
	f := api.FailureFrame(errors.New(strings.Repeat("\x01", 10*api.MaxFrame)))
	if err := api.WriteFrame(io.Discard, f); err != nil {
		t.Error(err)
	}
	if err := f.Failure(); err == nil || naru.CodeOf(err) != naru.Internal {
		t.Error(err)
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 2, 'h', 'i'})
	f.Add([]byte{byte(api.FrameResize), 0, 0, 0, 4, 0, 24, 0, 80})
	f.Add([]byte{byte(api.FrameFailure), 0, 0, 0, 2, '{', '}'})
	f.Add([]byte{1, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, wire []byte) {
		frame, err := api.ReadFrame(bytes.NewReader(wire))
		if err != nil {
			return
		}
		if len(frame.Payload) > api.MaxFrame {
			t.Fatalf("%d bytes in a frame", len(frame.Payload))
		}
		_, _ = frame.Size()
		_, _ = frame.ExitCode()
		_ = frame.Failure()
		var back bytes.Buffer
		if err := api.WriteFrame(&back, frame); err != nil || !bytes.HasPrefix(wire, back.Bytes()) {
			t.Fatalf("frame %+v is written as %x, %v", frame, back.Bytes(), err)
		}
	})
}
