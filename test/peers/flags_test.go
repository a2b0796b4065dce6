package peers

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"naru/internal/testkit"
)

// TestEveryWordOfDockersIsKnown reads docker's own help: each of its verbs and flags is naru's too, or is refused by
// name with what to do instead, and then docs/docker.md tells.
func TestEveryWordOfDockersIsKnown(t *testing.T) {
	docker := func(args ...string) string {
		return says(exec.Command(filepath.Join(testkit.Debian(t, "docker/usr/bin"), "docker"), args...))
	}
	naru := func(args ...string) string { return says(exec.Command(testkit.Binary(t), args...)) }
	table, err := os.ReadFile("../../docs/docker.md")
	must(t, err)
	told := func(words string) {
		t.Helper()
		if !strings.Contains(string(table), "`"+words+"`") {
			t.Errorf("docs/docker.md does not tell of `%s`", words)
		}
	}
	for _, noun := range []string{"container", "network", "volume", "image", "system"} {
		ours := verbs(naru(noun, "--help"))
		for verb := range verbs(docker(noun, "--help")) {
			if !ours[verb] {
				if said := naru(noun, verb); !strings.Contains(said, "naru has no "+noun+" "+verb+": ") {
					t.Errorf("naru %s %s says %q", noun, verb, said)
				}
				told(noun + " " + verb)
				continue
			}
			mine := naru(noun, verb, "--help")
			for _, flag := range flags(docker(noun, verb, "--help")) {
				if hasFlag(mine, flag) {
					continue
				}
				for _, f := range flag {
					if said := naru(noun, verb, f); !strings.Contains(said, "naru has no "+f+": ") {
						t.Errorf("naru %s %s %s says %q", noun, verb, f, said)
					}
				}
				told(flag[len(flag)-1])
			}
		}
	}
}

// says is what a command prints, whatever its exit status is: a wrong line's message is what is looked for.
func says(cmd *exec.Cmd) string {
	out, _ := cmd.CombinedOutput()
	return string(out)
}

var (
	verbLine = regexp.MustCompile(`(?m)^  ([a-z]+)  +[A-Z]`)
	flagLine = regexp.MustCompile(`(?m)^  +(?:(-\w), )?(--[\w-]+)`)
)

func verbs(help string) map[string]bool {
	found := map[string]bool{}
	for _, m := range verbLine.FindAllStringSubmatch(help, -1) {
		found[m[1]] = true
	}
	return found
}

// flags are each one's forms, the long one last.
func flags(help string) [][]string {
	var found [][]string
	for _, m := range flagLine.FindAllStringSubmatch(help, -1) {
		switch {
		case m[1] != "":
			found = append(found, m[1:])
		default:
			found = append(found, m[2:])
		}
	}
	return found
}

// hasFlag reports whether a help text has a flag in all its forms.
func hasFlag(help string, forms []string) bool {
	for _, mine := range flags(help) {
		if strings.Join(mine, " ") == strings.Join(forms, " ") {
			return true
		}
	}
	return false
}
