package naru

// Isolation is where one container differs from the isolation that all have: what it gets of the host beyond that, and
// what it gives up. The zero value is the default. Words are docker's.
type Isolation struct {
	CapAdd        []string          `json:"cap_add,omitempty"`        // such as NET_ADMIN, or ALL
	CapDrop       []string          `json:"cap_drop,omitempty"`       // ALL drops all that are not added
	NewPrivileges bool              `json:"new_privileges,omitempty"` // set-user-id programs and file capabilities count
	Seccomp       string            `json:"seccomp,omitempty"`        // a policy in JSON, or Unconfined; empty: docker's
	AppArmor      string            `json:"apparmor,omitempty"`       // profile
	SELinux       string            `json:"selinux,omitempty"`        // label of the process
	Unmasked      bool              `json:"unmasked,omitempty"`       // no path of /proc and /sys is hidden or read-only
	Devices       []Device          `json:"devices,omitempty"`
	DeviceRules   []string          `json:"device_rules,omitempty"` // such as "c 10:200 rwm"
	Sysctls       map[string]string `json:"sysctls,omitempty"`
	Ulimits       []Ulimit          `json:"ulimits,omitempty"`
	Groups        []string          `json:"groups,omitempty"` // further ones of the process: names of the image's or numbers
	PID           string            `json:"pid,omitempty"`    // namespace: HostNamespace, "container:NAME"; empty: its own
	IPC           string            `json:"ipc,omitempty"`    // likewise
	UTS           string            `json:"uts,omitempty"`    // HostNamespace, or empty: its own
	ShmBytes      int64             `json:"shm_bytes,omitempty"`
	OOMScoreAdj   int               `json:"oom_score_adj,omitempty"` // -1000 to 1000
	Domainname    string            `json:"domainname,omitempty"`
}

// Unconfined is the seccomp policy that allows everything.
const Unconfined = "unconfined"

// HostNamespace asks for the host's own namespace of a kind.
const HostNamespace = "host"

// Device is a device of the host that a container may use, or a folder of them.
type Device struct {
	Host   string `json:"host"`             // path
	Inside string `json:"inside,omitempty"` // path in the container; empty: as on the host
	Access string `json:"access,omitempty"` // of r, w and m (make another node); empty: all
}

// Ulimit is a limit of each process, named as setrlimit's without RLIMIT_, in small letters; -1 is none.
type Ulimit struct {
	Name string `json:"name"`
	Soft int64  `json:"soft"`
	Hard int64  `json:"hard"`
}

// IOLimits bound what a container reads from and writes to block devices.
type IOLimits struct {
	Weight    uint16     `json:"weight,omitempty"` // 10 to 1000; zero: as others
	ReadBps   []IODevice `json:"read_bps,omitempty"`
	WriteBps  []IODevice `json:"write_bps,omitempty"`
	ReadIOPS  []IODevice `json:"read_iops,omitempty"`
	WriteIOPS []IODevice `json:"write_iops,omitempty"`
}

// None reports whether nothing is limited.
func (l IOLimits) None() bool {
	return l.Weight == 0 && len(l.ReadBps)+len(l.WriteBps)+len(l.ReadIOPS)+len(l.WriteIOPS) == 0
}

// IODevice is the limit of one block device, a second.
type IODevice struct {
	Path string `json:"path"` // on the host
	Rate uint64 `json:"rate"`
}
