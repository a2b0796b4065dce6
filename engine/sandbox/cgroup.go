package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/moby/sys/userns"
	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/sandbox/fork"
	"naru/naru"
)

const cgroupMount = "/sys/fs/cgroup"

// kernelPeriod is the period of CPU quotas, in microseconds, that every new group has.
const kernelPeriod = 100_000

// cgroup is a container's group in every hierarchy: one of v2, or several of v1 and perhaps one of v2 beside them.
// The zero value is no group: a container without a CgroupPath stays in its spawner's.
type cgroup struct {
	path    string
	manager cgroups.Manager
	limits  *cgroups.Resources
	devices []specs.LinuxDeviceCgroup
	open    []*os.File // what join opened
}

func newCgroup(path string, l *specs.Linux) (*cgroup, error) {
	var res *specs.LinuxResources
	if l != nil {
		res = l.Resources
	}
	if path == "" {
		return &cgroup{}, refuseLimits(res)
	}
	limits := cgroupResources(res)
	if limits.CpuPeriod == kernelPeriod {
		limits.CpuPeriod = 0 // a new group has it: one update of the scheduler less
	}
	m, err := cgroupManager(path, limits)
	if err != nil {
		return nil, err
	}
	g := &cgroup{path: path, manager: m, limits: limits}
	if res != nil && !userns.RunningInUserNS() { // who may not limit devices cannot open them either
		g.devices = res.Devices
	}
	return g, nil
}

// refuseLimits refuses limits of a container that has no cgroup. Rules for devices are no loss: who has no cgroup is an
// ordinary user, who may not open them.
func refuseLimits(r *specs.LinuxResources) error {
	if !Limits(r) {
		return nil
	}
	return noCgroup("limits (spec field linux.resources) cannot be kept")
}

// Limits says whether there is a limit that takes a cgroup's controllers. Rules for devices take none.
func Limits(r *specs.LinuxResources) bool {
	return !reflect.DeepEqual(cgroupResources(r), cgroupResources(nil))
}

// noCgroup says what an ordinary user cannot have.
func noCgroup(what string) error {
	return naru.Errorf(naru.FailedPrecondition, "%s without a cgroup: an ordinary user has one where cgroup v2 is delegated, as in "+
		"systemd-run --user --scope --property=Delegate=yes", what)
}

// facts tells the plan which cgroups a container can be shown.
func (g *cgroup) facts() facts {
	f := facts{Unified: cgroups.IsCgroup2UnifiedMode(), Cgroups: map[string]string{}, UserNS: userns.RunningInUserNS(), Tasks: len(g.v1())}
	for _, dir := range g.dirs() {
		rel, _ := filepath.Rel(cgroupMount, dir)
		name, _, _ := strings.Cut(rel, "/")
		f.Cgroups[name] = dir
	}
	return f
}

// dirs are the group's folders, each once: v1 hierarchies that hold several controllers are named by each.
func (g *cgroup) dirs() []string {
	if g.manager == nil {
		return nil
	}
	seen := map[string]bool{}
	var dirs []string
	for _, dir := range g.manager.GetPaths() {
		if !seen[dir] {
			seen[dir] = true
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// unified is the group's folder in the hierarchy of cgroup v2; "" where that has none.
func (g *cgroup) unified() string {
	if g.manager == nil {
		return ""
	}
	return g.manager.Path("")
}

// v1 are the group's folders in the hierarchies of cgroup v1.
func (g *cgroup) v1() []string {
	return slices.DeleteFunc(g.dirs(), func(dir string) bool { return dir == g.unified() })
}

// begin makes what of the group its process is born in: all of cgroup v2. A group of that name that exists is an error: it
// would be another's.
func (g *cgroup) begin() error {
	switch {
	case g.manager == nil:
		return nil
	case g.manager.Exists():
		return fmt.Errorf("cgroup %s exists already", g.path)
	case len(g.v1()) == 0:
		return g.create()
	case g.unified() == "":
		return nil
	}
	if err := os.MkdirAll(g.unified(), 0o755); err != nil {
		return fmt.Errorf("create cgroup %s: %w", g.path, err)
	}
	return nil
}

// complete makes the rest of the group, which a process enters when it is there.
func (g *cgroup) complete() error {
	if len(g.v1()) == 0 {
		return nil
	}
	return g.create()
}

// create makes the group's folders, with its limits.
func (g *cgroup) create() (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, g.removeDirs())
		}
	}()
	if err := g.manager.Apply(-1); err != nil {
		return fmt.Errorf("create cgroup %s: %w", g.path, err)
	}
	if err := inheritCPUs(g.manager); err != nil {
		return fmt.Errorf("let cgroups beside %s inherit their processors: %w", g.path, err)
	}
	if err := g.setLimits(); err != nil {
		return fmt.Errorf("limit cgroup %s: %w", g.path, err)
	}
	if err := g.limitDevices(); err != nil {
		return fmt.Errorf("limit devices of cgroup %s: %w", g.path, err)
	}
	return nil
}

