package vm

import (
	"bufio"
	"bytes"
	"regexp"
	"strings"
	"testing"
)

// results are what the guest's suites printed, by name of the suite.
type results map[string]*outcome

// outcome is one suite's end: how each of its tests ended, in order, and the program's exit status ("" when the guest
// died in it).
type outcome struct {
	tests  []result
	status string
	output strings.Builder
}

// result is one test in the guest.
type result struct {
	verdict string // PASS, FAIL or SKIP
	name    string
	output  string
}

var verdictLine = regexp.MustCompile(`^--- (PASS|FAIL|SKIP): (\S+) \(`)

// parse reads the console. Only tests at the top level count; a subtest's failure is its parent's too.
func parse(console []byte) results {
	all := results{}
	var suite *outcome
	var output strings.Builder // of the test that runs
	lines := bufio.NewScanner(bytes.NewReader(console))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := strings.TrimRight(lines.Text(), "\r")
		if name, found := strings.CutPrefix(line, "@@begin "); found {
			suite = &outcome{}
			all[name] = suite
			output.Reset()
			continue
		}
		if suite == nil {
			continue
		}
		if end, found := strings.CutPrefix(line, "@@end "); found {
			_, suite.status, _ = strings.Cut(end, " ")
			suite = nil
			continue
		}
		suite.output.WriteString(line + "\n")
		if m := verdictLine.FindStringSubmatch(line); m != nil {
			suite.tests = append(suite.tests, result{m[1], m[2], output.String()})
			output.Reset()
			continue
		}
		output.WriteString(line + "\n")
	}
	return all
}

// report makes a subtest of each test of the suite.
func (all results) report(t *testing.T, name string) {
	suite := all[name]
	if suite == nil {
		t.Fatal("did not run: the guest died before it")
	}
	for _, test := range suite.tests {
		t.Run(test.name, func(t *testing.T) {
			switch test.verdict {
			case "FAIL":
				t.Errorf("failed in the guest:\n%s", test.output)
			case "SKIP":
				t.Skip(strings.TrimSpace(test.output))
			}
		})
	}
	if suite.status != "0" && !t.Failed() {
		t.Errorf("the suite ended with status %q:\n%s", suite.status, suite.output.String())
	}
	if len(suite.tests) == 0 {
		t.Errorf("no test ran:\n%s", suite.output.String())
	}
}

func TestParse(t *testing.T) {
	got := parse([]byte("Linux version 6\r\n@@begin a\r\n=== RUN   TestX\r\n    x_test.go:1: oh\r\n--- FAIL: TestX (0.00s)\r\n" +
		"--- PASS: TestY (1.00s)\r\nFAIL\r\n\r\n@@end a 1\r\n@@begin b\r\nKernel panic\r\n"))
	a, b := got["a"], got["b"]
	if a == nil || len(a.tests) != 2 || a.status != "1" || a.tests[0].verdict != "FAIL" || a.tests[1].name != "TestY" {
		t.Errorf("suite a: %+v", a)
	}
	if !strings.Contains(a.tests[0].output, "x_test.go:1: oh") {
		t.Errorf("the failed test's output is lost: %q", a.tests[0].output)
	}
	if b == nil || b.status != "" || !strings.Contains(b.output.String(), "Kernel panic") {
		t.Errorf("suite b: %+v", b)
	}
}
