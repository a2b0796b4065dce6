package api

import (
	"time"

	"naru/naru"
)

// ContainerUpdate changes a container; what is zero stays as it is.
type ContainerUpdate struct {
	Limits  naru.Limits `json:"limits,omitzero"` // but of the disk
	Restart *string     `json:"restart,omitempty"`
}

// AttachRequest says what the client brings to a container.
type AttachRequest struct {
	Stdin bool  `json:"stdin,omitempty"` // FrameStdin will come
	Size  *Size `json:"size,omitempty"`
}

// LabelApp is on every container that is an instance of an app: it is the app's, not people's.
const LabelApp = "naru.app"

// Usage is what a running container uses at a time, and has used so far.
type Usage struct {
	ID               string        `json:"id"`
	Name             string        `json:"name"`
	At               time.Time     `json:"at"`
	CPU              time.Duration `json:"cpu"` // of all cores, so far
	MemoryBytes      uint64        `json:"memory_bytes"`
	MemoryLimitBytes uint64        `json:"memory_limit_bytes,omitempty"` // zero: none
	PIDs             uint64        `json:"pids"`
	Received         uint64        `json:"received"` // bytes on its network, so far
	Sent             uint64        `json:"sent"`
}

// Process is one process of a container.
type Process struct {
	PID     int           `json:"pid"`    // seen from the host
	Inside  int           `json:"inside"` // seen from the container
	User    int           `json:"user"`
	Memory  int64         `json:"memory"`
	CPU     time.Duration `json:"cpu"`
	Command string        `json:"command"`
}

// Removed is what a prune took away.
type Removed struct {
	Containers []string `json:"containers,omitempty"`
	Volumes    []string `json:"volumes,omitempty"`
	Images     []string `json:"images,omitempty"`
	Freed      int64    `json:"freed,omitempty"` // bytes
}
