package rootless

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"naru/engine/sandbox/fork"
	"naru/naru"
)

// IDs are the ids of a user namespace for an ordinary user: its own is root's, and those that /etc/subuid and /etc/subgid
// give it come next.
type IDs struct {
	UIDs, GIDs []fork.IDMap
}

// OwnIDs are the ids that this user can have. lacking says why it has no more than its own; nil: it has.
func OwnIDs() (ids IDs, lacking error) {
	ids = IDs{UIDs: mapOwn(os.Getuid(), nil), GIDs: mapOwn(os.Getgid(), nil)}
	for _, helper := range []string{"newuidmap", "newgidmap"} {
		if _, err := exec.LookPath(helper); err != nil {
			return ids, naru.Errorf(naru.FailedPrecondition, "%s is not installed (Debian's package uidmap)", helper)
		}
	}
	names := []string{strconv.Itoa(os.Getuid())}
	if u, err := user.LookupId(names[0]); err == nil {
		names = append(names, u.Username)
	}
	uids, err := subordinate("/etc/subuid", names)
	if err != nil {
		return ids, err
	}
	gids, err := subordinate("/etc/subgid", names)
	if err != nil {
		return ids, err
	}
	return IDs{UIDs: mapOwn(os.Getuid(), uids), GIDs: mapOwn(os.Getgid(), gids)}, nil
}

// Alone says whether there is no id but the user's own.
func (ids IDs) Alone() bool { return len(ids.UIDs) == 1 && len(ids.GIDs) == 1 }

// idRange are ids of the host.
type idRange struct{ first, count int }

// mapOwn puts ranges behind the own id.
func mapOwn(own int, more []idRange) []fork.IDMap {
	maps := []fork.IDMap{{ContainerID: 0, HostID: own, Size: 1}}
	next := 1
	for _, r := range more {
		maps = append(maps, fork.IDMap{ContainerID: next, HostID: r.first, Size: r.count})
		next += r.count
	}
	return maps
}

func subordinate(file string, names []string) ([]idRange, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, naru.Errorf(naru.FailedPrecondition, "read this user's further ids: %w", err)
	}
	ranges, err := parseSubordinate(bytes.NewReader(b), names)
	if err != nil {
		return nil, naru.Errorf(naru.FailedPrecondition, "%s: %w", file, err)
	}
	if len(ranges) == 0 {
		return nil, naru.Errorf(naru.FailedPrecondition, "%s has no line for user %s: have root add one, such as %s:100000:65536",
			file, names[len(names)-1], names[len(names)-1])
	}
	return ranges, nil
}

// maxID is the last number that can be an id: the one after it means none.
const maxID = 1<<32 - 2

// maxRanges is how many lines the kernel takes as a map, less the own id's.
const maxRanges = 339

// parseSubordinate reads the ranges of a user, who is called by any of names, from lines of NAME:FIRST:COUNT.
func parseSubordinate(r io.Reader, names []string) ([]idRange, error) {
	var all []idRange
	total := 1
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Split(strings.TrimSpace(lines.Text()), ":")
		if len(f) != 3 || !slices.Contains(names, f[0]) {
			continue
		}
		first, err1 := strconv.Atoi(f[1])
		count, err2 := strconv.Atoi(f[2])
		if err1 != nil || err2 != nil || first < 0 || count < 1 || first > maxID || count > maxID-first+1 || total > maxID-count {
			return nil, fmt.Errorf("%q: want NAME:FIRST:COUNT", lines.Text())
		}
		if total += count; len(all) < maxRanges {
			all = append(all, idRange{first, count})
		}
	}
	return all, lines.Err()
}

// write maps the ids of a process in a new user namespace. The own id alone needs nobody's help, if the process gives
// up to change its groups.
func (ids IDs) write(pid int) error {
	proc := "/proc/" + strconv.Itoa(pid)
	if ids.Alone() {
		for _, f := range [][2]string{{"setgroups", "deny"}, {"uid_map", ids.lines(ids.UIDs)}, {"gid_map", ids.lines(ids.GIDs)}} {
			if err := os.WriteFile(proc+"/"+f[0], []byte(f[1]), 0); err != nil {
				return fmt.Errorf("map the user's id: %w", err)
			}
		}
		return nil
	}
	for helper, maps := range map[string][]fork.IDMap{"newuidmap": ids.UIDs, "newgidmap": ids.GIDs} {
		args := append([]string{strconv.Itoa(pid)}, strings.Fields(ids.lines(maps))...)
		if out, err := exec.Command(helper, args...).CombinedOutput(); err != nil {
			return naru.Errorf(naru.FailedPrecondition, "%s: %w: %s", helper, err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// Current are the ids of the user namespace that this process is in.
func Current() (IDs, error) {
	uids, err := readMap("/proc/self/uid_map")
	if err != nil {
		return IDs{}, err
	}
	gids, err := readMap("/proc/self/gid_map")
	return IDs{UIDs: uids, GIDs: gids}, err
}

func readMap(file string) ([]fork.IDMap, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var maps []fork.IDMap
	for line := range strings.Lines(string(b)) {
		var m fork.IDMap
		if _, err := fmt.Sscan(line, &m.ContainerID, &m.HostID, &m.Size); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		maps = append(maps, m)
	}
	return maps, nil
}

// Within says maps onto ids outside a user namespace as maps onto the ids inside it that they are.
func Within(own, maps []fork.IDMap) ([]fork.IDMap, error) {
	var out []fork.IDMap
	for _, m := range maps {
		for m.Size > 0 {
			at := slices.IndexFunc(own, func(o fork.IDMap) bool { return m.HostID >= o.HostID && m.HostID-o.HostID < o.Size })
			if at < 0 {
				return nil, naru.Errorf(naru.PermissionDenied, "id %d of the host is not one of this user's: its own, and those of /etc/subuid "+
					"and /etc/subgid where newuidmap is installed", m.HostID)
			}
			o := own[at]
			n := min(m.Size, o.HostID+o.Size-m.HostID)
			out = append(out, fork.IDMap{ContainerID: m.ContainerID, HostID: o.ContainerID + m.HostID - o.HostID, Size: n})
			m.ContainerID, m.HostID, m.Size = m.ContainerID+n, m.HostID+n, m.Size-n
		}
	}
	return out, nil
}

func (IDs) lines(maps []fork.IDMap) string {
	var b strings.Builder
	for _, m := range maps {
		fmt.Fprintf(&b, "%d %d %d\n", m.ContainerID, m.HostID, m.Size)
	}
	return b.String()
}