// limiting lets one goroutine at a time set limits: the library finds out the names of blkio's files on its first use, in
// variables of its package, without a lock.
var limiting sync.Mutex

func (g *cgroup) setLimits() error {
	limiting.Lock()
	defer limiting.Unlock()
	return g.manager.Set(g.limits)
}

// join opens what a process needs to be born in the group.
func (g *cgroup) join(cmd *fork.Cmd) error {
	if g.unified() == "" {
		return nil
	}
	dir, err := os.Open(g.unified())
	if err != nil {
		return fmt.Errorf("open cgroup %s: %w", g.path, err)
	}
	g.open = append(g.open, dir)
	cmd.CgroupFD = int(dir.Fd())
	return nil
}

// tasks opens what a process needs to enter the group of cgroup v1.
func (g *cgroup) tasks() (files []*os.File, err error) {
	for _, dir := range g.v1() {
		fd, err := openKernelFile(filepath.Join(dir, "tasks"))
		if err != nil {
			closeAll(files)
			return nil, fmt.Errorf("open cgroup %s: %w", g.path, err)
		}
		files = append(files, os.NewFile(uintptr(fd), "tasks"))
	}
	return files, nil
}

// RemoveCgroup kills whatever is left in a cgroup or below it, and removes it. One that is gone is no error.
func RemoveCgroup(ctx context.Context, path string) error {
	g, err := newCgroup(path, nil)
	if err != nil {
		return err
	}
	return g.clear(ctx)
}

// removeWait bounds how long killed processes may take to end.
const removeWait = 5 * time.Second

// removeRetry is the pause before looking again at a group that is busy though its processes have ended: the kernel
// lets go of it a moment later, and tells nobody.
const removeRetry = time.Millisecond

func (g *cgroup) clear(ctx context.Context) error {
	if g.manager == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, removeWait)
	defer cancel()
	for {
		err := g.removeDirs()
		if err == nil {
			return nil
		}
		if err := g.killAll(ctx); err != nil {
			return fmt.Errorf("kill cgroup %s: %w", g.path, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove cgroup %s: %w", g.path, err)
		case <-time.After(removeRetry):
		}
	}
}

func (g *cgroup) removeDirs() error {
	var errs []error
	for _, dir := range g.dirs() {
		errs = append(errs, removeGroupDir(dir))
	}
	return errors.Join(errs...)
}

