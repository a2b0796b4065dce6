package command_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"naru/internal/testkit"
	"naru/ociruntime/command"
)

// flagLine is how runc's help has a flag.
var flagLine = regexp.MustCompile(`(?m)^   --([a-z0-9-]+)(?: value)?(?:, -([a-z])(?: value)?)?  `)

// TestRuncsFlags reads Debian's runc's help: each of its verbs is one of ours, and each flag, with its letter, is taken or
// refused by its name. What naru does not have at all says so, whatever its flags.
func TestRuncsFlags(t *testing.T) {
	runc := filepath.Join(testkit.DebianDir(), "docker/usr/sbin/runc")
	if _, err := os.Stat(runc); err != nil {
		t.Skip("needs Debian's runc: run make deps:", err)
	}
	ours := command.New(command.Options{})
	check := func(cmd *cobra.Command, args ...string) {
		help, err := exec.CommandContext(t.Context(), runc, append(args, "--help")...).Output()
		flags := flagLine.FindAllStringSubmatch(string(help), -1)
		if err != nil {
			t.Fatalf("runc %v --help: %v", args, err)
		}
		if lines := strings.Count(string(help), "\n   -"); lines != len(flags) {
			t.Errorf("runc %v --help has %d flags, and the test reads %d", args, lines, len(flags))
		}
		for _, f := range flags {
			known := cmd.Flag(f[1])
			if f[1] == "help" || f[1] == "version" {
				continue // cobra's own
			}
			if known == nil || known.Shorthand != f[2] {
				t.Errorf("runc %s --%s, -%s: ours is %v", strings.Join(args, " "), f[1], f[2], shown(known))
			}
		}
	}
	check(ours)
	for verb := range strings.FieldsSeq("create delete events exec features kill list pause ps resume run spec start state update") {
		cmd, _, err := ours.Find([]string{verb})
		if err != nil {
			t.Errorf("%s: %v", verb, err)
			continue
		}
		check(cmd, verb)
	}
	for _, args := range [][]string{{"checkpoint", "--image-path", "x", "box"}, {"restore", "-d", "box"}} {
		if said, err := run(t, args...); err == nil || !strings.Contains(said, args[0]+" is not supported: naru has no CRIU") {
			t.Errorf("%v: %v, %q", args, err, said)
		}
	}
	for _, flag := range []string{"--l3-cache-schema", "--mem-bw-schema"} {
		if said, err := run(t, "update", flag, "x", "box"); err == nil || !strings.Contains(said, flag+" is not supported: Intel RDT") {
			t.Errorf("update %s: %v, %q", flag, err, said)
		}
	}
	for _, args := range [][]string{{"list", "--format", "yaml"}, {"ps", "--format", "yaml", "box"}} {
		if said, err := run(t, args...); err == nil || !strings.Contains(said, "want table or json") {
			t.Errorf("%v: %v, %q", args, err, said)
		}
	}
}

func shown(f *pflag.Flag) string {
	if f == nil {
		return "none"
	}
	return "-" + f.Shorthand
}
