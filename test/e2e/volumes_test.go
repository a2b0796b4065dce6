package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"naru/internal/testkit"
)

func TestCopyFollowsDockersRules(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	d.OK("container", "run", "-d", "--name", "c", busybox, "sh", "-c", "mkdir -p /srv/site; echo page >/srv/site/index; "+forever)
	dir := t.TempDir()
	local := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one := local("from/one", "1\n")
	testkit.Eventually(t, 10*time.Second, "the folder is there", func() error {
		return errOf(d.Naru("container", "cp", "c:/srv/site/index", filepath.Join(dir, "first")))
	})
	for _, step := range [][]string{
		{one, "c:/srv"},                                    // into a folder, under its name
		{one, "c:/srv/two"},                                // under a new name
		{filepath.Join(dir, "from"), "c:/srv/all"},         // a folder, under a new name
		{filepath.Join(dir, "from"), "c:/srv/site"},        // a folder, into a folder
		{filepath.Join(dir, "from") + "/.", "c:/srv/site"}, // what is in a folder
		{"c:/srv/site", filepath.Join(dir, "out")},         // out, under a new name
		{"c:/srv/site", dir},                               // out, into a folder
		{"c:/srv/site/.", filepath.Join(dir, "bare")},      // what is in a folder, under a new name
	} {
		d.OK("container", "cp", step[0], step[1])
	}
	inside := "/srv/one /srv/two /srv/all/one /srv/site/from/one /srv/site/one"
	if out := d.OK("container", "exec", "c", "sh", "-c", "cat "+inside); out != strings.Repeat("1\n", 5) {
		t.Errorf("inside: %q", out)
	}
	for path, want := range map[string]string{"out/index": "page\n", "site/index": "page\n", "bare/one": "1\n"} {
		if got, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(got) != want {
			t.Errorf("%s: %q %v", path, got, err)
		}
	}
	refuses(t, d.Naru("container", "cp", "c:/nowhere", dir), "/nowhere")
	refuses(t, d.Naru("container", "cp", one, "c:/nowhere/"), "/nowhere/")
	d.OK("container", "rm", "-f", "c")
	d.Settles(before)
}

func errOf(r testkit.Result) error {
	if r.Code != 0 {
		return errText(r.Stderr)
	}
	return nil
}

type errText string

func (e errText) Error() string { return string(e) }

func TestVolumeVerbs(t *testing.T) {
	d := start(t)
	d.OK("volume", "create", "data")
	d.OK("container", "run", "--rm", "-v", "data:/data", busybox, "sh", "-c", "mkdir /data/sub; echo kept >/data/sub/file")
	backup := filepath.Join(t.TempDir(), "data.tar")
	d.OK("volume", "export", "-o", backup, "data")
	d.OK("volume", "import", "copy", backup)
	if out := d.OK("container", "run", "--rm", "--mount", "type=volume,src=copy,dst=/sub,volume-subpath=sub,readonly", busybox, "cat", "/sub/file"); out != "kept\n" {
		t.Errorf("the copy holds %q", out)
	}
	refuses(t, d.Naru("volume", "import", "copy", backup), "copy")
	refuses(t, d.Naru("container", "run", "--mount", "type=volume,src=copy,dst=/sub,volume-subpath=../data", busybox, "true"), "../data")
	d.OK("container", "create", "--name", "user", "-v", "copy:/data", busybox, "true")
	refuses(t, d.Naru("volume", "rm", "copy"), "user")
	refuses(t, d.Naru("volume", "rm", "no-such"), "no-such")
	if out := d.OK("volume", "ls"); !strings.Contains(out, "user") {
		t.Errorf("ls:\n%s", out)
	}
	if out := d.OK("volume", "prune"); out != "data\n" {
		t.Errorf("prune: %q", out)
	}
	if out := d.OK("volume", "ls", "-q"); out != "copy\n" {
		t.Errorf("after prune: %q", out)
	}
	if out := d.OK("system", "prune", "--volumes"); !strings.Contains(out, "volume copy") {
		t.Errorf("system prune: %q", out)
	}
}

func TestSystemVerbs(t *testing.T) {
	d := start(t)
	began := time.Now()
	d.OK("container", "run", "--name", "c", busybox, "sh", "-c", "dd if=/dev/zero of=/big bs=1M count=3 2>/dev/null")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	out, _ := d.Command(ctx, "system", "events", "--json", "--since", began.UTC().Format(time.RFC3339)).Output() // ends with its time
	for _, action := range []string{`"create"`, `"start"`, `"die"`} {
		if !strings.Contains(string(out), `"action":`+action) {
			t.Errorf("no event %s in\n%s", action, out)
		}
	}
	var use []struct {
		Kind  string
		Count int
		Bytes int64
	}
	d.JSON(&use, "system", "df")
	if len(use) != 3 || use[1].Kind != "containers" || use[1].Count != 1 || use[1].Bytes < 3<<20 {
		t.Errorf("df: %+v", use)
	}
	d.OK("system", "fsck")
	lost := filepath.Join(d.Data, "containers", strings.Repeat("ab", 16))
	if err := os.Mkdir(lost, 0o700); err != nil {
		t.Fatal(err)
	}
	if r := d.Naru("system", "fsck"); r.Code != 1 || !strings.Contains(r.Stdout, "folder "+filepath.Base(lost)) {
		t.Errorf("a folder of no container: %v", r)
	}
	d.OK("system", "fsck", "--repair")
	d.OK("system", "fsck")
	d.OK("system", "prune", "-f")
	if left := d.Containers(); len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
}