// removeGroupDir removes a folder of cgroupfs and the groups that the container made below; their files go along.
func removeGroupDir(dir string) error {
	err := unix.Rmdir(dir)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	entries, readErr := os.ReadDir(dir)
	if readErr != nil {
		return readErr
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeGroupDir(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}

// killAll kills every process in the group and waits for their ends. Forks are stopped first where that can be said
// in one write; a frozen process of v1 dies only when it thaws.
func (g *cgroup) killAll(ctx context.Context) error {
	for _, dir := range g.dirs() {
		_ = os.WriteFile(filepath.Join(dir, "pids.max"), []byte("0"), 0) // not every hierarchy has these
		_ = os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
	}
	pids, err := g.members()
	if err != nil {
		return err
	}
	var dying []*os.File
	defer func() { closeAll(dying) }()
	for pid := range pids {
		if f := g.killMember(pid); f != nil {
			dying = append(dying, f)
		}
	}
	for _, dir := range g.dirs() {
		_ = os.WriteFile(filepath.Join(dir, "freezer.state"), []byte("THAWED"), 0) // nor this
	}
	for _, f := range dying {
		if err := awaitExit(ctx, f); err != nil {
			return err
		}
	}
	return nil
}

// killMember kills a process that the group still holds after its pidfd is open: a pid alone could be another's by now.
func (g *cgroup) killMember(pid int) *os.File {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	if now, err := g.members(); err != nil || !now[pid] {
		unix.Close(fd)
		return nil
	}
	_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) // one that has ended needs none, and awaitExit sees the rest
	return os.NewFile(uintptr(fd), "pidfd")
}

func (g *cgroup) members() (map[int]bool, error) {
	all := map[int]bool{}
	for _, dir := range g.dirs() {
		pids, err := cgroups.GetAllPids(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
			return nil, err
		}
		for _, pid := range pids {
			all[pid] = true
		}
	}
	return all, nil
}

// Freeze stops every process of a cgroup between two instructions, or lets them go on.
func Freeze(path string, frozen bool) error {
	g, err := newCgroup(path, nil)
	if err != nil {
		return err
	}
	state := cgroups.Thawed
	if frozen {
		state = cgroups.Frozen
	}
	if g.manager == nil {
		if frozen {
			return noCgroup("a container cannot be paused")
		}
		return nil
	}
	if err := g.manager.Freeze(state); err != nil {
		return fmt.Errorf("freeze cgroup %s: %w", path, err)
	}
	return nil
}

// Frozen says whether a cgroup's processes are stopped by Freeze.
func Frozen(path string) (bool, error) {
	g, err := newCgroup(path, nil)
	if err != nil {
		return false, err
	}
	if g.manager == nil {
		return false, nil
	}
	state, err := g.manager.GetFreezerState()
	if err != nil {
		return false, fmt.Errorf("read the freezer of cgroup %s: %w", path, err)
	}
	return state == cgroups.Frozen, nil
}

// Update changes the limits of a running container's cgroup; fields that are nil stay as they are. Devices cannot
// change.
func Update(path string, res *specs.LinuxResources) error {
	if path == "" {
		return refuseLimits(res)
	}
	limits := cgroupResources(res)
	m, err := cgroupManager(path, limits)
	if err != nil {
		return err
	}
	if err := m.Set(limits); err != nil {
		return fmt.Errorf("limit cgroup %s: %w", path, err)
	}
	return nil
}

// OOMKilled says whether the kernel killed a process of the cgroup because its memory was full. Of a cgroup that is gone
// nobody knows.
func OOMKilled(path string) (bool, error) {
	g, err := newCgroup(path, nil)
	if err != nil {
		return false, err
	}
	if g.manager == nil {
		return false, nil
	}
	n, err := g.manager.OOMKillCount()
	if errors.Is(err, fs.ErrNotExist) { // it went with the machine's power
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read OOM kills of cgroup %s: %w", path, err)
	}
	return n > 0, nil
}

// Usage is what a cgroup uses now, and used so far.
type Usage struct {
	MemoryBytes      uint64 // without page cache that could be dropped at once
	MemoryLimitBytes uint64 // the kernel's "unlimited" is a very large number
	CPU              time.Duration
	CPUThrottled     time.Duration
	PIDs             uint64
}

// Stats reads a cgroup's usage.
func Stats(path string) (Usage, error) {
	g, err := newCgroup(path, nil)
	if err != nil {
		return Usage{}, err
	}
	if g.manager == nil {
		return Usage{}, noCgroup("what a container uses cannot be measured")
	}
	s, err := g.manager.Stats(&cgroups.StatsOptions{Controllers: cgroups.CPU | cgroups.Memory | cgroups.Pids})
	if err != nil {
		return Usage{}, fmt.Errorf("read usage of cgroup %s: %w", path, err)
	}
	inactive := s.MemoryStats.Stats["total_inactive_file"] // v1
	if cgroups.IsCgroup2UnifiedMode() {
		inactive = s.MemoryStats.Stats["inactive_file"]
	}
	return Usage{
		MemoryBytes:      s.MemoryStats.Usage.Usage - min(inactive, s.MemoryStats.Usage.Usage),
		MemoryLimitBytes: s.MemoryStats.Usage.Limit,
		CPU:              time.Duration(s.CpuStats.CpuUsage.TotalUsage),
		CPUThrottled:     time.Duration(s.CpuStats.ThrottlingData.ThrottledTime),
		PIDs:             s.PidsStats.Current,
	}, nil
}
