package volume

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"naru/internal/testkit"
	"naru/naru"
)

const mib = 1 << 20

func limitOf(t *testing.T, s *Store, name string) int64 {
	t.Helper()
	v, err := s.Get(name)
	if err != nil {
		t.Fatal(err)
	}
	return v.Limit.Bytes
}

func TestAVolumeKeepsItsLimit(t *testing.T) {
	dir := filepath.Join(testkit.QuotaExt4(t), "volumes")
	s := open(t, dir)
	ensure := func(limit naru.DiskLimit) error {
		_, err := s.Ensure("v", limit)
		return err
	}
	fill := func(size int) error {
		_, err := s.Fill("v", naru.DiskLimit{}, write("file", string(make([]byte, size))))
		return err
	}
	if err := ensure(naru.DiskLimit{Bytes: mib}); err != nil {
		t.Fatal(err)
	}
	if err := fill(2 * mib); !errors.Is(err, unix.EDQUOT) {
		t.Errorf("fill it with more than it holds: %v", err)
	}
	if got := limitOf(t, s, "v"); got != mib {
		t.Errorf("after a fill that failed its limit is %d", got)
	}
	if err := fill(mib / 2); err != nil {
		t.Error(err)
	}
	if got := limitOf(t, open(t, dir), "v"); got != mib {
		t.Errorf("filled, and seen by another daemon, its limit is %d", got)
	}
	if err := errors.Join(ensure(naru.DiskLimit{Bytes: 3 * mib}), ensure(naru.DiskLimit{})); err != nil || limitOf(t, s, "v") != 3*mib {
		t.Errorf("changed to 3 MiB, it is %d, %v", limitOf(t, s, "v"), err)
	}
	if err := s.Remove("v"); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestWhatWasFilledWithoutALimitGetsNone(t *testing.T) {
	s := open(t, filepath.Join(testkit.QuotaExt4(t), "volumes"))
	if _, err := s.Fill("v", naru.DiskLimit{}, write("file", "1")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ensure("v", naru.DiskLimit{Bytes: mib}); naru.CodeOf(err) != naru.FailedPrecondition {
		t.Errorf("limit it afterwards: %v", err)
	}
}

func TestALimitThatCannotBeMakesNoVolume(t *testing.T) {
	s := open(t, filepath.Join(testkit.Disk(t, 8*mib, "rw", "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal"), "volumes"))
	if _, err := s.Ensure("v", naru.DiskLimit{Bytes: mib}); naru.CodeOf(err) != naru.FailedPrecondition {
		t.Errorf("without quotas: %v", err)
	}
	if list, err := s.List(); err != nil || len(list) > 0 {
		t.Errorf("there is %+v, %v", list, err)
	}
}
