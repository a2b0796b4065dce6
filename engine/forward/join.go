package forward

import (
	"bytes"

	"naru/engine/logs"
)

const (
	maxLine     = 64 << 10 // a longer line comes as several messages
	maxMessages = 500      // of a batch: a receiver that is away may keep one of each container waiting in memory
	maxBatch    = 64 << 10
)

// joiner makes lines of a log's entries, which can be pieces of lines, and batches of the lines.
type joiner struct {
	next  logs.Position // after the last entry
	open  [3]*piece     // by stream: a line without its end
	batch []Message
	size  int
}

// piece is the beginning of a line, and where it lies.
type piece struct {
	Message
	at logs.Position
}

func (j *joiner) add(e logs.Entry) {
	at := j.next
	j.next = e.Next
	if e.Dropped > 0 {
		j.emit(Message{Time: e.Time, Stream: logs.Stderr, Dropped: e.Dropped})
	}
	p := j.open[e.Stream]
	if p != nil && e.Begin { // what had no end gets none
		j.close(e.Stream)
		p = nil
	}
	if p == nil {
		p = &piece{Message{Time: e.Time, Stream: e.Stream}, at}
		j.open[e.Stream] = p
	}
	p.Text = append(p.Text, e.Data...)
	if e.End() || len(p.Text) >= maxLine {
		j.close(e.Stream)
	}
}

// close makes a message of what there is of a line.
func (j *joiner) close(s logs.Stream) {
	p := j.open[s]
	j.open[s] = nil
	p.Text = bytes.TrimSuffix(p.Text, []byte("\n"))
	j.emit(p.Message)
}

// end makes messages of lines that will get no end.
func (j *joiner) end() {
	for s, p := range j.open {
		if p != nil {
			j.close(logs.Stream(s))
		}
	}
}

func (j *joiner) emit(m Message) {
	j.batch = append(j.batch, m)
	j.size += len(m.Text)
}

func (j *joiner) full() bool { return len(j.batch) >= maxMessages || j.size >= maxBatch }

func (j *joiner) take() []Message {
	batch := j.batch
	j.batch, j.size = nil, 0
	return batch
}

// safe is the position before which all lines are in a batch that was taken.
func (j *joiner) safe() logs.Position {
	at := j.next
	for _, p := range j.open {
		if p != nil && p.at.Before(at) {
			at = p.at
		}
	}
	return at
}
