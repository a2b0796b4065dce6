package api

import (
	"net/netip"
	"time"

	"naru/naru"
)

// VersionInfo answers GET /v1/version.
type VersionInfo struct {
	Version string `json:"version"` // of the daemon's program
	API     string `json:"api"`
	PID     int    `json:"pid"`
}

// App is an app in an environment, as a list shows it.
type App struct {
	naru.AppEnv
	Release  naru.ReleaseNumber `json:"release"` // the newest that was minted
	Rollout  naru.RolloutState  `json:"rollout,omitempty"`
	Ready    int                `json:"ready"` // instances
	Wanted   int                `json:"wanted"`
	URLs     []string           `json:"urls,omitempty"`
	Deployed time.Time          `json:"deployed_at"`
}

// UpRequest asks to bring an app to what its folder says.
type UpRequest struct {
	Spec    naru.AppSpec `json:"spec"`
	Session string       `json:"session,omitempty"` // the build session that serves the folder; needed when something is built
	Reason  string       `json:"reason,omitempty"`  // default "up"
	Detach  bool         `json:"detach,omitempty"`  // answer when the release is minted, do not wait for its rollout
}

// ScaleRequest asks for numbers of instances.
type ScaleRequest struct {
	Services map[naru.ServiceName]int `json:"services"`
	Detach   bool                     `json:"detach,omitempty"`
}

// ConfigChange asks for a new version of an app's config.
type ConfigChange struct {
	Set    map[string]string `json:"set,omitempty"`
	Unset  []string          `json:"unset,omitempty"`
	Detach bool              `json:"detach,omitempty"`
}

// RollbackRequest asks for a copy of an earlier release.
type RollbackRequest struct {
	To     naru.ReleaseNumber `json:"to,omitempty"` // 0: the one before the current
	Detach bool               `json:"detach,omitempty"`
}

// DownRequest asks to stop an app.
type DownRequest struct {
	Volumes bool `json:"volumes,omitempty"` // remove its named volumes, with their data
	Detach  bool `json:"detach,omitempty"`
}

// RolloutStatus answers GET /v1/apps/{app}/rollout.
type RolloutStatus struct {
	naru.Rollout
	Instances []naru.Instance `json:"instances"`
}

// LogEntry is one line, or a piece of one, that a process wrote.
type LogEntry struct {
	Time     time.Time        `json:"time"`
	Service  naru.ServiceName `json:"service,omitempty"`
	Instance naru.InstanceID  `json:"instance,omitempty"`
	Stream   string           `json:"stream"`          // "stdout" or "stderr"
	Begin    bool             `json:"begin,omitempty"` // it begins a line
	Data     []byte           `json:"data"`
	Error    *Error           `json:"error,omitempty"` // set only in the last entry of a stream that failed
}

// LogOptions selects entries; they travel as query parameters.
type LogOptions struct {
	Service naru.ServiceName // of an app; empty: all
	Follow  bool
	Tail    int // last entries of each instance; negative: all
	Since   time.Time
	Until   time.Time
}

// ExecRequest asks for another process in an instance or a container.
type ExecRequest struct {
	Service    naru.ServiceName `json:"service,omitempty"`  // of an app: in its first ready instance, or
	Instance   naru.InstanceID  `json:"instance,omitempty"` // in the one whose id begins so
	Command    []string         `json:"command"`
	Env        []string         `json:"env,omitempty"`
	User       string           `json:"user,omitempty"`
	WorkingDir string           `json:"working_dir,omitempty"`
	TTY        bool             `json:"tty,omitempty"`
	Stdin      bool             `json:"stdin,omitempty"`  // FrameStdin will come
	Detach     bool             `json:"detach,omitempty"` // of a container: answer when it runs, and let it run on
	Size       *Size            `json:"size,omitempty"`
}

// RunRequest asks for a one-off process of an app's current release.
type RunRequest struct {
	Service naru.ServiceName `json:"service"`
	Command []string         `json:"command,omitempty"`
	TTY     bool             `json:"tty,omitempty"`
	Stdin   bool             `json:"stdin,omitempty"`
	Size    *Size            `json:"size,omitempty"`
}

