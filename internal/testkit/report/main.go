// Command report reads the events of `go test -json` from standard input and tells people what they mean: a line for
// each package, the whole output of what failed, every skipped test with its reason, and the totals as the last line.
// It exits with status 1 when anything failed, so that a pipe into it needs no pipefail. NARU_TOTALS names a file to
// which the totals are also appended, for a caller that adds up several runs.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	r := newReport(os.Stdout)
	if err := r.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(2)
	}
	r.close()
	if err := r.appendTotals(os.Getenv("NARU_TOTALS")); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(2)
	}
	if r.failed > 0 || r.passed == 0 {
		os.Exit(1)
	}
}

// event is what `go test -json` prints; see `go doc test2json`.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output and build-fail, instead of Package
	Test       string
	Output     string
	Elapsed    float64
}

// report owns the output of tests that have not ended, and the counts of those that have.
type report struct {
	out                     io.Writer
	output                  map[string]*strings.Builder // by package and test
	failedIn                map[string]int              // by package: failed tests
	skips                   []string
	passed, failed, skipped int
}

func newReport(out io.Writer) *report {
	return &report{out: out, output: map[string]*strings.Builder{}, failedIn: map[string]int{}}
}

// read takes events until the end of the stream. A line that is not an event comes from the go command: it is shown.
func (r *report) read(in io.Reader) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			r.line(line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
	}
}

func (r *report) line(line []byte) {
	var e event
	if json.Unmarshal(line, &e) != nil || e.Action == "" {
		r.printf("%s", line)
		return
	}
	if e.Test == "" {
		r.packageEvent(e)
		return
	}
	r.testEvent(e)
}

func (r *report) testEvent(e event) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		r.keep(key, e.Output)
	case "pass":
		r.passed++
		delete(r.output, key)
	case "fail":
		r.failed++
		r.failedIn[e.Package]++
		r.printf("%s", r.take(key))
	case "skip":
		r.skipped++
		r.skips = append(r.skips, fmt.Sprintf("  %s %s: %s", e.Package, e.Test, skipReason(r.take(key))))
	}
}

// packageEvent tells how a package ended. One that failed without a failed test (it did not build, TestMain gave up, a
// test called os.Exit) counts as one failure and shows its own output.
func (r *report) packageEvent(e event) {
	switch e.Action {
	case "output":
		r.keep(e.Package, e.Output)
	case "build-output":
		r.printf("%s", e.Output)
	case "pass":
		r.printf("ok    %s  %.2fs\n", e.Package, e.Elapsed)
	case "fail":
		if r.failedIn[e.Package] == 0 {
			r.failed++
			r.showUnended(e.Package)
		}
		r.printf("FAIL  %s  %.2fs\n", e.Package, e.Elapsed)
	}
}

// showUnended prints what tests that never ended had to say, then the package's own words: a panic kills both.
func (r *report) showUnended(pkg string) {
	var keys []string
	for key := range r.output {
		if strings.HasPrefix(key, pkg+" ") {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	for _, key := range keys {
		r.printf("%s", r.take(key))
	}
	r.printf("%s", r.take(pkg))
}

// printf writes to people, who see for themselves when that fails.
func (r *report) printf(format string, args ...any) {
	_, _ = fmt.Fprintf(r.out, format, args...)
}

func (r *report) keep(key, output string) {
	if r.output[key] == nil {
		r.output[key] = &strings.Builder{}
	}
	r.output[key].WriteString(output)
}

func (r *report) take(key string) string {
	b := r.output[key]
	delete(r.output, key)
	if b == nil {
		return ""
	}
	return b.String()
}

// skipReason is what the test gave to t.Skip: the output less go test's own lines and the file:line before the text.
func skipReason(output string) string {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "===") || strings.HasPrefix(line, "---") {
			continue
		}
		if place, reason, found := strings.Cut(line, ": "); found && strings.Contains(place, ".go:") {
			return reason
		}
		return line
	}
	return "no reason given"
}

func (r *report) close() {
	if len(r.skips) > 0 {
		r.printf("\nskipped here:\n%s\n", strings.Join(r.skips, "\n"))
	}
	r.printf("\n%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
}

func (r *report) appendTotals(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("append totals: %w", err)
	}
	_, err = fmt.Fprintln(f, r.passed, r.failed, r.skipped)
	return errors.Join(err, f.Close())
}
