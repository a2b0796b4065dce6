package conformance

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
)

const head = `# Conformance

The validation programs of opencontainers/runtime-tools, each run with Debian's runc and with naru on the same machine by
` + "`make test-conformance`" + `, which fails when naru fails what runc passes. This table is written by
` + "`go -C test/conformance test -update`" + ` as root.

A cell counts the assertions that hold, then those that do not; a program that gave up counts as one that does not. The
programs are older than runtime-spec 1.1 and partly wrong about it: what does not hold is told below. Where a machine lacks
CAP_SYS_RESOURCE, runc gives up a container that asks for it; naru leaves it out with a warning, as the specification
wants, and the program misses it.

| program | runc | naru | why they differ |
|---|---|---|---|
`

// write writes docs/conformance.md.
func write(t *testing.T, programs []string, results map[string][2]outcome) {
	t.Helper()
	var b, failed strings.Builder
	b.WriteString(head)
	for _, name := range programs {
		runc, naru := results[name][0], results[name][1]
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", name, runc, naru, differences()[name])
		for _, what := range slices.Sorted(maps.Keys(naru.failed)) {
			who := "both"
			if _, too := runc.failed[what]; !too {
				who = "naru"
			}
			fmt.Fprintf(&failed, "- %s, %s: %s\n", name, who, what)
		}
	}
	b.WriteString("\n## What does not hold\n\n" + failed.String())
	must(t, os.WriteFile("../../docs/conformance.md", []byte(b.String()), 0o644))
}

func sum(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

func (o outcome) String() string {
	if len(o.failed) == 0 {
		return fmt.Sprint(sum(o.passed))
	}
	return fmt.Sprintf("%d, not %d", sum(o.passed), sum(o.failed))
}
