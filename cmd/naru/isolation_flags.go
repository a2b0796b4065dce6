package main

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/pflag"

	"naru/api"
	"naru/naru"
)

// isolationFlags are those of container run that say what it gets of the host, or gives up.
type isolationFlags struct {
	devices, security, sysctls, ulimits []string
	shm, userns                         string
	pid, ipc, uts, cgroupns             string
	asked                               naru.Isolation
}

func (f *isolationFlags) register(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.asked.CapAdd, "cap-add", nil, "`capability` it has beside the usual ones, such as NET_ADMIN, or ALL")
	fs.StringArrayVar(&f.asked.CapDrop, "cap-drop", nil, "`capability` it has not, or ALL")
	fs.StringArrayVar(&f.devices, "device", nil, "a device of the host, or a folder of them: `/HOST[:/INSIDE][:rwm]`")
	fs.StringArrayVar(&f.asked.DeviceRules, "device-cgroup-rule", nil, "a `rule` of what it may do with devices: 'TYPE MAJOR:MINOR ACCESS'")
	fs.StringArrayVar(&f.security, "security-opt", nil, "an `option`: no-new-privileges=false, seccomp=FILE|unconfined, apparmor=PROFILE, label=LABEL or systempaths=unconfined")
	fs.StringArrayVar(&f.sysctls, "sysctl", nil, "a setting of the kernel in its own namespaces: `NAME=VALUE`, such as net.core.somaxconn=1024")
	fs.StringArrayVar(&f.ulimits, "ulimit", nil, "a limit of each process: `NAME=SOFT[:HARD]`, such as nofile=1024:4096")
	fs.StringArrayVar(&f.asked.Groups, "group-add", nil, "one more `group` of its user: a name or a number")
	fs.StringVar(&f.shm, "shm-size", "", "`size` of /dev/shm (default 64m)")
	fs.StringVar(&f.userns, "userns", "", "without users of its own, a `namespace`: host (default its own)")
	fs.StringVar(&f.pid, "pid", "", "whose processes it sees, a `namespace`: container:NAME, or host with --userns host (default its own)")
	fs.StringVar(&f.ipc, "ipc", "", "whose shared memory it sees, a `namespace`: host or private (default private)")
	fs.StringVar(&f.uts, "uts", "", "with the host's name, a `namespace`: host (default its own)")
	fs.StringVar(&f.cgroupns, "cgroupns", "", "a `namespace`: private is the only kind there is")
	fs.IntVar(&f.asked.OOMScoreAdj, "oom-score-adj", 0, "how readily the kernel ends it when memory is short: a `number` from -1000 to 1000")
	fs.StringVar(&f.asked.Domainname, "domainname", "", "its NIS domain `name`")
}

// apply reads the texts into the spec.
func (f *isolationFlags) apply(spec *api.ContainerSpec) error {
	i := f.asked
	var errs [6]error
	i.Devices, errs[0] = parseAll(f.devices, parseDevice)
	i.Sysctls, errs[1] = parseSysctls(f.sysctls)
	i.Ulimits, errs[2] = parseAll(f.ulimits, parseUlimit)
	i.ShmBytes, errs[3] = parseBytes("--shm-size", f.shm)
	errs[4] = f.namespaces(spec, &i)
	for _, s := range f.security {
		errs[5] = errors.Join(errs[5], securityOption(s, &i))
	}
	spec.Isolation = i
	return errors.Join(errs[:]...)
}

func (f *isolationFlags) namespaces(spec *api.ContainerSpec, i *naru.Isolation) error {
	for _, ns := range []struct {
		flag, value, own string
		to               *string
		may              []string
	}{
		{"--pid", f.pid, "", &i.PID, []string{naru.HostNamespace, "container:NAME"}},
		{"--ipc", f.ipc, "private", &i.IPC, []string{naru.HostNamespace, "private"}},
		{"--uts", f.uts, "", &i.UTS, []string{naru.HostNamespace}},
		{"--cgroupns", f.cgroupns, "private", new(string), []string{"private"}},
		{"--userns", f.userns, "", new(string), []string{naru.HostNamespace}},
	} {
		known := ns.value == "" || ns.value == ns.own
		for _, may := range ns.may {
			prefix, open := strings.CutSuffix(may, "NAME")
			known = known || ns.value == may || open && strings.HasPrefix(ns.value, prefix) && ns.value != prefix
		}
		if !known {
			return naru.Errorf(naru.InvalidArgument, "%s %q: it can be %s; without the flag every container has its own", ns.flag, ns.value, strings.Join(ns.may, " or "))
		}
		if *ns.to = ns.value; ns.value == ns.own {
			*ns.to = ""
		}
	}
	spec.HostUserNS = f.userns == naru.HostNamespace
	return nil
}

