package source

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestSplitWords(t *testing.T) {
	for line, want := range map[string][]string{
		`a b  c`:             {"a", "b", "c"},
		`a 'b c' "d e" f\ g`: {"a", "b c", "d e", "f g"},
		`a"b"'c'\d`:          {"abcd"},
		`a '' ""`:            {"a", "", ""},
		`a "\"\\\x\$"`:       {"a", `"\\x$`},
		`a '\'`:              {"a", `\`},
		`a "open`:            nil,
		`a \`:                nil,
		``:                   nil,
		`'' a`:               nil,
	} {
		if got, err := splitWords(line); !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("splitWords(%s) = %q, %v, want %q", line, got, err, want)
		}
	}
}

func TestNeedsShell(t *testing.T) {
	for line, want := range map[string]bool{
		`serve --port 80 a{b}c x~ a#b a=b`: false,
		`serve '$PORT' "a|b" \$x`:          false,
		`serve $PORT`:                      true,
		`serve "$PORT"`:                    true,
		"serve `id`":                       true,
		`a && b`:                           true,
		`a | b`:                            true,
		`a *.txt`:                          true,
		`a ~/x`:                            true,
		`a # comment`:                      true,
		`A=b c`:                            true,
	} {
		if got := needsShell(line); got != want {
			t.Errorf("needsShell(%s) = %t", line, got)
		}
	}
}

// FuzzSplitWords holds the splitting against a real shell, for lines that are said not to need one.
func FuzzSplitWords(f *testing.F) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		f.Skip("no shell here")
	}
	f.Add(`a 'b c' "d e" f\ g`)
	f.Add(`a "\"\\\x\$" ''`)
	f.Fuzz(func(t *testing.T, line string) {
		words, err := splitWords(line)
		if err != nil || needsShell(line) || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
			return
		}
		out, err := exec.CommandContext(t.Context(), sh, "-c", "printf '%s\\n' "+line).Output()
		if got := strings.Join(words, "\n") + "\n"; err != nil || got != string(out) {
			t.Errorf("%q: words %q, the shell's %q, %v", line, got, out, err)
		}
	})
}
