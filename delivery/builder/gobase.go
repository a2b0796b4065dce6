package builder

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"naru/engine/image"
	"naru/naru"
)

// goToolchain is what Go builds start from.
type goToolchain struct {
	image    string            // has /usr/local/go, /etc/ssl/certs/ca-certificates.crt and /tmp
	settings map[string]string // of the host's go command, those of goSettings that are set
}

// goBase finds the toolchain once and remembers it. A failure is not remembered: the user may install Go meanwhile.
type goBase struct {
	mu    sync.Mutex
	found *goToolchain
}

func (g *goBase) get(ctx context.Context, images *image.Store, w *watch) (goToolchain, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.found != nil {
		if _, err := images.Get(ctx, g.found.image); err == nil {
			return *g.found, nil
		}
	}
	t, err := findGo(ctx, images)
	if err != nil {
		return goToolchain{}, err
	}
	g.found = &t
	return t, nil
}

// officialGo is the image that people build Go programs in elsewhere.
const officialGo = "golang"

// findGo takes the golang image of this machine, else the host's Go, else what the registry has. The host's own Go goes
// before the registry's: it is there at once, also without a network, and it is the one its owner has chosen.
func findGo(ctx context.Context, images *image.Store) (goToolchain, error) {
	settings, err := hostGo(ctx)
	if err != nil && !errors.Is(err, exec.ErrNotFound) {
		return goToolchain{}, err
	}
	t := goToolchain{image: officialGo, settings: map[string]string{}}
	for _, k := range goSettings {
		if v := settings[k]; v != "" {
			t.settings[k] = v
		}
	}
	if _, err := images.Get(ctx, officialGo); err == nil {
		return t, nil
	}
	if settings != nil {
		t.image, err = importHostGo(ctx, images, settings)
		return t, err
	}
	if _, err := images.Pull(ctx, officialGo); err != nil {
		return goToolchain{}, naru.Errorf(naru.FailedPrecondition,
			"there is no Go on this machine and no %s image: install Go, or import the image: %w", officialGo, err)
	}
	return t, nil
}

// hostGo asks the host's go command for its settings. The error is exec.ErrNotFound when there is none.
func hostGo(ctx context.Context) (map[string]string, error) {
	program, err := exec.LookPath("go")
	if err != nil {
		program = "/usr/local/go/bin/go" // a daemon's PATH often lacks it
		if _, serr := os.Stat(program); serr != nil {
			return nil, exec.ErrNotFound
		}
	}
	cmd := exec.CommandContext(ctx, program, append([]string{"env", "-json", "GOROOT", "GOVERSION"}, goSettings...)...)
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local")
	cmd.Dir = "/" // outside of any module, whose go.mod could ask for another toolchain
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its settings: %w", program, err)
	}
	var settings map[string]string
	if err := json.Unmarshal(out, &settings); err != nil {
		return nil, fmt.Errorf("read settings of %s: %w", program, err)
	}
	return settings, nil
}

// importHostGo makes an image of the host's Go installation, unless it is there.
func importHostGo(ctx context.Context, images *image.Store, settings map[string]string) (string, error) {
	name := "naru.local/golang:" + strings.TrimPrefix(strings.ReplaceAll(settings["GOVERSION"], " ", "-"), "go")
	if _, err := images.Get(ctx, name); err == nil {
		return name, nil
	}
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(writeGoTree(w, settings["GOROOT"]))
	}()
	_, err := images.Import(ctx, r, name)
	_ = r.Close() // ends the writer when the import gave up early
	<-done
	if err != nil {
		return "", fmt.Errorf("make an image of %s: %w", settings["GOROOT"], err)
	}
	return name, nil
}

// certificates are the places where distributions keep the roots of trust in one file.
var certificates = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"}

// writeGoTree writes the root file system of the toolchain's image as a tar.
func writeGoTree(w io.Writer, goroot string) error {
	t := tar.NewWriter(w)
	for _, dir := range []string{"etc/", "etc/ssl/", "etc/ssl/certs/", "go/", "root/", "src/", "usr/", "usr/local/"} {
		if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}); err != nil {
			return err
		}
	}
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}); err != nil {
		return err
	}
	passwd := "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"
	if err := writeFile(t, "etc/passwd", []byte(passwd)); err != nil {
		return err
	}
	certs, err := firstFile(certificates)
	if err != nil {
		return fmt.Errorf("find the host's roots of trust: %w", err)
	}
	if err := writeFile(t, "etc/ssl/certs/ca-certificates.crt", certs); err != nil {
		return err
	}
	if err := writeGoroot(t, goroot); err != nil {
		return fmt.Errorf("copy %s: %w", goroot, err)
	}
	return t.Close()
}

func firstFile(names []string) (b []byte, err error) {
	for _, n := range names {
		if b, err = os.ReadFile(n); err == nil {
			return b, nil
		}
	}
	return nil, err
}

func writeFile(t *tar.Writer, name string, b []byte) error {
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(b))}); err != nil {
		return err
	}
	_, err := t.Write(b)
	return err
}

// notForBuilding reports what of a GOROOT compiles nobody's program: documents, tests and the tools' own sources.
func notForBuilding(rel string, isDir bool) bool {
	if !isDir {
		return strings.HasSuffix(rel, "_test.go") || strings.HasPrefix(rel, "bin/gofmt")
	}
	switch rel {
	case ".git", "api", "doc", "misc", "test", "pkg/obj", "src/cmd":
		return true
	}
	return strings.HasPrefix(rel, "src/") && filepath.Base(rel) == "testdata"
}

func writeGoroot(t *tar.Writer, goroot string) error {
	goroot, err := filepath.EvalSymlinks(goroot)
	if err != nil {
		return err
	}
	return writeGoFolder(t, goroot, ".")
}

// writeGoFolder copies dir, which is rel within GOROOT. Links are followed, since distributions link parts of GOROOT
// away.
func writeGoFolder(t *tar.Writer, dir, rel string) error {
	if err := writeEntry(t, dir, filepath.Join("usr/local/go", rel)); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name, sub := filepath.Join(dir, e.Name()), filepath.Join(rel, e.Name())
		st, err := os.Stat(name)
		if err != nil {
			return err
		}
		switch {
		case notForBuilding(filepath.ToSlash(sub), st.IsDir()):
		case st.IsDir():
			err = writeGoFolder(t, name, sub)
		default:
			err = writeEntry(t, name, filepath.Join("usr/local/go", sub))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeEntry copies a file, or a folder without what is in it, into the tar.
func writeEntry(t *tar.Writer, name, as string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: as, Mode: int64(st.Mode().Perm()), Size: st.Size(), ModTime: st.ModTime()}
	if st.IsDir() {
		h.Typeflag, h.Name, h.Size = tar.TypeDir, as+"/", 0
		return t.WriteHeader(h)
	}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(t, f)
	return err
}
