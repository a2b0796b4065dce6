package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"naru/internal/testkit"
)

// TestAFullDiskIsSaidAndOutlived fills the disk under the data folder. What needs room must fail and say so; what runs
// runs on; what ends meanwhile is known as ended when there is room again, without a restart.
func TestAFullDiskIsSaidAndOutlived(t *testing.T) {
	for name, fill := range map[string]func(*testing.T, string){"bytes": fillBytes, "inodes": fillInodes} {
		t.Run(name, func(t *testing.T) {
			disk := smallDisk(t)
			d := testkit.NewDaemon(t)
			d.Data = filepath.Join(disk, "data")
			d.Start()
			d.ImportBusybox(busybox)
			d.OK("container", "run", "--rm", busybox, "true")
			before := d.Kernel()
			outliveFullDisk(t, d, filepath.Join(disk, "ballast"), fill)
			d.Settles(before)
		})
	}
}

func outliveFullDisk(t *testing.T, d *testkit.Daemon, ballast string, fill func(*testing.T, string)) {
	b := &box{name: "steady", port: testkit.FreePort(t), code: stopCode, want: runs}
	if _, err := d.API().RunContainer(t.Context(), b.spec()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, "the published port answers", func() error { return b.answers(t.Context()) })

	fill(t, ballast)
	r := fails(t, d, "container", "run", "-d", "--name", "toomuch", busybox, "sleep", "1000000")
	if !strings.Contains(r.Stderr, "no space") && !strings.Contains(r.Stderr, "full") {
		t.Errorf("the message says nothing of a full disk: %v", r)
	}
	if err := b.answers(t.Context()); err != nil {
		t.Errorf("on a full disk, what ran before does not answer: %v", err)
	}
	d.OK("container", "ls")
	d.Naru("container", "stop", b.name) // it may fail, but not be forgotten

	if err := os.RemoveAll(ballast); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, 20*time.Second, "the daemon knows how the container ended", func() error {
		c, err := d.API().Container(t.Context(), b.name)
		if err == nil && (c.State != "exited" || c.ExitCode != stopCode) {
			err = fmt.Errorf("it says %+v", c)
		}
		return err
	})
	d.OK("container", "rm", b.name)
	d.Naru("container", "rm", "-f", "toomuch") // there when its row still found room
	if got := d.OK("container", "run", "--rm", busybox, "echo", "again"); got != "again\n" {
		t.Errorf("with room again, a container prints %q", got)
	}
}

// fails runs the command line and wants it to fail with a message.
func fails(t *testing.T, d *testkit.Daemon, args ...string) testkit.Result {
	t.Helper()
	r := d.Naru(args...)
	if r.Code == 0 || r.Stderr == "" {
		t.Fatalf("want a failure and its reason: %v", r)
	}
	return r
}

// smallDisk is a mounted file system of its own.
func smallDisk(t *testing.T) string {
	t.Helper()
	return testkit.Disk(t, 128<<20, "rw", "mke2fs", "-q", "-t", "ext4", "-m", "0", "-N", "2000")
}

// fillBytes writes until no block is left.
func fillBytes(t *testing.T, ballast string) {
	t.Helper()
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size >= 1<<9; size /= 2 {
		for err == nil {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		err = nil
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// fillInodes makes empty files until no inode is left.
func fillInodes(t *testing.T, ballast string) {
	t.Helper()
	if err := os.Mkdir(ballast, 0o755); err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		err := os.WriteFile(filepath.Join(ballast, fmt.Sprint(n)), nil, 0o644)
		if errors.Is(err, syscall.ENOSPC) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
