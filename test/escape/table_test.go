package escape

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/isolation.md")

// The columns of the table.
const (
	naru     = "naru"
	hostUser = "naru --userns host"
	docker   = "runc as Docker"
	bare     = "defence removed"
)

// table collects what came out.
type table struct {
	names   []string
	cells   map[string]map[string]string
	removed map[string]string // how the defence was removed
	parts   [][2]string       // each part of the sandbox, and what comes of leaving it out alone
	lines   [][3]string       // each attack that a line of code holds, that line, and the parts that hold it too
}

func newTable() *table {
	return &table{cells: map[string]map[string]string{}, removed: map[string]string{}}
}

// note writes down one outcome, and fails the test when naru, as it is by default, did not hold.
func (tb *table) note(t *testing.T, name, column string, o outcome) {
	t.Helper()
	if tb.cells[name] == nil {
		tb.names = append(tb.names, name)
		tb.cells[name] = map[string]string{}
	}
	t.Logf("%s, %s: %s: %s", name, column, o.verdict, o.seen)
	if tb.cells[name][column] != "escaped" { // of several tries the worst counts
		tb.cells[name][column] = o.verdict
	}
	switch {
	case o.verdict == "":
		t.Errorf("%s, %s: the attacker could not say how it ended: %s", name, column, o.seen)
	case column == naru && o.verdict == "escaped":
		t.Errorf("%s: ESCAPED: %s", name, o.seen)
	}
}

// red writes down that the attack succeeds once the defence is removed; one that does not shows nothing.
func (tb *table) red(t *testing.T, name, how string, o outcome) {
	t.Helper()
	tb.note(t, name, bare, o)
	tb.removed[name] = how
	if o.verdict == "held" {
		t.Errorf("%s: without its defence (%s) the attack fails too, so that it shows nothing: %s", name, how, o.seen)
	}
}

const head = `# Isolation

What a hostile image tries, and what comes of it. The attacks are those of ` + "`test/escape`" + `; each runs in a container
that the real naru started with its defaults, and the test fails when one succeeds. This table is written by
` + "`go test ./test/escape -update`" + ` as root.

- **held**: the attack got nothing. **escaped**: it got what it wanted, or the kernel let the call through that it starts
  with. **untried**: the machine that wrote this table lacks what the attack needs.
- *naru --userns host* is naru without its user namespace, which has to be asked for.
- *runc as Docker* is Debian's runc with the configuration that dockerd gives it: no user namespace, no
  no_new_privs, the same seccomp policy. Only attacks that need nothing but a container run there.
- *defence removed* shows that the test can go red: the same attack once more, without what the last column says. Where
  that names parts of a spec, the same sandbox was asked by ` + "`naru oci run`" + ` to leave just these out, and with less
  left out the attack still failed: two names mean that two defences stand one behind the other. Where both columns are
  empty, it was not shown: the machine lacks what the attack needs, or nothing of naru can be left out without changing
  its code; see "Defences in the code" for three.

| attack | naru | naru --userns host | runc as Docker | defence removed | how |
|---|---|---|---|---|---|
`

const each = `
## Each defence alone

The same container once more for every part of its configuration, with this part alone left out, and an attacker who
looks around: it must find the one thing that is open, and nothing else. In a container of naru's it finds nothing.

| left out | what it finds |
|---|---|
`

const lines = `
## Defences in the code

Some defences are no part of a configuration. For these the test builds naru's OCI runtime once more without the line
that does it. Another defence stands behind each, so that the attack fails without either and succeeds without both; the
test fails when it is otherwise.

| attack | held by | and by |
|---|---|---|
`

const tail = `
## What naru does not hold back

- Without ` + "`--storage-opt size=…`" + `, and ` + "`size`" + ` for its volumes, a container can fill the filesystem that the data folder is on, as
  under Docker. With them it can neither exceed nor lift its limit: ` + "`make test-vm`" + ` tries, on ext4 and xfs. What it keeps in
  memory (tmpfs, /dev/shm) counts against ` + "`-m`" + `.
- Without ` + "`--pids-limit`, `-m` and `--cpus`" + ` a container may use what the machine has, as under Docker.
- A service of the host that listens on every address can be reached by a container through its gateway's address, as
  under Docker; one that listens on 127.0.0.1 cannot.
- ` + "`-v /folder:/target`" + ` gives the container's root the rights of root in that folder: the mount is id-mapped.
- The kernel is shared: a hole in a system call that the seccomp policy allows is a hole.
`

// check compares docs/isolation.md with what came out, or writes it.
func (tb *table) check(t *testing.T) {
	if !*update {
		return
	}
	var b strings.Builder
	b.WriteString(head)
	for _, name := range tb.names {
		c := tb.cells[name]
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", name, c[naru], c[hostUser], c[docker], c[bare], tb.removed[name])
	}
	b.WriteString(each)
	for _, p := range tb.parts {
		fmt.Fprintf(&b, "| %s | %s |\n", p[0], strings.Replace(p[1], "escaped", "just that", 1))
	}
	b.WriteString(lines)
	for _, l := range tb.lines {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", l[0], l[1], l[2])
	}
	b.WriteString(tail)
	must(t, os.MkdirAll("../../docs", 0o755))
	must(t, os.WriteFile("../../docs/isolation.md", []byte(b.String()), 0o644))
}
