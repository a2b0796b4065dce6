package naru

import (
	"net/netip"
	"time"
)

// InstanceID is the id of an instance, and of the container that it is.
type InstanceID string

// InstanceState is where an Instance stands.
//
//	starting ─► running ─► ready ◄─► unready
//	   │           │         │          │
//	   └───────────┴────┬────┴──────────┘
//	                    ├─► stopping ─► (gone)
//	                    └─► backoff ─► starting   (it died; it waits for its next start)
type InstanceState string

// The states of an Instance.
const (
	InstanceStarting InstanceState = "starting"
	InstanceRunning  InstanceState = "running" // up, not yet known to be ready
	InstanceReady    InstanceState = "ready"   // may get traffic
	InstanceUnready  InstanceState = "unready" // was ready, its health check fails
	InstanceStopping InstanceState = "stopping"
	InstanceBackoff  InstanceState = "backoff"
)

// Instance is one running container of a Service of a Release.
type Instance struct {
	ID InstanceID `json:"id"`
	AppEnv
	Service   ServiceName   `json:"service"`
	Set       SetKey        `json:"set"`
	Release   ReleaseNumber `json:"release"` // the release that first wanted its set
	State     InstanceState `json:"state"`
	Addr      netip.Addr    `json:"addr,omitzero"`
	PID       int           `json:"pid,omitempty"` // of process 1, seen from the host
	Restarts  int           `json:"restarts"`
	Reason    string        `json:"reason,omitempty"` // why it is not ready, for people
	StartedAt time.Time     `json:"started_at,omitzero"`
}
