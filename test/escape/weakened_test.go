package escape

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/internal/testkit"
)

// tree is where this module begins.
const tree = "../.."

// entryTimeout bounds how long a container may take to begin.
const entryTimeout = 15 * time.Second

// weakening is a defence that is not a part of any spec but a line of naru's own code, and what stands there without it.
type weakening struct{ file, line, without string }

func weakenings() map[string]weakening {
	return map[string]weakening{
		"the seals": {"engine/sandbox/fork/fork.go",
			"const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE", "const seals = 0"},
		"the session keyring": {"engine/sandbox/plan_process.go", "return []program.Op{{Kind: program.Keyring}}", "return nil"},
		"walking in the root": {"engine/sandbox/bare/path.go",
			"fd, _, err := syscall.RawSyscall6(unix.SYS_OPENAT2, uintptr(m.root), p, uintptr(unsafe.Pointer(&m.how)), unsafe.Sizeof(m.how), 0, 0)",
			`if *(*byte)(unsafe.Pointer(p + 1)) == 0 {
				p = lit("/.\x00")
			}
			fd, _, err := syscall.RawSyscall6(unix.SYS_OPENAT, uintptr(m.root), p+1, uintptr(m.how.Flags), 0, 0, 0)`},
	}
}

// weakened builds naru's OCI runtime, and the init in it, from this tree without some lines. The tree stays as it is.
func (s *suite) weakened(t *testing.T, defences ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp(s.dir, "weakened")
	must(t, err)
	replaced := map[string]string{}
	for i, name := range defences {
		w, known := weakenings()[name]
		if !known {
			t.Fatalf("there is no line of code that is %q", name)
		}
		file, err := filepath.Abs(filepath.Join(tree, w.file))
		must(t, err)
		text, err := os.ReadFile(file)
		must(t, err)
		if n := bytes.Count(text, []byte(w.line)); n != 1 {
			t.Fatalf("%s has %d times %q: where is %s now?", w.file, n, w.line, name)
		}
		replaced[file] = filepath.Join(dir, fmt.Sprint(i, ".go"))
		must(t, os.WriteFile(replaced[file], bytes.Replace(text, []byte(w.line), []byte(w.without), 1), 0o644))
	}
	keeper, err := filepath.Abs(filepath.Join(tree, "engine/keeper/embedded/keeper"))
	must(t, err)
	replaced[keeper] = s.buildOver(t, dir, "naru-keeper", replaced)
	return s.buildOver(t, dir, "naru-oci", replaced)
}

// buildOver builds a program of naru's with other files in the place of some.
func (s *suite) buildOver(t *testing.T, dir, program string, replaced map[string]string) string {
	t.Helper()
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o644))
	out := filepath.Join(dir, program)
	cmd := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-trimpath", "-o", out, "./cmd/"+program)
	cmd.Dir, cmd.Env = tree, append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", program, err, said)
	}
	return out
}

// line is an attack that two defences hold, each by itself: one is in naru's code, the others are parts of the spec.
type line struct {
	attack  string
	defence string   // of weakenings
	others  []string // of defences
	run     func(t *testing.T, runtime string, missing []string) outcome
}

