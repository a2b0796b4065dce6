package source

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"naru/naru"
)

// place is where in a file something stands; lines and columns count from 1.
type place struct {
	file         string // relative to the app folder
	line, column int
}

func (p place) String() string { return fmt.Sprintf("%s:%d:%d", p.file, p.line, p.column) }

// problem is one thing that is wrong in an app file.
type problem struct {
	at   place
	code naru.Code
	text string
}

// problems collects what is wrong, so that a user sees all of it at once instead of one thing a try.
type problems struct{ list []problem }

func (ps *problems) add(at place, code naru.Code, format string, args ...any) {
	p := problem{at, code, fmt.Sprintf(format, args...)}
	if !slices.Contains(ps.list, p) { // an anchor used twice is wrong once
		ps.list = append(ps.list, p)
	}
}

func (ps *problems) invalid(at place, format string, args ...any) {
	ps.add(at, naru.InvalidArgument, format, args...)
}

func (ps *problems) unsupported(at place, format string, args ...any) {
	ps.add(at, naru.Unimplemented, format, args...)
}

// err is nil when nothing is wrong; else one error, a line for each problem, in the order of the places. A mistake
// outweighs a wish that naru cannot fulfil: it is to be mended first.
func (ps *problems) err() error {
	if len(ps.list) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.list, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.at.file, b.at.file), cmp.Compare(a.at.line, b.at.line), cmp.Compare(a.at.column, b.at.column))
	})
	code, lines := naru.Unimplemented, make([]error, len(ps.list))
	for i, p := range ps.list {
		if p.code == naru.InvalidArgument {
			code = naru.InvalidArgument
		}
		lines[i] = fmt.Errorf("%s: %s", p.at, p.text)
	}
	return &naru.Error{Code: code, Err: errors.Join(lines...)}
}
