package quota

import (
	"errors"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"naru/internal/testkit"
	"naru/naru"
)

// TestAFileSystemWithoutQuotasIsNamedWithItsCure asks for a limit where there can be none.
func TestAFileSystemWithoutQuotasIsNamedWithItsCure(t *testing.T) {
	disk := testkit.Disk(t, 8<<20, "rw", "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal")
	err := Set(naru.DiskLimit{Bytes: 1 << 20}, disk)
	if naru.CodeOf(err) != naru.FailedPrecondition || !strings.Contains(err.Error(), "tune2fs -O project,quota /dev/loop") || !strings.Contains(err.Error(), disk) {
		t.Errorf("on an ext4 without quotas: %v", err)
	}
	if limit, err := Of(disk); err != nil || limit != (naru.DiskLimit{}) {
		t.Errorf("its limit is %+v, %v", limit, err)
	}
	if err := errors.Join(Clear(disk), Clear(filepath.Join(disk, "none"))); err != nil {
		t.Errorf("clear what has no limit: %v", err)
	}
	for want, m := range map[string]mountinfo.Info{
		"the option pquota":  {FSType: "xfs", Mountpoint: "/srv"},
		"rootflags=pquota":   {FSType: "xfs", Mountpoint: "/"},
		"rootflags=prjquota": {FSType: "ext4", Source: "/dev/vda", Mountpoint: "/"},
		"an ext4 or xfs":     {FSType: "btrfs", Mountpoint: "/"},
	} {
		if got := cure(&m); !strings.Contains(got, want) {
			t.Errorf("the cure for %+v is %q", m, got)
		}
	}
}

func onEachDisk(t *testing.T, test func(t *testing.T, disk string)) {
	for name, disk := range map[string]func(testing.TB) string{"ext4": testkit.QuotaExt4, "xfs": testkit.QuotaXFS} {
		t.Run(name, func(t *testing.T) { test(t, disk(t)) })
	}
}

func folder(t *testing.T, path ...string) string {
	t.Helper()
	dir := filepath.Join(path...)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestALimitIsForAllOfTheFoldersUntilItIsCleared bounds two folders together, changes that, and lets them go.
func TestALimitIsForAllOfTheFoldersUntilItIsCleared(t *testing.T) {
	onEachDisk(t, func(t *testing.T, disk string) {
		a, b, other := folder(t, disk, "a"), folder(t, disk, "b"), folder(t, disk, "other")
		sets(t, naru.DiskLimit{Bytes: 8 << 20}, a, b)
		sets(t, naru.DiskLimit{Bytes: 8 << 20}, other)
		if got, err := Of(b); err != nil || got != (naru.DiskLimit{Bytes: 8 << 20, Inodes: 2048}) {
			t.Errorf("limit of the second folder: %+v, %v", got, err)
		}
		sets(t, naru.DiskLimit{Bytes: 1 << 20, Inodes: 100}, a, b)
		sub := folder(t, b, "sub")
		if err := os.WriteFile(filepath.Join(sub, "file"), make([]byte, 2<<20), 0o600); err == nil {
			err = Check(a) // ext4 lets root write on
			if !errors.Is(err, unix.EDQUOT) {
				t.Errorf("2 MB in 1 MB: %v", err)
			}
		}
		if err := Check(other); err != nil {
			t.Errorf("the folder beside: %v", err)
		}
		if err := Clear(a); err != nil {
			t.Fatal(err)
		}
		if got, err := Of(b); err != nil || got != (naru.DiskLimit{}) {
			t.Errorf("limit after it was cleared: %+v, %v", got, err)
		}
	})
}

func sets(t *testing.T, limit naru.DiskLimit, dirs ...string) {
	t.Helper()
	if err := Set(limit, dirs...); err != nil {
		t.Fatal(err)
	}
}

// TestAnIDThatSomebodyUsesIsNotTaken has the id that follows from a folder's path be used by another, and be free again.
func TestAnIDThatSomebodyUsesIsNotTaken(t *testing.T) {
	onEachDisk(t, func(t *testing.T, disk string) {
		mine, others := folder(t, disk, "mine"), folder(t, disk, "others")
		h := fnv.New32a()
		_, _ = h.Write([]byte(mine))
		id := firstProject + h.Sum32()%projects
		marked(t, others, func(f *os.File) error { return mark(f, id) })
		sets(t, naru.DiskLimit{Bytes: 1 << 20}, mine)
		marked(t, mine, func(f *os.File) error {
			if got, err := projectOf(f); err != nil || got != firstProject+(id+1-firstProject)%projects {
				t.Errorf("it got the id %#x, %v; another has %#x", got, err, id)
			}
			return nil
		})
		if err := os.Remove(others); err != nil {
			t.Fatal(err)
		}
		again := folder(t, disk, "again")
		marked(t, again, func(f *os.File) error {
			testkit.Eventually(t, 20*time.Second, "the id of a folder that is gone is free", func() error { // xfs frees inodes later
				ok, err := take([]*os.File{f}, id)
				if err == nil && !ok {
					err = errors.New("it is in use")
				}
				return err
			})
			return nil
		})
	})
}

func marked(t *testing.T, dir string, do func(*os.File) error) {
	t.Helper()
	f, err := open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := do(f); err != nil {
		t.Fatal(err)
	}
}

// TestAFolderThatIsNone is refused before anything is marked.
func TestAFolderThatIsNone(t *testing.T) {
	if err := Set(naru.DiskLimit{Bytes: 1}, filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
