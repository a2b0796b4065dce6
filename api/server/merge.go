package server

import (
	"iter"

	"naru/api"
)

// mergeByTime gives the entries of all sources, each in its own order, the earliest first among the sources' next ones.
// It ends with the first error.
func mergeByTime(sources []iter.Seq2[api.LogEntry, error]) iter.Seq2[api.LogEntry, error] {
	return func(yield func(api.LogEntry, error) bool) {
		heads := make([]*head, 0, len(sources))
		for _, source := range sources {
			h := &head{}
			var stop func()
			h.next, stop = iter.Pull2(source)
			defer stop()
			h.advance()
			heads = append(heads, h)
		}
		for h := earliest(heads); h != nil; h = earliest(heads) {
			if !yield(h.entry, h.err) || h.err != nil {
				return
			}
			h.advance()
		}
	}
}

// head is a source and its next entry.
type head struct {
	next  func() (api.LogEntry, error, bool)
	entry api.LogEntry
	err   error
	ok    bool
}

func (h *head) advance() { h.entry, h.err, h.ok = h.next() }

func earliest(heads []*head) *head {
	var first *head
	for _, h := range heads {
		if h.ok && (first == nil || h.err != nil || h.entry.Time.Before(first.entry.Time)) {
			first = h
		}
	}
	return first
}
