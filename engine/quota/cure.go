package quota

import (
	"fmt"
	"os"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"naru/naru"
)

// checkEnforced returns an error that names the file system of f and what to do, when that holds no project to a limit.
func checkEnforced(f *os.File) error {
	if isEnforced(f) {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("look for its file system: %w", err)
	}
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		found := unix.Mkdev(uint32(m.Major), uint32(m.Minor)) == st.Dev
		return !found, found
	})
	if err != nil {
		return fmt.Errorf("look for its file system: %w", err)
	}
	if len(mounts) == 0 {
		mounts = []*mountinfo.Info{{FSType: "file system", Source: "none", Mountpoint: f.Name()}}
	}
	m := mounts[0]
	return naru.Errorf(naru.FailedPrecondition, "the %s on %s, at %s, enforces no project quotas: %s", m.FSType, m.Source, m.Mountpoint, cure(m))
}

// cure is what an administrator does about a file system without project quotas.
func cure(m *mountinfo.Info) string {
	switch m.FSType {
	case "ext4":
		return fmt.Sprintf("run `tune2fs -O project,quota %s` while it is not mounted, and %s", m.Source, mountWith("prjquota", m))
	case "xfs":
		return mountWith("pquota", m)
	}
	return "keep the data folder on an ext4 or xfs that does"
}

func mountWith(option string, m *mountinfo.Info) string {
	if m.Mountpoint == "/" {
		return "boot with rootflags=" + option + " on the kernel's command line"
	}
	return "mount it with the option " + option
}
