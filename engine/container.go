package engine

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"naru/naru"
)

// State is where a container stands.
//
//	created ─► starting ─► running ─► exited ─► starting …
//	              │           │          ▲
//	              ├───────────┼──────────┤ (it could not be started)
//	              ▼           ▼          │
//	             restarting ─────────────┘ (stopped while it waited; else starting again)
//
// restarting is the wait before a start that the restart policy asks for.
// starting is written down before any process exists, so that a daemon that dies in a start knows what to clean.
type State string

// The states of a container. A removed container is gone from the table.
const (
	Created    State = "created"
	Starting   State = "starting"
	Running    State = "running"
	Restarting State = "restarting"
	Exited     State = "exited"
)

var stateNext = map[State][]State{
	Created:    {Starting},
	Starting:   {Running, Restarting, Exited},
	Running:    {Restarting, Exited},
	Restarting: {Starting, Exited},
	Exited:     {Starting},
}

// ContainerSpec is what a container is asked to be. Empty fields mean what the image says.
type ContainerSpec struct {
	Name       string               `json:"name,omitempty"` // unique; empty: made from the id
	Image      string               `json:"image"`          // a name or a digest
	Entrypoint []string             `json:"entrypoint,omitempty"`
	Command    []string             `json:"command,omitempty"`
	Env        []string             `json:"env,omitempty"` // NAME=value; wins over the image's
	User       string               `json:"user,omitempty"`
	WorkingDir string               `json:"working_dir,omitempty"`
	Hostname   string               `json:"hostname,omitempty"`    // empty: the short id
	Network    string               `json:"network,omitempty"`     // empty: DefaultNetwork; NoNetwork, HostNetwork, "container:NAME"; or the name of a network
	Aliases    []string             `json:"aliases,omitempty"`     // more names under which its network knows it
	IP         netip.Addr           `json:"ip,omitzero"`           // on its network; zero: the next free one
	MAC        string               `json:"mac,omitempty"`         // on its network; empty: derived from the address
	Networks   []Join               `json:"networks,omitempty"`    // further ones
	DNS        []netip.Addr         `json:"dns,omitempty"`         // asked for names that are no container's; none: the host's own
	Hosts      []string             `json:"hosts,omitempty"`       // more of /etc/hosts: NAME:ADDRESS
	DNSSearch  []string             `json:"dns_search,omitempty"`  // domains; none: the host's; ".": no domain
	DNSOptions []string             `json:"dns_options,omitempty"` // of resolv.conf
	Ports      []naru.PublishedPort `json:"ports,omitempty"`
	PublishAll bool                 `json:"publish_all,omitempty"` // what the image and Expose name, at ports that are chosen
	Expose     []naru.PublishedPort `json:"expose,omitempty"`
	Mounts     []Mount              `json:"mounts,omitempty"`
	Tmpfs      []string             `json:"tmpfs,omitempty"`
	ReadOnly   bool                 `json:"read_only,omitempty"` // the root filesystem
	Init       bool                 `json:"init,omitempty"`      // a reaper as process 1
	TTY        bool                 `json:"tty,omitempty"`
	OpenStdin  bool                 `json:"open_stdin,omitempty"`
	Limits     naru.Limits          `json:"limits,omitzero"`
	IO         naru.IOLimits        `json:"io,omitzero"`
	Isolation  naru.Isolation       `json:"isolation,omitzero"`
	Logs       naru.LogLimits       `json:"logs,omitzero"`
	Labels     map[string]string    `json:"labels,omitempty"`
	StopSignal string               `json:"stop_signal,omitempty"` // empty: the image's, else SIGTERM
	StopGrace  time.Duration        `json:"stop_grace,omitempty"`  // zero: naru.DefaultStopGrace
	HostUserNS bool                 `json:"host_user_ns,omitempty"`
	AutoRemove bool                 `json:"auto_remove,omitempty"` // when it exits
	Restart    RestartPolicy        `json:"restart,omitzero"`
	Health     *naru.HealthCheck    `json:"health,omitempty"`    // what it leaves out the image says; of a container: complete, nil when there is none
	NoHealth   bool                 `json:"no_health,omitempty"` // not even the image's
}

// DefaultNetwork is the network of containers that name none.
const DefaultNetwork = "bridge"

// NoNetwork asks for a network namespace with nothing but loopback.
const NoNetwork = "none"

// Mount puts a named volume or a folder of the host into a container.
type Mount struct {
	Volume   string `json:"volume,omitempty"`
	Subpath  string `json:"subpath,omitempty"` // folder or file of the volume; empty: all of it
	HostPath string `json:"host_path,omitempty"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"read_only,omitempty"`

	Limit naru.DiskLimit `json:"limit,omitzero"` // of the volume from now on; zero: as it is
}