// parseDevice reads /HOST[:/INSIDE][:rwm].
func parseDevice(s string) (naru.Device, error) {
	parts := strings.Split(s, ":")
	d := naru.Device{Host: parts[0]}
	isAccess := func(s string) bool { return s != "" && strings.Trim(s, "rwm") == "" }
	switch {
	case len(parts) == 1:
	case len(parts) == 2 && isAccess(parts[1]):
		d.Access = parts[1]
	case len(parts) == 2:
		d.Inside = parts[1]
	case len(parts) == 3 && isAccess(parts[2]):
		d.Inside, d.Access = parts[1], parts[2]
	default:
		d.Host = ""
	}
	if !strings.HasPrefix(d.Host, "/") || d.Inside != "" && !strings.HasPrefix(d.Inside, "/") {
		return d, naru.Errorf(naru.InvalidArgument, "--device %q: write /HOST[:/INSIDE][:rwm], such as /dev/fuse or /dev/ttyUSB0:/dev/modem:rw", s)
	}
	return d, nil
}

func parseSysctls(texts []string) (map[string]string, error) {
	var out map[string]string
	for _, s := range texts {
		key, value, ok := strings.Cut(s, "=")
		if !ok || key == "" {
			return nil, naru.Errorf(naru.InvalidArgument, "--sysctl %q: write NAME=VALUE", s)
		}
		if out == nil {
			out = map[string]string{}
		}
		out[key] = value
	}
	return out, nil
}

func parseUlimit(s string) (naru.Ulimit, error) {
	u, err := units.ParseUlimit(s)
	if err != nil {
		return naru.Ulimit{}, naru.Errorf(naru.InvalidArgument, "--ulimit %q: %w; write NAME=SOFT[:HARD], such as nofile=1024:4096", s, err)
	}
	return naru.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard}, nil
}

// securityOption reads one KEY=VALUE, or the KEY:VALUE of old.
func securityOption(s string, i *naru.Isolation) error {
	key, value, given := strings.Cut(s, "=")
	if !given {
		key, value, given = strings.Cut(s, ":")
	}
	switch {
	case key == "no-new-privileges":
		on, err := strconv.ParseBool(value)
		if given && err != nil {
			return naru.Errorf(naru.InvalidArgument, "--security-opt %q: it is true, as every container has it, or false", s)
		}
		i.NewPrivileges = given && !on
	case key == "seccomp" && (value == naru.Unconfined || value == "builtin"):
		i.Seccomp = strings.TrimPrefix(value, "builtin")
	case key == "seccomp" && value != "":
		policy, err := os.ReadFile(value)
		if err != nil {
			return naru.Errorf(naru.InvalidArgument, "--security-opt seccomp: %w", err)
		}
		i.Seccomp = string(policy)
	case key == "apparmor" && value != "":
		if value != naru.Unconfined {
			i.AppArmor = value
		}
	case key == "label" && value == "disable":
	case key == "label" && strings.Count(value, ":") >= 3:
		i.SELinux = value
	case key == "label":
		return naru.Errorf(naru.InvalidArgument, "--security-opt %q: write the whole label, USER:ROLE:TYPE:LEVEL, or label=disable", s)
	case key == "systempaths" && value == naru.Unconfined:
		i.Unmasked = true
	default:
		return naru.Errorf(naru.InvalidArgument, "--security-opt %q: it is one of no-new-privileges, seccomp, apparmor, label and systempaths=unconfined", s)
	}
	return nil
}
