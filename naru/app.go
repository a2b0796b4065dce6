package naru

import (
	"net/netip"
	"time"
)

// AppSpec is an app file, read: what the source hop hands on. Services are sorted by name.
type AppSpec struct {
	App      AppName       `json:"app"`
	Services []ServiceSpec `json:"services"`
}

// ServiceSpec describes one service (process type) of an app. Zero values mean "as the image says", or the default
// that the field's comment names.
type ServiceSpec struct {
	Name ServiceName `json:"name"`

	Image string     `json:"image,omitempty"` // reference to run as it is; empty when Build is set
	Build *BuildSpec `json:"build,omitempty"`

	Entrypoint  []string          `json:"entrypoint,omitempty"`
	Command     []string          `json:"command,omitempty"`
	Environment map[string]string `json:"environment,omitempty"`
	User        string            `json:"user,omitempty"`
	WorkingDir  string            `json:"working_dir,omitempty"`
	ReadOnly    bool              `json:"read_only,omitempty"` // root filesystem
	Init        bool              `json:"init,omitempty"`      // a reaper as process 1

	Volumes []VolumeMount   `json:"volumes,omitempty"`
	Tmpfs   []string        `json:"tmpfs,omitempty"`
	Ports   []PublishedPort `json:"ports,omitempty"` // on the host, by NAPT
	Limits  Limits          `json:"limits,omitzero"`

	DependsOn []ServiceName `json:"depends_on,omitempty"`
	Restart   RestartPolicy `json:"restart,omitempty"` // default RestartAlways: a service is meant to run
	Scale     int           `json:"scale"`             // instances wanted when nobody scaled by hand

	StopSignal string        `json:"stop_signal,omitempty"` // default: the image's, else SIGTERM
	StopGrace  time.Duration `json:"stop_grace,omitempty"`  // between stop signal and SIGKILL; default DefaultStopGrace

	Port     uint16       `json:"port,omitempty"`      // where it listens; given to it as PORT; 0: the image's EXPOSE, else none
	Health   *HealthCheck `json:"health,omitempty"`    // nil: the image's HEALTHCHECK, else none
	NoHealth bool         `json:"no_health,omitempty"` // not even the image's
	Routes   []RouteSpec  `json:"routes,omitempty"`
	Rollout  RolloutSpec  `json:"rollout,omitzero"`
}

// DefaultStopGrace is Compose's default stop_grace_period.
const DefaultStopGrace = 10 * time.Second

// BuildSpec says how a service's image is made.
type BuildSpec struct {
	Kind       BuildKind         `json:"kind"`
	Context    string            `json:"context"`              // folder, relative to the app's
	Dockerfile string            `json:"dockerfile,omitempty"` // path relative to Context, for Dockerfile builds
	Target     string            `json:"target,omitempty"`     // stage
	Args       map[string]string `json:"args,omitempty"`
	GoPackage  string            `json:"go_package,omitempty"` // import path or ./folder of the main package, for Go builds
}

// BuildKind is the way a folder becomes an image.
type BuildKind string

// The kinds of build.
const (
	BuildDockerfile BuildKind = "dockerfile"
	BuildGo         BuildKind = "go" // a Go module, compiled static onto an empty image
)

// VolumeMount puts a named volume, or a folder of the host, into a container.
type VolumeMount struct {
	Volume   VolumeName `json:"volume,omitempty"` // a named volume of the app, or
	HostPath string     `json:"host_path,omitempty"`
	Target   string     `json:"target"` // absolute, in the container
	ReadOnly bool       `json:"read_only,omitempty"`
	Limit    DiskLimit  `json:"limit,omitzero"` // of a named volume; zero: as it is
}

// PublishedPort is a port of the host that leads to a port of the service.
type PublishedPort struct {
	HostIP   netip.Addr `json:"host_ip,omitzero"` // zero: every address of the host
	HostPort uint16     `json:"host_port"`
	Port     uint16     `json:"port"`     // in the container
	Protocol string     `json:"protocol"` // "tcp" or "udp"
}

