package ociruntime

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/engine/sandbox"
	"naru/naru"
)

// Pause stops every process of a container between two instructions.
func (r *Runtime) Pause(id string) error { return r.freeze(id, specs.StateRunning, true) }

// Resume lets them go on.
func (r *Runtime) Resume(id string) error { return r.freeze(id, statePaused, false) }

func (r *Runtime) freeze(id string, want specs.ContainerState, frozen bool) error {
	c, err := r.loadIn(id, want)
	if err != nil {
		return err
	}
	return sandbox.Freeze(c.CgroupPath, frozen)
}

// loadIn loads a container that is in one of some states.
func (r *Runtime) loadIn(id string, want ...specs.ContainerState) (*record, error) {
	c, err := r.load(id)
	if err != nil {
		return nil, err
	}
	status, err := c.status()
	if err != nil {
		return nil, err
	}
	for _, w := range want {
		if status == w {
			return c, nil
		}
	}
	if status == specs.StateStopped {
		return nil, errNotRunning()
	}
	return nil, naru.Errorf(naru.FailedPrecondition, "container %s is %s, not %s", id, status, want[0])
}

// Update changes the limits of a container; what is nil stays as it is.
func (r *Runtime) Update(id string, res *specs.LinuxResources) error {
	c, err := r.loadIn(id, specs.StateRunning, specs.StateCreated, statePaused)
	if err != nil {
		return err
	}
	return sandbox.Update(c.CgroupPath, res)
}

// Processes are the pids, as the host has them, of all processes of a container.
func (r *Runtime) Processes(id string) ([]int, error) {
	c, err := r.load(id)
	if err != nil {
		return nil, err
	}
	return c.processes()
}

func (c *record) processes() ([]int, error) {
	if c.CgroupPath != "" {
		return sandbox.Processes(c.CgroupPath)
	}
	if ticks, alive := startTicks(c.PID); !alive || ticks != c.StartTicks {
		return nil, nil
	}
	return sandbox.Companions(c.PID)
}

// Event is one line of `events`, as runc prints it.
type Event struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Data *Stats `json:"data,omitempty"`
}

// Stats is the part of runc's statistics that the sandbox measures.
type Stats struct {
	CPU struct {
		Usage struct {
			Total uint64 `json:"total"` // nanoseconds
		} `json:"usage"`
		Throttling struct {
			Time uint64 `json:"throttledTime"`
		} `json:"throttling"`
	} `json:"cpu"`
	Memory struct {
		Usage struct {
			Limit uint64 `json:"limit"`
			Usage uint64 `json:"usage"`
		} `json:"usage"`
	} `json:"memory"`
	Pids struct {
		Current uint64 `json:"current"`
	} `json:"pids"`
}

// Stats measures a container.
func (r *Runtime) Stats(id string) (Event, error) {
	c, err := r.loadIn(id, specs.StateRunning, specs.StateCreated, statePaused)
	if err != nil {
		return Event{}, err
	}
	u, err := sandbox.Stats(c.CgroupPath)
	if err != nil {
		return Event{}, err
	}
	s := &Stats{}
	s.CPU.Usage.Total, s.CPU.Throttling.Time = uint64(u.CPU), uint64(u.CPUThrottled)
	s.Memory.Usage.Usage, s.Memory.Usage.Limit = u.MemoryBytes, u.MemoryLimitBytes
	s.Pids.Current = u.PIDs
	return Event{Type: "stats", ID: id, Data: s}, nil
}
