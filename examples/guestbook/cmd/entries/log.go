package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"guestbook/internal/book"
)

// log is a file of entries, a JSON line each. A line is one write to a file opened with O_APPEND, which Linux keeps
// whole beside another process's, and it is on the disk before append returns.
type log struct {
	path string
	file *os.File
}

func openLog(path string) (*log, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the book: %w", err)
	}
	return &log{path, file}, nil
}

func (l *log) close() error { return l.file.Close() }

func (l *log) append(e book.Entry) error {
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write entry: %w", err)
	}
	// A line begins as well as ends with a newline: should a crash have torn the line before, this one stays whole.
	line = slices.Concat([]byte("\n"), line, []byte("\n"))
	if _, err := l.file.Write(line); err != nil {
		return fmt.Errorf("write entry: %w", err)
	}
	if err := l.file.Sync(); err != nil {
		return fmt.Errorf("sync entry: %w", err)
	}
	return nil
}

// newest returns up to n entries, the newest first. A line that is no entry was torn by a crash: it was never
// acknowledged, and is passed over.
func (l *log) newest(n int) ([]book.Entry, error) {
	content, err := os.ReadFile(l.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read entries: %w", err)
	}
	entries := []book.Entry{}
	lines := bufio.NewScanner(bytes.NewReader(content))
	for lines.Scan() {
		var e book.Entry
		if json.Unmarshal(lines.Bytes(), &e) == nil {
			entries = append(entries, e)
		}
	}
	slices.Reverse(entries)
	return entries[:min(n, len(entries))], lines.Err()
}
