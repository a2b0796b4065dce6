package source

import (
	"errors"
	"strings"
)

// splitWords splits a line into words as a POSIX shell would, with its three ways to quote and nothing else: what else
// a shell does, needsShell finds.
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord, quote := false, byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && quote != '\'':
			if i++; i == len(line) {
				return nil, errors.New("the line ends in a backslash")
			}
			if quote == '"' && !strings.ContainsRune("\"\\$`", rune(line[i])) {
				word.WriteByte('\\') // within double quotes it escapes only these
			}
			word.WriteByte(line[i])
			inWord = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote, inWord = c, true
		case quote == 0 && isBlank(c):
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if inWord {
		words = append(words, word.String())
	}
	if len(words) == 0 || words[0] == "" {
		return nil, errors.New("the line has no program")
	}
	return words, nil
}

// needsShell reports whether a line asks a shell for more than words: a variable, a pipe, a pattern, an assignment in
// front, a comment.
func needsShell(line string) bool {
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && quote != '\'':
			i++
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote != '\'' && (c == '$' || c == '`'):
			return true
		case quote == 0 && strings.IndexByte("|&;<>()*?[~#!{", c) >= 0 && special(line, i):
			return true
		}
	}
	program, _, _ := strings.Cut(line, " ")
	return strings.Contains(program, "=")
}

// special reports whether the sign at i means something to a shell where it stands: "~", "#", "!" and "{" do at the
// beginning of a word only.
func special(line string, i int) bool {
	if strings.IndexByte("~#!{", line[i]) < 0 {
		return true
	}
	return i == 0 || isBlank(line[i-1])
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
