package testkit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/nftables"
)

// Kernel is what the kernel holds of one daemon: a line for each object, sorted. It is read from /proc, /sys and
// netlink; naru is not asked.
type Kernel []string

// tag sets the kernel objects of one daemon apart: bridges are nrTAG…, veths nvTAG…, cgroups and nft tables naru-TAG….
func (d *Daemon) tag() string {
	sum := sha256.Sum256([]byte(d.Data))
	return hex.EncodeToString(sum[:2])
}

// Kernel reads what the kernel holds of the daemon now, its own process left out.
func (d *Daemon) Kernel() Kernel {
	d.t.Helper()
	var k Kernel
	for _, read := range []func() ([]string, error){d.links, d.tables, d.mounts, d.cgroups, d.processes} {
		found, err := read()
		if err != nil {
			d.t.Fatalf("read the kernel's state: %v", err)
		}
		k = append(k, found...)
	}
	slices.Sort(k)
	return k
}

// Beyond is what k holds and before does not.
func (k Kernel) Beyond(before Kernel) []string {
	var more []string
	for _, object := range k {
		if !slices.Contains(before, object) {
			more = append(more, object)
		}
	}
	return more
}

// Settles waits until the kernel holds nothing of the daemon beyond before, and fails the test when that does not
// happen: the kernel takes namespaces and their links down after the last process is gone.
func (d *Daemon) Settles(before Kernel) {
	d.t.Helper()
	Eventually(d.t, 10*time.Second, "nothing is left in the kernel", func() error {
		if left := d.Kernel().Beyond(before); len(left) > 0 {
			return fmt.Errorf("left:\n  %s", strings.Join(left, "\n  "))
		}
		return nil
	})
}

// waitUntilGone gives the kernel a moment and returns what is left then.
func (d *Daemon) waitUntilGone() []string {
	deadline := time.Now().Add(10 * time.Second)
	for {
		left := d.Kernel()
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (d *Daemon) links() ([]string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	var found []string
	for _, link := range all {
		if strings.HasPrefix(link.Name, "nr"+d.tag()) || strings.HasPrefix(link.Name, "nv"+d.tag()) {
			found = append(found, "link "+link.Name)
		}
	}
	return found, nil
}

// tables lists the daemon's nft tables with their rules and sets, so that a rule too many is seen as well.
func (d *Daemon) tables() ([]string, error) {
	conn, err := nftables.New()
	if err != nil {
		return nil, fmt.Errorf("open nftables: %w", err)
	}
	tables, err := conn.ListTables()
	if err != nil {
		return nil, fmt.Errorf("list nft tables: %w", err)
	}
	var found []string
	for _, table := range tables {
		if !strings.HasPrefix(table.Name, "naru-"+d.tag()) {
			continue
		}
		inside, err := tableContents(conn, table)
		if err != nil {
			return nil, fmt.Errorf("list nft table %s: %w", table.Name, err)
		}
		found = append(append(found, "nft table "+table.Name), inside...)
	}
	return found, nil
}

func tableContents(conn *nftables.Conn, table *nftables.Table) ([]string, error) {
	var found []string
	chains, err := conn.ListChainsOfTableFamily(table.Family)
	if err != nil {
		return nil, err
	}
	for _, chain := range chains {
		if chain.Table.Name != table.Name {
			continue
		}
		rules, err := conn.GetRules(table, chain)
		if err != nil {
			return nil, err
		}
		for i := range rules {
			found = append(found, fmt.Sprintf("nft rule %s %s #%d", table.Name, chain.Name, i))
		}
	}
	sets, err := conn.GetSets(table)
	if err != nil {
		return nil, err
	}
	for _, set := range sets {
		elements, err := conn.GetSetElements(set)
		if err != nil {
			return nil, err
		}
		for i := range elements {
			found = append(found, fmt.Sprintf("nft element %s %s #%d", table.Name, set.Name, i))
		}
	}
	return found, nil
}

// mounts lists the mounts of the test's own mount namespace in which the daemon's folders are named.
func (d *Daemon) mounts() ([]string, error) {
	points, err := mountPoints(d.Data, d.Run)
	for i, point := range points {
		points[i] = "mount " + point
	}
	return points, err
}

// mountPoints lists the mount points whose line in mountinfo names one of the folders, in the order they were made.
func mountPoints(folders ...string) ([]string, error) {
	info, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var points []string
	for line := range strings.Lines(string(info)) {
		named := slices.ContainsFunc(folders, func(folder string) bool { return strings.Contains(line, folder) })
		if fields := strings.Fields(line); named && len(fields) > 4 {
			points = append(points, fields[4])
		}
	}
	return points, nil
}

// cgroups lists the daemon's groups in every hierarchy.
func (d *Daemon) cgroups() ([]string, error) {
	paths, err := d.cgroupPaths()
	for i, path := range paths {
		paths[i] = "cgroup " + path
	}
	return paths, err
}

// cgroupPaths lists the daemon's groups, children before their parents.
func (d *Daemon) cgroupPaths() ([]string, error) {
	var paths []string
	for _, pattern := range []string{"/sys/fs/cgroup/naru-", "/sys/fs/cgroup/*/naru-"} {
		roots, err := filepath.Glob(pattern + d.tag() + "*")
		if err != nil {
			return nil, err
		}
		for _, root := range roots {
			if err := appendFolders(&paths, root); err != nil {
				return nil, fmt.Errorf("walk cgroup %s: %w", root, err)
			}
		}
	}
	slices.Reverse(paths)
	return paths, nil
}

// appendFolders adds root and the folders below it; one that goes away meanwhile is no error.
func appendFolders(paths *[]string, root string) error {
	return filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			*paths = append(*paths, path)
		}
		return err
	})
}