// eachLine leaves out a line of code, then the parts of the spec that stand behind it, then both: only the last lets the
// attack through.
func eachLine(t *testing.T, s *suite) {
	whole := s.weakened(t)
	for _, l := range []line{
		{"overwrite the runtime through /proc/PID/exe (CVE-2019-5736)", "the seals", words("user namespace", "capabilities"),
			func(t *testing.T, runtime string, missing []string) outcome {
				return s.watchEntry(t, runtime, missing, "watch-exe")
			}},
		{"read a key of whoever starts the container", "the session keyring", words("seccomp"), s.readKey},
		{"mount targets that lead to the host (CVE-2021-30465)", "walking in the root", words("user namespace"), s.followTarget},
	} {
		t.Run(l.defence, func(t *testing.T) {
			weakened := s.weakened(t, l.defence)
			for _, c := range []struct {
				what, runtime string
				missing       []string
				want          string
			}{
				{"nothing", whole, nil, "held"}, {l.defence, weakened, nil, "held"}, {strings.Join(l.others, ", "), whole, l.others, "held"},
				{l.defence + " and " + strings.Join(l.others, ", "), weakened, l.others, "escaped"},
			} {
				o := l.run(t, c.runtime, c.missing)
				if t.Logf("without %s: %s: %s", c.what, o.verdict, o.seen); o.verdict != c.want {
					t.Errorf("%s: without %s: %s, want %s: %s", l.attack, c.what, o.verdict, c.want, o.seen)
				}
			}
			s.table.lines = append(s.table.lines, [3]string{l.attack, l.defence, strings.Join(l.others, ", ")})
		})
	}
}

// readKey has the container started by somebody with a key in their session keyring, which the attacker looks for.
func (s *suite) readKey(t *testing.T, runtime string, missing []string) outcome {
	t.Helper()
	key := fmt.Sprintf("naru-escape-session-%d", os.Getpid())
	return s.runSpecBy(t, words(s.attacker, "with-key", key, runtime), s.specWithout(t, missing, words("session-key", key)))
}

// followTarget has a mount on a link of the image that leads to the host, as one that is exchanged during the start would.
func (s *suite) followTarget(t *testing.T, runtime string, missing []string) outcome {
	t.Helper()
	inner := filepath.Join(s.dir, "lead")
	must(t, os.RemoveAll(inner))
	must(t, os.Mkdir(inner, 0o755))
	link := filepath.Join(s.bundle, "rootfs/lead")
	must(t, os.Symlink(inner, link))
	defer func() { must(t, os.Remove(link)) }()
	spec := s.specWithout(t, missing, words("host-file", s.flag))
	spec.Mounts = append(spec.Mounts, specs.Mount{Destination: "/lead/made", Type: "tmpfs", Source: "tmpfs"})
	o := s.runSpecBy(t, words(runtime), spec)
	if made := listOf(t, inner); len(made) > 0 {
		return outcome{"escaped", "made on the host: " + strings.Join(made, " ")}
	}
	return outcome{"held", "nothing was made on the host: " + o.seen}
}

// watchEntry has an attack watch in a container that a runtime enters many times.
func (s *suite) watchEntry(t *testing.T, runtime string, missing []string, watch string) outcome {
	t.Helper()
	must(t, os.RemoveAll(filepath.Join(s.bundle, "rootfs/tmp/stop"))) // the one before was told to
	id := s.writeBundle(t, s.specWithout(t, missing, words(watch, "memfd", "15")))
	root := words("--root", filepath.Join(s.dir, "oci"))
	said := filepath.Join(s.dir, "said")
	out, err := os.Create(said)
	must(t, err)
	defer out.Close()
	cmd := exec.CommandContext(t.Context(), runtime, append(root, "run", "--bundle", s.bundle, id)...)
	cmd.Stdout, cmd.Stderr = out, out
	must(t, cmd.Start())
	testkit.Eventually(t, entryTimeout, "it watches", func() error {
		text, err := os.ReadFile(said)
		if err == nil && !strings.Contains(string(text), "watching") {
			err = fmt.Errorf("it says %q", text)
		}
		return err
	})
	for range 15 {
		_ = exec.CommandContext(t.Context(), runtime, append(root, "exec", id, "/bin/true")...).Run() // it may have ended
	}
	_ = exec.CommandContext(t.Context(), runtime, append(root, "exec", id, "/bin/touch", "/tmp/stop")...).Run()
	_ = cmd.Wait() // how it ended is in its exit status
	text, err := os.ReadFile(said)
	must(t, err)
	return parse(string(text), cmd.ProcessState.ExitCode())
}
