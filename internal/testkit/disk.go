package testkit

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Disk is a file system of the test's own, made in a file by mkfs and mounted with the options.
func Disk(t testing.TB, size int64, options string, mkfs ...string) string {
	t.Helper()
	RequireRoot(t)
	RequireCommand(t, mkfs[0])
	image := filepath.Join(t.TempDir(), "image")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, size)); err != nil {
		t.Fatal(err)
	}
	at, err := os.MkdirTemp("", "nd")
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range [][]string{append(mkfs, image), {"mount", "-o", "loop," + options, image, at}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
		}
	}
	t.Cleanup(func() {
		Eventually(t, 10*time.Second, "unmount the disk", func() error {
			runtime.GC() // containerd's look for fsverity leaves a file open, which goes with the garbage
			return syscall.Unmount(at, 0)
		})
		if err := os.Remove(at); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(at, 0o755); err != nil {
		t.Fatal(err)
	}
	return at
}

// QuotaExt4 is an ext4 with project quotas.
func QuotaExt4(t testing.TB) string {
	t.Helper()
	requireKernel(t, "CONFIG_QFMT_V2")
	return Disk(t, 256<<20, "prjquota", "mke2fs", "-q", "-t", "ext4", "-m", "0", "-O", "project,quota", "-E", "quotatype=prjquota")
}

// QuotaXFS is an xfs with project quotas.
func QuotaXFS(t testing.TB) string {
	t.Helper()
	requireKernel(t, "CONFIG_XFS_QUOTA")
	return Disk(t, 512<<20, "pquota", "mkfs.xfs", "-q")
}

// requireKernel skips the test when the kernel says that it was built without something. One that does not say how it
// was built has to have it.
func requireKernel(t testing.TB, option string) {
	t.Helper()
	packed, err := os.ReadFile("/proc/config.gz")
	if err != nil {
		return
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	config, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(config, []byte("\n"+option+"=")) {
		t.Skipf("needs a kernel with %s: make test-vm boots one", option)
	}
}
