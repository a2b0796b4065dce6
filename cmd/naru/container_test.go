package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"naru/engine/archive"
	"naru/naru"
)

func TestCtrlPCtrlQLeaves(t *testing.T) {
	for name, test := range map[string]struct {
		typed []string
		got   string
		left  bool
	}{
		"nothing of it":         {[]string{"ab", "c"}, "abc", false},
		"at once":               {[]string{"ab\x10\x11cd"}, "ab", true},
		"one after the other":   {[]string{"ab\x10", "\x11"}, "ab", true},
		"only the first":        {[]string{"a\x10", "b"}, "a\x10b", false},
		"the first twice":       {[]string{"\x10", "\x10", "\x11"}, "\x10", true},
		"the first, at the end": {[]string{"a\x10"}, "a\x10", false},
	} {
		t.Run(name, func(t *testing.T) {
			left := false
			d := &detachReader{from: &keys{test.typed}, keys: []byte("\x10\x11"), leave: func() { left = true }}
			got, err := io.ReadAll(d)
			if err != nil || string(got) != test.got || left != test.left {
				t.Errorf("%q, left %v, %v", got, left, err)
			}
		})
	}
}

// keys gives one text a read.
type keys struct{ typed []string }

func (k *keys) Read(p []byte) (int, error) {
	if len(k.typed) == 0 {
		return 0, io.EOF
	}
	n := copy(p, k.typed[0])
	k.typed = k.typed[1:]
	return n, nil
}

func TestMountsInWords(t *testing.T) {
	m, err := parseMount("type=volume,src=data,dst=/d,volume-subpath=a/b,readonly")
	if err != nil || m.Volume != "data" || m.Target != "/d" || m.Subpath != "a/b" || !m.ReadOnly {
		t.Errorf("%+v %v", m, err)
	}
	if m, err := parseMount("type=bind,source=/srv,target=/d,readonly=false"); err != nil || m.HostPath != "/srv" || m.ReadOnly {
		t.Errorf("%+v %v", m, err)
	}
	if m, err := parseMount("src=data,dst=/d,volume-opt=size=1g,volume-opt=inodes=9"); err != nil || m.Limit != (naru.DiskLimit{Bytes: 1 << 30, Inodes: 9}) {
		t.Errorf("%+v, %v", m, err)
	}
	for _, wrong := range []string{"src=a,dst=/d,volume-opt=frob=1", "type=bind,src=/a,dst=/d,volume-opt=size=1g", "", "type=volume,src=a", "src=a,dst=relative", "dst=/d", "type=npipe,src=a,dst=/d", "src=a,dst=/d,frob=1", "type=bind,src=/a,dst=/d,volume-subpath=x"} {
		if _, err := parseMount(wrong); err == nil || !strings.Contains(err.Error(), "--mount") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

func TestWhereACopyLands(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		from, to, into string
		o              archive.Options
	}{
		{"/etc/passwd", dir, dir, archive.Options{}},
		{"/etc/passwd", dir + "/file", dir, archive.Options{From: "passwd", As: "file"}},
		{"/etc", dir + "/new", dir, archive.Options{From: "etc", As: "new"}},
		{"/etc/.", dir + "/new", dir, archive.Options{From: ".", As: "new"}},
		{"/", dir + "/new", dir, archive.Options{From: ".", As: "new"}},
	} {
		into, o, err := landing(test.from, test.to)
		if err != nil || into != test.into || o != test.o {
			t.Errorf("%s to %s: %s %+v %v", test.from, test.to, into, o, err)
		}
	}
	if _, _, err := landing("/etc", dir+"/new/"); err == nil {
		t.Error("a folder that is not there was taken")
	}
}

func TestPlacesInContainersAndOutside(t *testing.T) {
	for s, want := range map[string]place{
		"web:/etc": {"web", "/etc"}, "web:": {"web", ""}, "./a:b": {"", "./a:b"}, "/a:b": {"", "/a:b"}, "dir/a:b": {"", "dir/a:b"}, "-": {"", "-"},
	} {
		if got, inside := parsePlace(s); got != want || inside != (want.container != "") {
			t.Errorf("%q: %+v", s, got)
		}
	}
}

func TestGraceIsSecondsOrADuration(t *testing.T) {
	for s, want := range map[string]time.Duration{"10": 10 * time.Second, "0": 0, "500ms": 500 * time.Millisecond} {
		var g graceValue
		if err := g.Set(s); err != nil || g.d == nil || *g.d != want {
			t.Errorf("%q: %v %v", s, g.d, err)
		}
	}
	if err := new(graceValue).Set("-1"); err == nil {
		t.Error("-1 was taken")
	}
}

func TestEnvironmentFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(file, []byte("# a comment\n\nA=1 with blanks \r\n  B=2\nHOME\nNONE\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := environment([]string{file}, []string{"A=3"}, func(name string) string { return map[string]string{"HOME": "/root"}[name] })
	if err != nil || strings.Join(got, "|") != "A=1 with blanks |B=2|HOME=/root|A=3" {
		t.Errorf("%q %v", got, err)
	}
	if _, err := environment([]string{file + ".none"}, nil, os.Getenv); err == nil {
		t.Error("a file that is not there was taken")
	}
}
