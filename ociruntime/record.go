package ociruntime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/sandbox"
	"naru/naru"
)

// The files of a container's folder.
const (
	recordName = "state.json"
	gateName   = "start.sock" // there until the container is started
)

// statePaused is runc's word for a container whose processes are frozen; the spec lets runtimes have more states.
const statePaused specs.ContainerState = "paused"

// record is what is known of a container from its creation on. Everything that changes later is read from the kernel,
// or is the gate's being there: a crash cannot leave it wrong.
//
//	creating ──► created ──► running ◄──► paused
//	                │           │
//	                └───────────┴──────► stopped ──► deleted: no folder
type record struct {
	ID          string            `json:"id"`
	Bundle      string            `json:"bundle"`
	PID         int               `json:"init_process_pid"`
	StartTicks  uint64            `json:"init_process_start"` // field 22 of /proc/PID/stat: tells a pid's second owner
	Created     time.Time         `json:"created"`
	CgroupPath  string            `json:"cgroup_path"`
	Annotations map[string]string `json:"annotations,omitempty"`
	KeepKeyring bool              `json:"keep_keyring,omitempty"`
	Spec        *specs.Spec       `json:"config"`

	dir   string
	gated bool // its init waits for Start when it has been created
}

// State is what `state` and `list` print: the spec's, with runc's additions.
type State struct {
	specs.State
	PID     int       `json:"pid"` // 0 when there is no process
	Rootfs  string    `json:"rootfs"`
	Created time.Time `json:"created"`
	Owner   string    `json:"owner"`
}

func (c *record) save() error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(c.dir, recordName), b, 0o600)
}

func (r *Runtime) load(id string) (*record, error) {
	dir, err := r.dir(id)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(dir, recordName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, naru.Errorf(naru.NotFound, "container does not exist: %s", id)
	}
	if err != nil {
		return nil, fmt.Errorf("read the state of %s: %w", id, err)
	}
	c := &record{dir: dir}
	if err := json.Unmarshal(b, c); err != nil || c.Spec == nil {
		return nil, naru.Errorf(naru.Internal, "the state of %s is damaged: %v", id, err)
	}
	return c, nil
}

// status asks the kernel how the container is.
func (c *record) status() (specs.ContainerState, error) {
	if ticks, alive := startTicks(c.PID); !alive || ticks != c.StartTicks {
		return specs.StateStopped, nil
	}
	if _, err := os.Lstat(filepath.Join(c.dir, gateName)); err == nil {
		return specs.StateCreated, nil
	}
	frozen, err := sandbox.Frozen(c.CgroupPath)
	if err != nil {
		return "", err
	}
	if frozen {
		return statePaused, nil
	}
	return specs.StateRunning, nil
}

// startTicks reads when a process started; a zombie is not alive.
func startTicks(pid int) (ticks uint64, alive bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, false
	}
	_, rest, _ := bytes.Cut(b[bytes.LastIndexByte(b, ')')+1:], []byte(" ")) // the name may contain anything
	fields := bytes.Fields(rest)
	if len(fields) < 20 || fields[0][0] == 'Z' || fields[0][0] == 'X' {
		return 0, false
	}
	ticks, err = strconv.ParseUint(string(fields[19]), 10, 64)
	return ticks, err == nil
}

// state is the spec's state of a container that is in a status.
func (c *record) state(status specs.ContainerState) specs.State {
	s := specs.State{Version: specs.Version, ID: c.ID, Status: status, Pid: c.PID, Bundle: c.Bundle, Annotations: c.Annotations}
	if status == specs.StateStopped {
		s.Pid = 0
	}
	return s
}

// State tells how a container is.
func (r *Runtime) State(id string) (State, error) {
	c, err := r.load(id)
	if err != nil {
		return State{}, err
	}
	status, err := c.status()
	if err != nil {
		return State{}, err
	}
	s := c.state(status)
	return State{State: s, PID: s.Pid, Rootfs: c.Spec.Root.Path, Created: c.Created, Owner: owner(c.dir)}, nil
}

// owner names whose a folder is.
func owner(dir string) string {
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil || st.Uid == 0 {
		return "root"
	}
	uid := strconv.Itoa(int(st.Uid))
	if u, err := user.LookupId(uid); err == nil {
		return u.Username
	}
	return uid
}

// List tells of all containers, sorted by id. One that is being deleted meanwhile is left out.
func (r *Runtime) List() ([]State, error) {
	entries, err := os.ReadDir(r.Root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	all := []State{}
	for _, e := range entries {
		s, err := r.State(e.Name())
		switch naru.CodeOf(err) {
		case naru.NotFound, naru.InvalidArgument:
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// pidfd opens the container's first process, or fails with ESRCH when it has ended.
func (c *record) pidfd() (*os.File, error) {
	fd, err := unix.PidfdOpen(c.PID, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	if ticks, alive := startTicks(c.PID); !alive || ticks != c.StartTicks {
		f.Close()
		return nil, unix.ESRCH
	}
	return f, nil
}
