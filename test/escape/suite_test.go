package escape

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"naru/internal/testkit"
)

// image is the local image that all attacks run from: busybox and the attacker.
const image = "attacker:escape"

// suite is what the attacks share: a daemon, the attacker's program, a file of the host to get at, and the table.
type suite struct {
	d        *testkit.Daemon
	dir      string // a folder of the host that everybody may enter
	attacker string
	flag     string // a file in it that everybody may read
	rootfs   []byte // of the image
	bundle   string // the same for OCI runtimes: a folder with rootfs and config.json
	runs     int    // of the bundle
	runc     *runc  // nil where there is none
	table    *table
}

// TestNothingEscapes runs every attack. It is one test, so that all share a daemon: what a container may do to the next
// one's start is part of it.
func TestNothingEscapes(t *testing.T) {
	testkit.RequireRoot(t)
	s := newSuite(t, testkit.NewDaemon(t))
	for _, part := range []struct {
		name string
		run  func(*testing.T, *suite)
	}{
		{"attacks", attacks}, {"defences", eachDefence}, {"lines", eachLine}, {"exec", attacksByExec}, {"entry", attacksOnEntry}, {"symlinks", attacksBySymlinks},
		{"network", attacksByNetwork}, {"neighbours", attacksOnNeighbours}, {"bombs", bombs}, {"volumes", attacksThroughVolumes},
	} {
		t.Run(part.name, func(t *testing.T) { part.run(t, s) })
	}
	if !t.Failed() {
		s.table.check(t)
	}
}

func newSuite(t *testing.T, d *testkit.Daemon) *suite {
	t.Helper()
	dir, err := os.MkdirTemp("", "escape")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o755))
	s := &suite{dir: dir, attacker: filepath.Join(dir, "attacker"), flag: filepath.Join(dir, "flag"), table: newTable()}
	must(t, os.WriteFile(s.flag, []byte("the host's"), 0o644))
	build := exec.Command("go", "build", "-trimpath", "-o", s.attacker, "./attacker")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the attacker: %v\n%s", err, out)
	}
	s.rootfs = s.makeRootfs(t, nil)
	s.makeBundle(t)
	s.runc = newRunc(t, s)
	s.d = d
	d.Start()
	must(t, os.Chmod(filepath.Dir(s.d.Data), 0o755)) // as /var/lib is: the daemon's folders have to hold by themselves
	s.importImage(t, image, s.rootfs)
	return s
}

// makeRootfs is busybox with the attacker, plain and setuid, and links where they say.
func (s *suite) makeRootfs(t *testing.T, links map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w, r := tar.NewWriter(&out), tar.NewReader(bytes.NewReader(testkit.BusyboxRootfs(t)))
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		if _, replaced := links[strings.TrimSuffix(header.Name, "/")]; replaced {
			continue
		}
		must(t, w.WriteHeader(header))
		_, err = io.Copy(w, r)
		must(t, err)
	}
	body, err := os.ReadFile(s.attacker)
	must(t, err)
	for name, mode := range map[string]int64{"attacker": 0o755, "suid-attacker": 0o4755} {
		must(t, w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(body))}))
		_, err = w.Write(body)
		must(t, err)
	}
	for name, target := range links {
		must(t, w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}))
	}
	must(t, w.Close())
	return out.Bytes()
}

func (s *suite) importImage(t *testing.T, name string, rootfs []byte) {
	t.Helper()
	file := filepath.Join(s.dir, "image.tar")
	must(t, os.WriteFile(file, rootfs, 0o600))
	if r := s.d.Naru("image", "import", file, name); r.Code != 0 {
		t.Fatal(r)
	}
	must(t, os.Remove(file))
}

// makeBundle unpacks the rootfs for runtimes that take a folder.
func (s *suite) makeBundle(t *testing.T) {
	t.Helper()
	s.bundle = filepath.Join(s.dir, "bundle")
	must(t, os.MkdirAll(filepath.Join(s.bundle, "rootfs"), 0o755))
	untar := exec.Command("tar", "-x", "-p", "-C", filepath.Join(s.bundle, "rootfs"))
	untar.Stdin = bytes.NewReader(s.rootfs)
	if out, err := untar.CombinedOutput(); err != nil {
		t.Fatalf("unpack the rootfs: %v\n%s", err, out)
	}
}

// outcome is how one attack ended, in one column.
type outcome struct {
	verdict string // held, escaped, untried; or "" when the attacker did not get to say
	seen    string
}

// parse finds the attacker's verdict, which has to agree with its exit status.
func parse(output string, code int) outcome {
	codes := map[string]int{"held": 10, "escaped": 11, "untried": 12}
	for line := range strings.Lines(output) {
		verdict, seen, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if want, known := codes[verdict]; ok && known && want == code {
			return outcome{verdict, seen}
		}
	}
	return outcome{seen: fmt.Sprintf("exit status %d: %s", code, strings.TrimSpace(output))}
}

// parseLog reads what an attacker in the background printed, whose exit status is nobody's to see.
func parseLog(log string) outcome {
	lines := strings.Split(strings.TrimSpace(log), "\n")
	verdict, seen, _ := strings.Cut(lines[len(lines)-1], ": ")
	return outcome{verdict, seen}
}

// inNaru runs the attack in a container of naru's; flags stand before the image.
func (s *suite) inNaru(flags []string, args ...string) outcome {
	return s.inImage(image, flags, args...)
}

func (s *suite) inImage(image string, flags []string, args ...string) outcome {
	words := append([]string{"container", "run", "--rm"}, flags...)
	r := s.d.Naru(append(append(words, image, "/attacker"), args...)...)
	return parse(r.Stdout+r.Stderr, r.Code)
}

// onHost runs the attack as root of the host, with nothing to hold it but a mount namespace, so that what it mounts
// goes with it. files become its descriptors from 3 on.
func (s *suite) onHost(t *testing.T, files []*os.File, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.attacker, args...)
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Setpgid: true}
	out, _ := cmd.CombinedOutput() // how it ended is in its exit status
	return parse(string(out), cmd.ProcessState.ExitCode())
}

// background starts a container that runs on, and returns its name; it is removed with the test.
func (s *suite) background(t *testing.T, name string, flags []string, args ...string) testkit.Container {
	t.Helper()
	words := append([]string{"container", "run", "-d", "--name", name}, flags...)
	if r := s.d.Naru(append(append(words, image, "/attacker"), args...)...); r.Code != 0 {
		t.Fatal(r)
	}
	t.Cleanup(func() { s.d.Naru("container", "rm", "--force", name) })
	for _, c := range s.d.Containers() {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("container %s is not listed", name)
	return testkit.Container{}
}

// says waits until the container's log has the word.
func (s *suite) says(t *testing.T, name, word string) string {
	t.Helper()
	var log string
	testkit.Eventually(t, 15*time.Second, name+" says "+word, func() error {
		log = s.d.Naru("container", "logs", name).Stdout
		if !strings.Contains(log, word) {
			return fmt.Errorf("it says %q", log)
		}
		return nil
	})
	return log
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
