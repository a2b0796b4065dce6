package main

import (
	"bytes"
	"hash/fnv"
	"io"
	"time"

	"naru/api"
	"naru/naru"
)

// logPrinter prints entries of several instances line by line: pieces of a line are held back until it is whole, so
// that lines of two instances never mix.
type logPrinter struct {
	w                  io.Writer
	colour             bool
	prefix, timestamps bool
	partial            map[stream]*line
}

// stream is one stream of one instance.
type stream struct {
	instance naru.InstanceID
	name     string
}

// line is one that has no end yet, and the entry that began it.
type line struct {
	first api.LogEntry
	data  []byte
}

// print takes one entry.
func (p *logPrinter) print(e api.LogEntry) error {
	if p.partial == nil {
		p.partial = map[stream]*line{}
	}
	from := stream{e.Instance, e.Stream}
	for data := e.Data; len(data) > 0; {
		piece, rest, whole := bytes.Cut(data, []byte("\n"))
		data = rest
		l := p.partial[from]
		if l == nil {
			l = &line{first: e}
			p.partial[from] = l
		}
		l.data = append(l.data, piece...)
		if whole {
			delete(p.partial, from)
			if err := p.printLine(l); err != nil {
				return err
			}
		}
	}
	return nil
}

// end prints the lines that never got their end, and passes the error on that the entries ended with.
func (p *logPrinter) end(err error) error {
	for _, l := range p.partial {
		if perr := p.printLine(l); perr != nil && err == nil {
			err = perr
		}
	}
	return err
}

func (p *logPrinter) printLine(l *line) error {
	var b []byte
	if p.timestamps {
		b = append(b, cell{l.first.Time.Local().Format(time.RFC3339) + " ", dim}.paint(p.colour)...)
	}
	if p.prefix {
		label := string(l.first.Service) + "/" + string(l.first.Instance)[:min(6, len(l.first.Instance))]
		b = append(b, cell{label + " | ", labelColour(label)}.paint(p.colour)...)
	}
	b = append(b, l.data...)
	_, err := p.w.Write(append(b, '\n'))
	return err
}

// labelColours are those that neither a failure nor a success has.
var labelColours = [...]colour{"\x1b[36m", "\x1b[35m", "\x1b[34m", "\x1b[33m", "\x1b[96m", "\x1b[95m", "\x1b[94m", "\x1b[93m"}

// labelColour gives an instance the same colour in every run.
func labelColour(label string) colour {
	h := fnv.New32a()
	_, _ = h.Write([]byte(label)) // never fails
	return labelColours[h.Sum32()%uint32(len(labelColours))]
}
