package naru

import "time"

// BuildID identifies a Build on one machine, in the order of creation.
type BuildID int64

// BuildState is where a Build stands.
//
//	running ─► succeeded
//	   │
//	   └────► failed (the build's own fault, or the daemon died in it)
type BuildState string

// The states of a Build.
const (
	BuildRunning   BuildState = "running"
	BuildSucceeded BuildState = "succeeded"
	BuildFailed    BuildState = "failed"
)

// Build is one making of a service's image.
type Build struct {
	ID BuildID `json:"id"`
	AppEnv
	Service   ServiceName `json:"service"`
	State     BuildState  `json:"state"`
	Image     Digest      `json:"image,omitempty"`
	Error     string      `json:"error,omitempty"`
	CreatedAt time.Time   `json:"created_at"`
	EndedAt   time.Time   `json:"ended_at,omitzero"`
}

// JobSpec asks for a one-off process of a release: the service's image, config and network, another command.
type JobSpec struct {
	AppEnv
	Service ServiceName `json:"service"`
	Command []string    `json:"command,omitempty"` // empty: the service's own
	TTY     bool        `json:"tty,omitempty"`
}
