package e2e

import (
	"archive/tar"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestWhatAContainerWroteIsListedAndKept(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	d.OK("container", "run", "-d", "--name", "web", "-v", "kept:/kept", busybox, "sh", "-c", "echo x >/etc/passwd; mkdir /new; echo y >/new/file; echo z >/kept/file; rm -r /root; mkdir /root; sleep 1000")
	d.OK("container", "exec", "web", "sh", "-c", "while [ ! -d /root ]; do :; done")
	changes := strings.Fields(strings.ReplaceAll(d.OK("container", "diff", "web"), " ", ""))
	for _, want := range []string{"C/etc", "C/etc/passwd", "A/new", "A/new/file"} {
		if !slices.Contains(changes, want) {
			t.Errorf("%s is missing: %v", want, changes)
		}
	}
	if slices.Contains(changes, "A/kept/file") || slices.Contains(changes, "C/proc") {
		t.Errorf("what is mounted is no change: %v", changes)
	}
	archive := d.OK("container", "export", "web")
	files := map[string]string{}
	for r := tar.NewReader(strings.NewReader(archive)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimPrefix(h.Name, "./")] = string(b)
	}
	if files["etc/passwd"] != "x\n" || files["new/file"] != "y\n" || files["kept/file"] != "" || files["bin/busybox"] == "" {
		t.Errorf("the archive has %d files, passwd is %q, new/file %q", len(files), files["etc/passwd"], files["new/file"])
	}
	if r := d.NaruIn("", []byte(archive), "image", "import", "-", "web:kept"); r.Code != 0 {
		t.Fatal(r)
	}
	if out := d.OK("container", "run", "--rm", "web:kept", "/bin/cat", "/new/file"); out != "y\n" {
		t.Errorf("the image that was made of it has %q", out)
	}
	d.OK("container", "rm", "-f", "web")
	d.OK("volume", "rm", "kept")
	d.Settles(before)
}

func TestAnImageGetsOneMoreName(t *testing.T) {
	d := start(t)
	d.OK("image", "tag", busybox, "box:2")
	if out := d.OK("container", "run", "--rm", "box:2", "echo", "hi"); out != "hi\n" {
		t.Errorf("it says %q", out)
	}
	if out := d.OK("image", "ls", "-q", "--filter", "reference=box"); len(strings.Fields(out)) != 1 {
		t.Errorf("its name finds %q", out)
	}
	refuses(t, d.Naru("image", "tag", "nosuch", "x"), "nosuch")
	d.OK("image", "rm", "box:2")
	d.OK("container", "run", "--rm", busybox, "true")
}

func TestEventsEndAndAreChosen(t *testing.T) {
	d := start(t)
	d.OK("container", "run", "--rm", "--name", "one", busybox, "true")
	d.Naru("container", "run", "--rm", "--name", "two", busybox, "sh", "-c", "exit 3")
	out := d.OK("system", "events", "--since", "10m", "--until", "0s", "--filter", "event=die", "--filter", "container=two", "--format", "{{.Name}} {{.Attributes.exit_code}}")
	if out != "two 3\n" {
		t.Errorf("%q", out)
	}
}
