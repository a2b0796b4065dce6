package main

import (
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/docker/go-units"
)

// table is rows of cells under a header, aligned by what a terminal shows.
type table struct {
	header []string
	rows   [][]cell
}

// cell is a text and the colour it has on a terminal.
type cell struct {
	text   string
	colour colour
}

// colour is an ANSI escape; the empty one is the terminal's own colour.
type colour string

// The colours in use: bright for good, warning and bad news, dim for what matters less.
const (
	plain  colour = ""
	green  colour = "\x1b[32m"
	yellow colour = "\x1b[33m"
	red    colour = "\x1b[31m"
	dim    colour = "\x1b[2m"
	bold   colour = "\x1b[1m"
	reset         = "\x1b[0m"
)

func (t *table) row(cells ...cell) { t.rows = append(t.rows, cells) }

func text(s string) cell { return cell{text: s} }

const columnGap = "   "

// write prints the table, in colour or not.
func (t *table) write(w io.Writer, coloured bool) error {
	widths := make([]int, len(t.header))
	head := make([]cell, len(t.header))
	for i, h := range t.header {
		head[i] = cell{h, dim}
	}
	rows := append([][]cell{head}, t.rows...)
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		writeRow(&b, row, widths, coloured)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func writeRow(b *strings.Builder, row []cell, widths []int, coloured bool) {
	last := len(row) - 1
	for last > 0 && row[last].text == "" { // no blanks at the end of a line
		last--
	}
	for i, c := range row[:last+1] {
		b.WriteString(c.paint(coloured))
		if i < last {
			b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.text)) + columnGap)
		}
	}
	b.WriteByte('\n')
}

func (c cell) paint(coloured bool) string {
	if !coloured || c.colour == plain || c.text == "" {
		return c.text
	}
	return string(c.colour) + c.text + reset
}

// ago is how people say a time in the past: "3 minutes ago".
func ago(now, t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strings.ToLower(units.HumanDuration(max(now.Sub(t), 0))) + " ago"
}
