package conformance

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write docs/conformance.md")

const tools = "github.com/opencontainers/runtime-tools"

// TestPassesWhatRuncPasses fails for every assertion that runc passes and naru does not, unless differences says why.
func TestPassesWhatRuncPasses(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes containers")
	}
	naru := filepath.Join(filepath.Dir(os.Getenv("NARU_BIN")), "naru-oci")
	if _, err := os.Stat(naru); err != nil {
		t.Skip("needs naru-oci: run make test-conformance")
	}
	dir := t.TempDir()
	programs := build(t, dir)
	lab := newLab(t, dir)
	results := map[string][2]outcome{}
	var mu sync.Mutex
	t.Run("programs", func(t *testing.T) {
		for _, name := range programs {
			t.Run(name, func(t *testing.T) {
				if !strings.Contains(name, "cgroups") { // those all use the same ones
					t.Parallel()
				}
				both := [2]outcome{lab.run(t, name, runc(t)), lab.run(t, name, naru)}
				for again := 2; again > 0 && racing()[name] != "" && len(missed(both)) > 0; again-- {
					both[1] = lab.run(t, name, naru)
				}
				compare(t, name, both)
				mu.Lock()
				defer mu.Unlock()
				results[name] = both
			})
		}
	})
	for name := range differences() {
		if !slices.Contains(programs, name) {
			t.Errorf("there is no program %s to differ in", name)
		}
	}
	if *update && !t.Failed() {
		write(t, programs, results)
	}
}

// build compiles every validation program, and the one that looks around inside of containers.
func build(t *testing.T, dir string) (programs []string) {
	t.Helper()
	mains, err := filepath.Glob(filepath.Join(moduleDir(t), "validation", "[a-z]*"))
	must(t, err)
	packages := []string{tools + "/cmd/runtimetest"}
	for _, path := range mains {
		if name := filepath.Base(path); name != "util" {
			programs = append(programs, name)
			packages = append(packages, tools+"/validation/"+name)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"build", "-ldflags=-s -w", "-o", dir + "/"}, packages...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the programs: %v: %s", err, out)
	}
	return programs
}

// moduleDir is where the module's files are. On a fresh machine they have to be fetched first.
func moduleDir(t *testing.T) string {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "go", "mod", "download", tools).CombinedOutput(); err != nil {
		t.Fatalf("fetch the programs: %v: %s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", tools).Output()
	must(t, err)
	return strings.TrimSpace(string(out))
}

// runc is Debian's, as test/deps.sh unpacks it.
func runc(t *testing.T) string {
	t.Helper()
	deps := os.Getenv("NARU_DEPS")
	if deps == "" {
		cache, err := os.UserCacheDir()
		must(t, err)
		deps = filepath.Join(cache, "naru-deps")
	}
	path := filepath.Join(deps, "docker/usr/sbin/runc")
	if _, err := os.Stat(path); err != nil {
		t.Skip("needs Debian's runc: run make deps")
	}
	return path
}

// lab is where the programs run: they look for the others in their working directory.
type lab struct{ dir string }

func newLab(t *testing.T, dir string) lab {
	t.Helper()
	rootfs, err := filepath.Glob(filepath.Join(moduleDir(t), "rootfs-*.tar.gz"))
	must(t, err)
	for _, file := range rootfs {
		must(t, os.Symlink(file, filepath.Join(dir, filepath.Base(file))))
	}
	return lab{dir}
}

// outcome is what a program said of a runtime.
type outcome struct {
	passed map[string]int // assertion to how often it held
	failed map[string]int
}

var assertion = regexp.MustCompile(`(?m)^(not )?ok \d+ - (.*)$`)

// run runs a program with a runtime, and removes what it left.
func (l lab) run(t *testing.T, name, runtime string) outcome {
	t.Helper()
	root, err := os.MkdirTemp("", "nc")
	must(t, err)
	defer os.RemoveAll(root)
	wrapper := filepath.Join(root, "runtime")
	must(t, os.WriteFile(wrapper, []byte(fmt.Sprintf("#!/bin/sh\nexec %s --root %s/state \"$@\"\n", runtime, root)), 0o755))
	defer clear(t, wrapper, filepath.Join(root, "state"))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(l.dir, name))
	cmd.Dir = l.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS} // what they mount ends with them
	cmd.Env = append(os.Environ(), "RUNTIME="+wrapper, "TMPDIR="+root)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", name, err)
	}
	t.Logf("%s, %s: %v\n%s", name, filepath.Base(runtime), err, out)
	return parse(string(out), err)
}

// random is what differs from run to run in an assertion's words.
var random = regexp.MustCompile(`[0-9a-f-]{36}|\d{3,}`)

// parse reads TAP. A program that gives up fails as a whole.
func parse(out string, err error) outcome {
	o := outcome{map[string]int{}, map[string]int{}}
	for _, m := range assertion.FindAllStringSubmatch(out, -1) {
		what := random.ReplaceAllString(m[2], "N")
		if m[1] == "" {
			o.passed[what]++
		} else {
			o.failed[what]++
		}
	}
	if err != nil {
		o.failed["the program gives up"]++
	}
	return o
}

// clear deletes the containers that a program forgot, and waits until they are gone.
func clear(t *testing.T, runtime, state string) {
	t.Helper()
	left, _ := os.ReadDir(state) // none was made
	for _, c := range left {
		if out, err := exec.Command(runtime, "delete", "--force", c.Name()).CombinedOutput(); err != nil {
			t.Errorf("delete %s: %v: %s", c.Name(), err, out)
		}
	}
}

// missed are the assertions that hold with runc more often than with naru.
func missed(both [2]outcome) (assertions []string) {
	for _, what := range slices.Sorted(maps.Keys(both[0].passed)) {
		if both[1].passed[what] < both[0].passed[what] {
			assertions = append(assertions, what)
		}
	}
	return assertions
}

func compare(t *testing.T, name string, both [2]outcome) {
	t.Helper()
	for _, what := range missed(both) {
		if differences()[name] == "" {
			t.Errorf("%s: runc passes %d times, naru %d: %s", name, both[0].passed[what], both[1].passed[what], what)
		}
	}
}

// racing are the programs that may fail with any runtime, and are asked again, with the reason.
func racing() map[string]string {
	return map[string]string{
		"killsig": "it sends its signal as soon as the shell runs, which may not have set its trap: process 1 of a namespace does not hear of that signal then (pid_namespaces(7))",
	}
}

// differences are the programs that naru may fail where runc does not, with the reason.
func differences() map[string]string {
	return map[string]string{
		"mounts": "naru opens what is bound before the first mount, and since 6.8 Linux lists mounts by the time they were made: they are mounted in order, and not listed so",
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
