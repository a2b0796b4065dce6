package testkit

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// BusyboxRootfs is a root filesystem as a tar: busybox under all its names, and the few files that programs look for.
func BusyboxRootfs(t testing.TB) []byte {
	t.Helper()
	program := staticBusybox(t)
	names, err := exec.Command(program, "--list").Output()
	if err != nil {
		t.Fatalf("ask busybox for its names: %v", err)
	}
	body, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := rootfs{t, tar.NewWriter(&out)}
	for _, dir := range []string{"bin/", "dev/", "etc/", "proc/", "root/", "sys/", "tmp/", "var/"} {
		w.entry(tar.Header{Name: dir, Typeflag: tar.TypeDir, Mode: dirMode(dir)}, nil)
	}
	w.file("bin/busybox", 0o755, body)
	for _, name := range strings.Fields(string(names)) {
		if name != "busybox" {
			w.entry(tar.Header{Name: "bin/" + filepath.Base(name), Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777}, nil)
		}
	}
	w.file("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"))
	w.file("etc/group", 0o644, []byte("root:x:0:\nnogroup:x:65534:\n"))
	if err := w.tar.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func dirMode(dir string) int64 {
	if dir == "tmp/" {
		return 0o1777
	}
	return 0o755
}

type rootfs struct {
	t   testing.TB
	tar *tar.Writer
}

func (w rootfs) file(name string, mode int64, body []byte) {
	w.t.Helper()
	w.entry(tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(body))}, bytes.NewReader(body))
}

func (w rootfs) entry(header tar.Header, body io.Reader) {
	w.t.Helper()
	if err := w.tar.WriteHeader(&header); err != nil {
		w.t.Fatal(err)
	}
	if body == nil {
		return
	}
	if _, err := io.Copy(w.tar, body); err != nil {
		w.t.Fatal(err)
	}
}

// staticBusybox finds a busybox that needs no libraries, or skips the test.
func staticBusybox(t testing.TB) string {
	t.Helper()
	path := RequireCommand(t, "busybox")
	file, err := elf.Open(path)
	if err != nil {
		t.Fatalf("read %s: %v", path, err)
	}
	defer file.Close()
	for _, segment := range file.Progs {
		if segment.Type == elf.PT_INTERP {
			t.Skipf("needs a static busybox, and %s is not: run make deps", path)
		}
	}
	return path
}

// ImportBusybox gives the daemon a local image with that name.
func (d *Daemon) ImportBusybox(name string) {
	d.t.Helper()
	file := filepath.Join(d.t.TempDir(), "busybox.tar")
	if err := os.WriteFile(file, BusyboxRootfs(d.t), 0o644); err != nil {
		d.t.Fatal(err)
	}
	d.OK("image", "import", file, name)
}
