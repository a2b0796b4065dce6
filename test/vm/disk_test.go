package vm

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"naru/internal/testkit"
)

// suite is the tests of one package to run in the guest.
type suite struct {
	pkg string   // folder in the tree
	run string   // as go test's -run; empty: all
	env []string // more environment
}

// name is the package's folder without slashes.
func (s suite) name() string { return strings.ReplaceAll(s.pkg, "/", "-") }

//go:embed init.sh
var initScript []byte

const treeRoot = "../.."

// buildDisk makes an ext4 file system that boots: busybox, the kernel's modules, the program naru if there is one, and
// the suites' test programs, each in a folder of its own with its testdata.
func buildDisk(t *testing.T, path string, k kernel, suites []suite) {
	t.Helper()
	root := t.TempDir()
	run(t, bytes.NewReader(testkit.BusyboxRootfs(t)), "tar", "-x", "-C", root)
	k.installModules(t, root)
	if naru := os.Getenv("NARU_BIN"); naru != "" {
		copyFile(t, naru, filepath.Join(root, "bin", "naru"))
	}
	var script strings.Builder
	for _, s := range suites {
		compile(t, root, s)
		fmt.Fprintf(&script, "suite %s '%s' %s\n", s.name(), s.run, strings.Join(s.env, " "))
	}
	writeFile(t, filepath.Join(root, "suites"), 0o644, []byte(script.String()))
	writeFile(t, filepath.Join(root, "init"), 0o755, initScript)
	run(t, nil, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", root, path, "4G")
}

func compile(t *testing.T, root string, s suite) {
	t.Helper()
	dir := filepath.Join(root, "suite", s.name())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "test", "-c", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, "test"), "./"+s.pkg)
	cmd.Dir, cmd.Env = treeRoot, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compile the tests of %s: %v\n%s", s.pkg, err, out)
	}
	testdata := filepath.Join(treeRoot, s.pkg, "testdata")
	if _, err := os.Stat(testdata); err == nil {
		run(t, nil, "cp", "-r", testdata, dir)
	}
}

func run(t *testing.T, stdin *bytes.Reader, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	if stdin != nil {
		cmd.Stdin = stdin
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	body, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, 0o755, body)
}

func writeFile(t *testing.T, path string, mode os.FileMode, body []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, body, mode); err != nil {
		t.Fatal(err)
	}
}