// Limits bound what one container may use; zero means no limit.
type Limits struct {
	MemoryBytes int64     `json:"memory_bytes,omitempty"`
	NanoCPUs    int64     `json:"nano_cpus,omitempty"` // 1e9 is one core
	PIDs        int64     `json:"pids,omitempty"`
	Disk        DiskLimit `json:"disk,omitzero"` // what it writes over its image

	MemoryReservation int64  `json:"memory_reservation,omitempty"` // bytes it is pressed down to when the machine is short of memory
	MemorySwap        int64  `json:"memory_swap,omitempty"`        // bytes of memory and swap together; -1: no limit of swap
	CPUShares         int64  `json:"cpu_shares,omitempty"`         // weight among others, of which each has 1024
	CPUs              string `json:"cpus,omitempty"`               // the cores it may use, such as 0-2,7
	MemoryNodes       string `json:"memory_nodes,omitempty"`       // likewise, of memory
}

// RestartPolicy says when a dead container is started again.
type RestartPolicy string

// The restart policies, named as Compose and Docker name them.
const (
	RestartAlways        RestartPolicy = "always"
	RestartOnFailure     RestartPolicy = "on-failure"
	RestartUnlessStopped RestartPolicy = "unless-stopped"
	RestartNo            RestartPolicy = "no"
)

// HealthCheck tells a well container from one that is not: by a Command, by a GET of HTTPPath, or, with neither, by
// whether Port accepts a connection. Of an app's service it decides which instances are ready; without any check an
// instance is ready when the service's Port accepts a connection, or, without a Port, when it has run for a second.
type HealthCheck struct {
	Command       []string      `json:"command,omitempty"`   // exit status 0 means healthy
	HTTPPath      string        `json:"http_path,omitempty"` // GET on Port; 2xx and 3xx mean healthy
	Port          uint16        `json:"port,omitempty"`      // zero: the service's
	Interval      time.Duration `json:"interval"`
	Timeout       time.Duration `json:"timeout"`
	Retries       int           `json:"retries"`
	StartPeriod   time.Duration `json:"start_period"`             // failures in it do not count until the first success
	StartInterval time.Duration `json:"start_interval,omitempty"` // in the start period; of a service: zero, it is asked eagerly
}

// RouteSpec asks for requests of a host and path prefix. An empty Host means the app's own host.
type RouteSpec struct {
	Host string `json:"host,omitempty"`
	Path string `json:"path"` // prefix on segment borders, "/" for all
}

// Strategy is the way a Rollout moves traffic.
type Strategy string

// The strategies.
const (
	BlueGreen Strategy = "blue-green" // start the new beside the old, switch all traffic at once
	Canary    Strategy = "canary"     // give the new a growing share
	Recreate  Strategy = "recreate"   // stop the old, then start the new: a gap, but one writer of the service's data
)

// RolloutSpec says how a service's new releases take over. The zero value is blue-green; the source hop says Recreate for
// a service that can write to a volume and does not say itself that old and new may overlap. That keeps the releases of one
// service apart, and nothing else: not two services that share a volume, and no job from its service.
type RolloutSpec struct {
	Strategy     Strategy      `json:"strategy,omitempty"`
	Steps        []CanaryStep  `json:"steps,omitempty"`         // for Canary
	ReadyTimeout time.Duration `json:"ready_timeout,omitempty"` // default DefaultReadyTimeout
}

// DefaultReadyTimeout is how long a new instance may take until it is ready.
const DefaultReadyTimeout = 60 * time.Second

// CanaryStep gives the new release Weight percent of the traffic for Pause.
type CanaryStep struct {
	Weight int           `json:"weight"` // 1 to 99
	Pause  time.Duration `json:"pause"`
}

// Overlaps reports whether both ports cannot be published at the same time.
func (p PublishedPort) Overlaps(o PublishedPort) bool {
	sameAddr := !p.HostIP.IsValid() || !o.HostIP.IsValid() || p.HostIP.IsUnspecified() || o.HostIP.IsUnspecified() || p.HostIP == o.HostIP
	return p.HostPort == o.HostPort && p.Protocol == o.Protocol && sameAddr
}
