package fork

import (
	"fmt"
	"os"
	"syscall"
)

// UserNamespace makes a user namespace that nobody is in: who holds the file keeps it, to map the ids of a mount.
//
// A child that is traced stops before its program's first instruction, long enough for us to open its namespace.
func UserNamespace(uids, gids []IDMap) (*os.File, error) {
	p, err := os.StartProcess("/proc/self/exe", []string{"user namespace"}, &os.ProcAttr{Sys: &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWUSER, UidMappings: sysMaps(uids), GidMappings: sysMaps(gids),
		GidMappingsEnableSetgroups: true, Ptrace: true, Pdeathsig: syscall.SIGKILL,
	}})
	if err != nil {
		return nil, fmt.Errorf("make a user namespace: %w", err)
	}
	defer func() {
		_ = p.Kill() // it stands still: both succeed
		_, _ = p.Wait()
	}()
	return os.Open(fmt.Sprintf("/proc/%d/ns/user", p.Pid))
}

func sysMaps(maps []IDMap) []syscall.SysProcIDMap {
	var out []syscall.SysProcIDMap
	for _, m := range maps {
		out = append(out, syscall.SysProcIDMap{ContainerID: m.ContainerID, HostID: m.HostID, Size: m.Size})
	}
	return out
}
