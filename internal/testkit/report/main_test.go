package main

import (
	"strings"
	"testing"
)

// TestReport feeds the event streams of whole runs and checks what people read and what is counted.
func TestReport(t *testing.T) {
	tests := []struct {
		name                    string
		events                  string
		wants                   []string
		passed, failed, skipped int
	}{{
		name: "a skip is listed with its reason",
		events: `{"Action":"output","Package":"p","Test":"T","Output":"=== RUN   T\n"}
{"Action":"output","Package":"p","Test":"T","Output":"    a_test.go:7: needs root: run as root\n"}
{"Action":"output","Package":"p","Test":"T","Output":"--- SKIP: T (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"T"}
{"Action":"pass","Package":"p","Elapsed":0.5}`,
		wants:   []string{"ok    p  0.50s", "skipped here:\n  p T: needs root: run as root\n", "0 passed, 0 failed, 1 skipped"},
		skipped: 1,
	}, {
		name: "a failure shows its output, a success does not",
		events: `{"Action":"output","Package":"p","Test":"Bad","Output":"    b_test.go:1: broken\n"}
{"Action":"fail","Package":"p","Test":"Bad"}
{"Action":"output","Package":"p","Test":"Good","Output":"    chatter\n"}
{"Action":"pass","Package":"p","Test":"Good"}
{"Action":"fail","Package":"p"}`,
		wants:  []string{"b_test.go:1: broken", "FAIL  p", "1 passed, 1 failed, 0 skipped"},
		passed: 1, failed: 1,
	}, {
		name: "a package that does not build is a failure",
		events: `{"ImportPath":"p [p.test]","Action":"build-output","Output":"./x.go:1: syntax error\n"}
{"ImportPath":"p [p.test]","Action":"build-fail"}
{"Action":"fail","Package":"p"}`,
		wants:  []string{"syntax error", "FAIL  p", "0 passed, 1 failed, 0 skipped"},
		failed: 1,
	}, {
		name: "a panic in the middle of a test shows what the test said",
		events: `{"Action":"output","Package":"p","Test":"T","Output":"panic: oh\n"}
{"Action":"fail","Package":"p"}`,
		wants:  []string{"panic: oh", "0 passed, 1 failed, 0 skipped"},
		failed: 1,
	}, {
		name:   "lines of the go command itself are shown",
		events: "go: no such tool\n",
		wants:  []string{"go: no such tool", "0 passed, 0 failed, 0 skipped"},
	}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out strings.Builder
			r := newReport(&out)
			if err := r.read(strings.NewReader(test.events)); err != nil {
				t.Fatal(err)
			}
			r.close()
			for _, want := range test.wants {
				if !strings.Contains(out.String(), want) {
					t.Errorf("want %q in:\n%s", want, out.String())
				}
			}
			if strings.Contains(out.String(), "chatter") {
				t.Errorf("a passed test's output is shown:\n%s", out.String())
			}
			if r.passed != test.passed || r.failed != test.failed || r.skipped != test.skipped {
				t.Errorf("counted %d/%d/%d, want %d/%d/%d", r.passed, r.failed, r.skipped, test.passed, test.failed, test.skipped)
			}
		})
	}
}
