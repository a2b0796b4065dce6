package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestFoldersAndFilesOfTheHost mounts both, for reading only too: who owns what is the same inside and outside, whatever
// the container's range of ids.
func TestFoldersAndFilesOfTheHost(t *testing.T) {
	d := start(t)
	folder := t.TempDir()
	theirs := filepath.Join(folder, "theirs")
	for _, err := range []error{os.Chmod(folder, 0o777), os.WriteFile(theirs, []byte("outside\n"), 0o644), os.Chown(theirs, 1234, 4321)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	seen := d.OK("container", "run", "--rm", "-u", "1000:1001", "-v", folder+":/data", busybox, "sh", "-c", "stat -c %u:%g /data/theirs; touch /data/mine")
	if seen != "1234:4321\n" {
		t.Errorf("inside, a file of 1234:4321 is %s", seen)
	}
	info, err := os.Stat(filepath.Join(folder, "mine"))
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 1000 || st.Gid != 1001 {
		t.Errorf("outside, a file of 1000:1001 is %d:%d", st.Uid, st.Gid)
	}
	if got := d.OK("container", "run", "--rm", "-v", theirs+":/etc/motd:ro", busybox, "cat", "/etc/motd"); got != "outside\n" {
		t.Errorf("a file that is mounted reads %q", got)
	}
	for _, args := range [][]string{
		{"-v", folder + ":/data:ro", busybox, "touch", "/data/new"},
		{"-v", folder + ":/data:ro", busybox, "mount", "-o", "remount,rw", "/data"},
		{"-v", theirs + ":/etc/motd:ro", busybox, "sh", "-c", "echo x >/etc/motd"},
		{"--mount", "type=bind,src=" + folder + ",dst=/data,readonly", busybox, "rm", "/data/mine"},
	} {
		if r := d.Naru(append([]string{"container", "run", "--rm"}, args...)...); r.Code == 0 {
			t.Errorf("it wrote to what is for reading only: %v", r)
		}
	}
	refuses(t, d.Naru("container", "run", "--rm", "-v", folder+"/none:/data", busybox, "true"), "/none")
}

// TestTmpfsIsBoundedPrivateAndGone fills one, and looks for what was in it from the next start and from the host.
func TestTmpfsIsBoundedPrivateAndGone(t *testing.T) {
	d := start(t)
	script := `test -e /t/left && echo left; stat -c %a /t; touch /x 2>/dev/null || echo closed; dd if=/dev/zero of=/t/left bs=1k count=2000 2>/dev/null || echo full`
	d.OK("container", "create", "--name", "c", "--read-only", "--tmpfs", "/t:size=1m,mode=700", busybox, "sh", "-c", script)
	for range 2 {
		if got := d.OK("container", "start", "-a", "c"); got != "700\nclosed\nfull\n" {
			t.Errorf("it says %q", got)
		}
	}
	err := filepath.WalkDir(d.Data, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() == "left" {
			t.Errorf("on the host's disk there is %s", path)
		}
		return nil // what goes meanwhile is not there
	})
	if err != nil {
		t.Error(err)
	}
}
