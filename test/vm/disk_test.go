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
	pkg    string   // folder in the tree
	run    string   // as go test's -run; empty: all
	builds []string // packages that its tests build: the guest has no Go, so that it is done before
	policy string   // a file of its testdata, in SELinux's CIL, that is compiled; empty: none
}

// name is the package's folder without slashes.
func (s suite) name() string { return strings.ReplaceAll(s.pkg, "/", "-") }

//go:embed init.sh
var initScript []byte

//go:embed machine.sh
var machineScript []byte

//go:embed go.sh
var goScript []byte

const treeRoot = "../.."

// buildDisk makes a file system that boots and runs the suites, each in a folder of its own with its testdata.
func buildDisk(t *testing.T, path string, k kernel, suites []suite) {
	t.Helper()
	root := buildRoot(t, k, initScript)
	var script strings.Builder
	for _, s := range suites {
		s.install(t, root)
		fmt.Fprintf(&script, "suite %s '%s'\n", s.name(), s.run)
	}
	writeFile(t, filepath.Join(root, "suites"), 0o644, []byte(script.String()))
	writeFile(t, filepath.Join(root, "bin", "go"), 0o755, goScript)
	seal(t, root, path, "^has_journal") // nobody boots it again
}

// buildRoot makes the files of a machine: busybox, the kernel's modules, the program naru if there is one, and process 1.
func buildRoot(t *testing.T, k kernel, init []byte) string {
	t.Helper()
	root := t.TempDir()
	run(t, bytes.NewReader(testkit.BusyboxRootfs(t)), "tar", "-x", "-C", root)
	k.installModules(t, root)
	for _, name := range programs {
		copyProgram(t, root, name)
	}
	copyProgram(t, root, filepath.Join(testkit.DebianDir(), "labels/sbin/apparmor_parser"))
	for _, path := range []string{"/etc/protocols", "/etc/services"} { // nft names protocols by them
		if _, err := os.Stat(path); err == nil {
			copyFile(t, path, filepath.Join(root, path))
		}
	}
	if naru := os.Getenv("NARU_BIN"); naru != "" {
		copyFile(t, naru, filepath.Join(root, "bin", "naru"))
		copyFile(t, filepath.Join(filepath.Dir(naru), "naru-oci"), filepath.Join(root, "bin", "naru-oci"))
	}
	writeFile(t, filepath.Join(root, "machine"), 0o644, machineScript)
	writeFile(t, filepath.Join(root, "init"), 0o755, init)
	return root
}

// seal makes an ext4 file system of the files.
func seal(t *testing.T, root, path, features string) {
	t.Helper()
	run(t, nil, "mke2fs", "-q", "-t", "ext4", "-O", features, "-d", root, path, "4G")
}

// install puts the suite's test program, its testdata and what it builds on the disk.
func (s suite) install(t *testing.T, root string) {
	t.Helper()
	dir := filepath.Join(root, "suite", s.name())
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.compile(t, "test", "-c", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, "test"), ".")
	for _, pkg := range s.builds {
		s.compile(t, "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(root, "prebuilt", filepath.Base(pkg)), pkg)
	}
	testdata := filepath.Join(treeRoot, s.pkg, "testdata")
	if _, err := os.Stat(testdata); err == nil {
		run(t, nil, "cp", "-r", testdata, dir)
	}
	if s.policy != "" {
		s.compilePolicy(t, filepath.Join(dir, "testdata"))
	}
}

// compilePolicy makes NAME.policy of NAME.cil, with the compiler that make deps unpacked.
func (s suite) compilePolicy(t *testing.T, testdata string) {
	t.Helper()
	labels := filepath.Join(testkit.DebianDir(), "labels")
	out := filepath.Join(testdata, strings.TrimSuffix(s.policy, ".cil")+".policy")
	run(t, nil, "env", "LD_LIBRARY_PATH="+filepath.Join(labels, "lib/x86_64-linux-gnu"), filepath.Join(labels, "usr/bin/secilc"),
		"--filecontext=/dev/null", "--output="+out, filepath.Join(testdata, s.policy))
}

// compile runs the go command in the suite's folder.
func (s suite) compile(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = filepath.Join(treeRoot, s.pkg), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("in %s: go %s: %v\n%s", s.pkg, strings.Join(args, " "), err, out)
	}
}

// copyProgram copies a program of this machine, by its name or its path, and the libraries that it is linked to, to where
// they are here.
func copyProgram(t *testing.T, root, name string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Logf("the guest will have no %s: run make deps", name)
		return
	}
	copyFile(t, path, filepath.Join(root, "bin", filepath.Base(name)))
	out, err := exec.Command("ldd", path).Output()
	if err != nil {
		return // static
	}
	for _, word := range strings.Fields(string(out)) {
		if filepath.IsAbs(word) {
			copyFile(t, word, filepath.Join(root, word))
		}
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

// copyFile makes a file that everybody may execute; one that is setuid stays so.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	body, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, 0o755, body)
	info, err := os.Stat(from)
	if err == nil && info.Mode()&os.ModeSetuid != 0 {
		err = os.Chmod(to, 0o755|os.ModeSetuid)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, path string, mode os.FileMode, body []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(path); err != nil { // one of busybox's links: not to be followed
		t.Fatal(err)
	}
	if err := os.WriteFile(path, body, mode); err != nil {
		t.Fatal(err)
	}
}
