package ociruntime_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// must is a line of testdata/musts.txt: which test, or which reason, goes with which sentences of the specification.
type must struct {
	file, who string
	sentence  *regexp.Regexp
	used      bool
}

// TestEveryMustHasATest reads the specification as its module ships it: each line of it that says MUST is in
// testdata/musts.txt with a test that is there, or with the reason why there is none.
func TestEveryMustHasATest(t *testing.T) {
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/opencontainers/runtime-spec").Output()
	if err != nil {
		t.Skip("needs the module of the runtime-spec:", err)
	}
	musts, tests := readMusts(t), readTests(t)
	for _, file := range []string{"runtime.md", "config.md", "config-linux.md"} {
		text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), file))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSuffix(line, "\n"); strings.Contains(line, "MUST") && !named(musts, file, line) {
				t.Errorf("%s: no test names: %s", file, line)
			}
		}
	}
	for _, m := range musts {
		if !m.used {
			t.Errorf("musts.txt: %s says nothing like %s", m.file, m.sentence)
		}
		if reason := strings.HasPrefix(m.who, "no: "); !reason && !strings.Contains(tests, "func "+m.who+"(") {
			t.Errorf("musts.txt: there is no test %s", m.who)
		}
	}
}

func named(musts []*must, file, line string) (found bool) {
	for _, m := range musts {
		if m.file == file && m.sentence.MatchString(line) {
			m.used, found = true, true
		}
	}
	return found
}

func readMusts(t *testing.T) (musts []*must) {
	t.Helper()
	f, err := os.Open("testdata/musts.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") || lines.Text() == "" {
			continue
		}
		fields := strings.SplitN(lines.Text(), " | ", 3)
		if len(fields) != 3 {
			t.Fatalf("musts.txt: %q", lines.Text())
		}
		musts = append(musts, &must{file: fields[0], who: fields[1], sentence: regexp.MustCompile(fields[2])})
	}
	return musts
}

// readTests are the tests of this package, of its command line, and of the sandbox, as text.
func readTests(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range []string{"*_test.go", "command/*_test.go", "../engine/sandbox/*_test.go", "../engine/sandbox/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(b)
		}
	}
	return all.String()
}
