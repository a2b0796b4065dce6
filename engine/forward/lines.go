package forward

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"
)

// lines writes a JSON value a line.
type lines struct {
	w    io.Writer
	turn chan struct{} // held by who writes, so that batches do not mix
}

func newLines(w io.Writer) *lines { return &lines{w: w, turn: make(chan struct{}, 1)} }

// lineJSON is what stands on a line. Text that is not UTF-8 comes as base64, under another name.
type lineJSON struct {
	Time      time.Time `json:"time"`
	Container string    `json:"container"`
	ID        string    `json:"id"`
	Stream    string    `json:"stream"`
	Text      *string   `json:"text,omitempty"`
	Bytes     []byte    `json:"bytes,omitempty"`
	Dropped   uint64    `json:"dropped,omitempty"`
}

// Send implements Receiver. A write that nobody reads cannot be ended: when ctx ends first, it is left alone, and whoever
// comes next waits for it.
func (l *lines) Send(ctx context.Context, from Source, batch []Message) error {
	text, err := encodeLines(from, batch)
	if err != nil {
		return &Refused{Messages: len(batch), Err: err}
	}
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	written := make(chan error, 1)
	go func() {
		_, err := l.w.Write(text)
		<-l.turn
		written <- err
	}()
	select {
	case err := <-written:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func encodeLines(from Source, batch []Message) ([]byte, error) {
	var all []byte
	for _, m := range batch {
		line := lineJSON{Time: m.Time.UTC(), Container: from.Name, ID: from.ID, Stream: m.Stream.String(), Dropped: m.Dropped}
		if text := string(m.text()); utf8.ValidString(text) {
			line.Text = &text
		} else {
			line.Bytes = m.Text
		}
		b, err := json.Marshal(line)
		if err != nil {
			return nil, fmt.Errorf("encode a line: %w", err)
		}
		all = append(append(all, b...), '\n')
	}
	return all, nil
}