// processes lists those that the daemon started, directly or not, apart from the daemon that the test runs.
func (d *Daemon) processes() ([]string, error) {
	pids, err := d.pids()
	var found []string
	for _, pid := range pids {
		name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)) // empty when it has just ended
		found = append(found, fmt.Sprintf("process %d %s", pid, bytes.TrimSpace(name)))
	}
	return found, err
}

func (d *Daemon) pids() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || (d.running() && pid == d.PID()) {
			continue
		}
		if d.started(pid) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// started tells the daemon's processes by the marker in their environment, by its run folder among their arguments, or
// by their cgroup. Zombies are gone as far as naru can do anything about it: their parent may be the test's.
func (d *Daemon) started(pid int) bool {
	dir := fmt.Sprintf("/proc/%d/", pid)
	if stat, err := os.ReadFile(dir + "stat"); err != nil || bytes.Contains(stat, []byte(") Z ")) || bytes.Contains(stat, []byte(") X ")) {
		return false
	}
	for file, word := range map[string]string{"environ": d.marker(), "cmdline": d.Run} {
		words, err := os.ReadFile(dir + file)
		if err == nil && slices.Contains(strings.Split(string(words), "\x00"), word) {
			return true
		}
	}
	groups, err := os.Open(dir + "cgroup")
	if err != nil {
		return false
	}
	defer groups.Close()
	for lines := bufio.NewScanner(groups); lines.Scan(); {
		if strings.Contains(lines.Text(), "/naru-"+d.tag()) {
			return true
		}
	}
	return false
}

// sweep removes what a failed test left, so that the next test meets a clean machine.
func (d *Daemon) sweep() error {
	return errors.Join(d.killAll(), d.unmountAll(), d.removeCgroups(), d.removeLinks(), d.removeTables())
}

func (d *Daemon) killAll() error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		pids, err := d.pids()
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v do not end", pids)
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL) // gone is good
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (d *Daemon) unmountAll() error {
	points, err := mountPoints(d.Data, d.Run)
	slices.Reverse(points)
	for _, point := range points {
		err = errors.Join(err, syscall.Unmount(point, syscall.MNT_DETACH))
	}
	return err
}

func (d *Daemon) removeCgroups() error {
	paths, err := d.cgroupPaths()
	for _, path := range paths {
		if e := syscall.Rmdir(path); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, fmt.Errorf("remove cgroup %s: %w", path, e))
		}
	}
	return err
}

func (d *Daemon) removeLinks() error {
	links, err := d.links()
	for _, link := range links {
		err = errors.Join(err, deleteLink(strings.TrimPrefix(link, "link ")))
	}
	return err
}

func (d *Daemon) removeTables() error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	tables, err := conn.ListTables()
	if err != nil {
		return err
	}
	for _, table := range tables {
		if strings.HasPrefix(table.Name, "naru-"+d.tag()) {
			conn.DelTable(table)
		}
	}
	return conn.Flush()
}

// Bridge is the interface of the daemon's first network.
func (d *Daemon) Bridge() string { return "nr" + d.tag() + "-0" }