// ContainerSpec describes a container of the engine; its fields are named and mean as Docker's.
type ContainerSpec struct {
	Name       string   `json:"name,omitempty"`
	Image      string   `json:"image"`
	Entrypoint []string `json:"entrypoint,omitempty"`
	Command    []string `json:"command,omitempty"`
	Env        []string `json:"env,omitempty"`
	User       string   `json:"user,omitempty"`
	WorkingDir string   `json:"working_dir,omitempty"`
	Hostname   string   `json:"hostname,omitempty"`
	Network    string   `json:"network,omitempty"`
	NetworkOptions
	Ports      []naru.PublishedPort `json:"ports,omitempty"`
	Mounts     []Mount              `json:"mounts,omitempty"`
	Tmpfs      []string             `json:"tmpfs,omitempty"`
	ReadOnly   bool                 `json:"read_only,omitempty"`
	Init       bool                 `json:"init,omitempty"`
	TTY        bool                 `json:"tty,omitempty"`
	OpenStdin  bool                 `json:"open_stdin,omitempty"`
	Limits     naru.Limits          `json:"limits,omitzero"`
	IO         naru.IOLimits        `json:"io,omitzero"`
	Isolation  naru.Isolation       `json:"isolation,omitzero"`
	Logs       naru.LogLimits       `json:"logs,omitzero"`
	Labels     map[string]string    `json:"labels,omitempty"`
	StopSignal string               `json:"stop_signal,omitempty"`
	StopGrace  time.Duration        `json:"stop_grace,omitempty"`
	HostUserNS bool                 `json:"host_user_ns,omitempty"`
	AutoRemove bool                 `json:"auto_remove,omitempty"`
	Restart    string               `json:"restart,omitempty"`   // no, on-failure[:N], always or unless-stopped
	Health     *naru.HealthCheck    `json:"health,omitempty"`    // what it leaves out the image says
	NoHealth   bool                 `json:"no_health,omitempty"` // not even the image's
}

// Mount is a volume or a folder of the host in a container.
type Mount struct {
	naru.VolumeMount
	Subpath string `json:"subpath,omitempty"` // of the volume
}

// ContainerSummary is what a list says of a container: who it is and how it is. A thousand of them are read in passing.
type ContainerSummary struct {
	ID          string               `json:"id"`
	Name        string               `json:"name"`
	Image       string               `json:"image"` // as it was asked for
	ImageDigest naru.Digest          `json:"image_digest"`
	Labels      map[string]string    `json:"labels,omitempty"`
	State       string               `json:"state"` // created, starting, running, paused, restarting or exited
	PID         int                  `json:"pid,omitempty"`
	Addr        netip.Addr           `json:"addr,omitzero"`
	Published   []naru.PublishedPort `json:"published,omitempty"` // of the host: those that it got at its start, before it those that it asks for
	ExitCode    int                  `json:"exit_code"`
	Signal      int                  `json:"signal,omitempty"` // that ended it
	OOMKilled   bool                 `json:"oom_killed,omitempty"`
	Reason      string               `json:"reason,omitempty"` // why it ended, in words
	Error       string               `json:"error,omitempty"`  // why it could not be started
	Health      *Health              `json:"health,omitempty"` // nil without a health check; in a list without what it answered
	Restarts    int                  `json:"restarts,omitempty"`
	RestartAt   time.Time            `json:"restart_at,omitzero"`
	CreatedAt   time.Time            `json:"created_at"`
	StartedAt   time.Time            `json:"started_at,omitzero"`
	FinishedAt  time.Time            `json:"finished_at,omitzero"`
}

// Container is all that there is to say of a container of the engine.
type Container struct {
	ContainerSummary
	Spec      ContainerSpec     `json:"spec"`
	Endpoints []NetworkEndpoint `json:"endpoints,omitempty"` // its places on networks, once it has been started
}

// Health is how a container has answered its health check since its start.
type Health struct {
	Status  string         `json:"status"`         // starting, healthy or unhealthy
	Failing int            `json:"failing_streak"` // failures in a row that count
	Answers []HealthAnswer `json:"log,omitempty"`  // the last few, the oldest first
}

// HealthAnswer is what came of asking a container once whether it is well.
type HealthAnswer struct {
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	ExitCode int       `json:"exit_code"` // 0: it is well; -1: no answer in time
	Output   string    `json:"output"`
}

// ContainerRun asks to create a container and start it, in one step. Upgraded to frames it is attached to until it ends;
// otherwise the answer is the Container once it runs.
type ContainerRun struct {
	Spec ContainerSpec `json:"spec"`
	Size *Size         `json:"size,omitempty"`
}

// Image is an image of the engine's store.
type Image struct {
	Digest    naru.Digest  `json:"digest"` // of the manifest
	Names     []string     `json:"names"`
	Size      int64        `json:"size"`
	CreatedAt time.Time    `json:"created_at,omitzero"`
	Config    *ImageConfig `json:"config,omitempty"`
}

// ImageConfig is what an image says about its process.
type ImageConfig struct {
	Entrypoint   []string `json:"entrypoint,omitempty"`
	Command      []string `json:"command,omitempty"`
	Env          []string `json:"env,omitempty"`
	User         string   `json:"user,omitempty"`
	WorkingDir   string   `json:"working_dir,omitempty"`
	ExposedPorts []string `json:"exposed_ports,omitempty"`
	Volumes      []string `json:"volumes,omitempty"`
	StopSignal   string   `json:"stop_signal,omitempty"`
}