// Container is one container, running or not.
type Container struct {
	ID         string               `json:"id"`
	Name       string               `json:"name"`
	Spec       ContainerSpec        `json:"spec"`
	Image      naru.Digest          `json:"image"`
	State      State                `json:"state"`
	PID        int                  `json:"pid,omitempty"` // of process 1, seen from the host; zero unless running
	Addr       netip.Addr           `json:"addr,omitzero"` // on its first network
	Endpoints  []Endpoint           `json:"endpoints,omitempty"`
	Ports      []naru.PublishedPort `json:"ports,omitempty"`   // with the ports that were chosen for it
	IDBase     uint32               `json:"id_base,omitempty"` // first id of its range in the host's user namespace
	ExitCode   int                  `json:"exit_code"`         // 128+n when signal n killed it
	Signal     int                  `json:"signal,omitempty"`  // that ended it; zero when it exited by itself
	OOMKilled  bool                 `json:"oom_killed,omitempty"`
	Lost       bool                 `json:"lost,omitempty"`    // nobody saw it end: the machine or the keeper did
	Stopped    bool                 `json:"stopped,omitempty"` // it ended because somebody asked for it
	Paused     bool                 `json:"paused,omitempty"`
	Health     *Health              `json:"health,omitempty"`    // never changed, always replaced; nil without a health check
	Error      string               `json:"error,omitempty"`     // why it could not be started
	Restarts   int                  `json:"restarts,omitempty"`  // by its policy, since somebody started it
	Backoff    time.Duration        `json:"backoff,omitempty"`   // the last wait before a restart
	RestartAt  time.Time            `json:"restart_at,omitzero"` // while restarting
	CreatedAt  time.Time            `json:"created_at"`
	StartedAt  time.Time            `json:"started_at,omitzero"`
	FinishedAt time.Time            `json:"finished_at,omitzero"`
}

// ShortID is the id's first twelve digits, which people read and type.
func (c Container) ShortID() string { return c.ID[:12] }

// entry is a container and what this daemon alone knows of it.
type entry struct {
	op sync.Mutex // one operation on the container at a time

	c        Container              // written with op and Engine.mu held, so that to read it either will do
	done     chan struct{}          // closed when it has exited, its policy starts it no more, and that is persisted; nil before its first start
	pidfd    *os.File               // of process 1; nil unless running
	stdin    *os.File               // the writing end, with OpenStdin
	tty      *os.File               // the master of its terminal, with TTY; the keeper alone reads from it
	health   *healthWatch           // nil when nobody asks
	aliases  []string               // further names, from SetAliases
	forwards map[string]*forwarding // its log on the way out, by destination
	holds    int                    // who reads its output; a removal on exit waits for them
	closed   bool                   // being removed on exit: nobody may begin to read any more
	queued   bool                   // a restart is under way
	gone     bool                   // removed
	fault    error                  // why its end cannot be written down, which is tried again until it can
}

// renew makes done a channel that is open. The caller holds Engine.mu.
func (en *entry) renew() {
	if en.done == nil || en.ended() {
		en.done = make(chan struct{})
	}
}

// end tells who waits that the container has exited for good. The caller holds Engine.mu.
func (en *entry) end() {
	if en.done != nil && !en.ended() {
		close(en.done)
	}
}

func (en *entry) ended() bool {
	select {
	case <-en.done:
		return true
	default:
		return false
	}
}

// to changes the container's state, or says which change is not one.
func (c *Container) to(next State) error {
	if !slices.Contains(stateNext[c.State], next) {
		return naru.Errorf(naru.FailedPrecondition, "container %s is %s: it cannot become %s", c.Name, c.State, next)
	}
	c.State = next
	return nil
}

// idRange is the size of a container's range of user and group ids.
const idRange = 65536

// The ranges lie above what useradd and /etc/subuid hand out, and below the ids that programs take for negative.
const (
	firstIDBase = 0x40000000
	idRanges    = 0x3000
)

// pickIDBase chooses a range of ids for a container: by its id, so that two engines on a machine rarely meet, and the
// next free one when it is taken here.
func pickIDBase(id string, taken func(uint32) bool) (uint32, error) {
	var h uint32 = 2166136261 // FNV-1a
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	for i := range uint32(idRanges) {
		base := firstIDBase + (h+i)%idRanges*idRange
		if !taken(base) {
			return base, nil
		}
	}
	return 0, fmt.Errorf("all %d ranges of user ids are in use: remove containers", idRanges)
}
