package source

import (
	"maps"
	"math"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"naru/naru"
)

// converter turns compose-go's project into naru's words.
type converter struct {
	*problems
	folder *folder
	docs   documents
	limits map[string]naru.DiskLimit // of the app's volumes
}

// convert makes the app of a project that the checker has passed.
func convert(f *folder, docs documents, name naru.AppName, project *types.Project) (naru.AppSpec, error) {
	c := &converter{problems: &problems{}, folder: f, docs: docs}
	c.limits = c.volumeLimits(project.Volumes)
	app := naru.AppSpec{App: name}
	said := make(map[naru.ServiceName]bool)
	for _, service := range slices.Sorted(maps.Keys(project.Services)) {
		one := project.Services[service]
		spec, ext := c.service(one)
		app.Services = append(app.Services, spec)
		said[spec.Name] = ext.saysRoutes
	}
	if len(app.Services) == 0 && len(c.list) == 0 {
		c.invalid(docs.at("services"), "the app has no services")
	}
	inferRoute(app.Services, said)
	defaultGoPorts(app.Services)
	c.validate(app)
	return app, c.err()
}

// at is the place of something that a service says.
func (c *converter) at(service string, path ...string) place {
	return c.docs.at(append([]string{"services", service}, path...)...)
}

func (c *converter) service(s types.ServiceConfig) (naru.ServiceSpec, extension) {
	ext := c.extension(s)
	spec := naru.ServiceSpec{
		Name:        naru.ServiceName(s.Name),
		Entrypoint:  c.words(s.Name, "entrypoint", s.Entrypoint),
		Command:     c.words(s.Name, "command", s.Command),
		Environment: environment(s.Environment),
		User:        s.User,
		WorkingDir:  s.WorkingDir,
		ReadOnly:    s.ReadOnly,
		Init:        s.Init != nil && *s.Init,
		Tmpfs:       slices.Clone(s.Tmpfs),
		Ports:       c.ports(s),
		Limits:      limits(s),
		DependsOn:   c.dependsOn(s),
		Restart:     c.restart(s),
		Scale:       scale(s, ext),
		StopSignal:  s.StopSignal,
		Port:        c.port(s, ext),
		Health:      ext.health,
		Routes:      ext.routes,
		Rollout:     ext.rollout,
	}
	c.image(&spec, s, ext)
	c.mounts(&spec, s)
	spec.Limits.Disk = c.disk(s)
	if spec.Rollout.Strategy == "" && slices.ContainsFunc(spec.Volumes, writable) {
		spec.Rollout.Strategy = naru.Recreate
	}
	if s.StopGracePeriod != nil {
		spec.StopGrace = time.Duration(*s.StopGracePeriod)
	}
	if spec.Health == nil {
		spec.Health, spec.NoHealth = c.healthcheck(s)
	}
	return spec, ext
}

// words is an entrypoint or a command. Compose lets an empty one clear the image's, which a nil slice cannot say.
func (c *converter) words(service, key string, command types.ShellCommand) []string {
	if command != nil && len(command) == 0 {
		c.unsupported(c.at(service, key), "naru cannot clear the image's %s: write out what is to run", key)
	}
	return slices.Clone([]string(command))
}

// environment drops names without a value: Compose leaves them out when nobody gives one.
func environment(env types.MappingWithEquals) map[string]string {
	if len(env) == 0 {
		return nil
	}
	out := make(map[string]string, len(env))
	for name, value := range env {
		if value != nil {
			out[name] = *value
		}
	}
	return out
}

func limits(s types.ServiceConfig) naru.Limits {
	l := naru.Limits{MemoryBytes: int64(s.MemLimit), NanoCPUs: nanoCPUs(s.CPUS), PIDs: s.PidsLimit}
	if s.Deploy != nil && s.Deploy.Resources.Limits != nil {
		d := s.Deploy.Resources.Limits
		l.MemoryBytes = max(l.MemoryBytes, int64(d.MemoryBytes))
		l.NanoCPUs = max(l.NanoCPUs, nanoCPUs(d.NanoCPUs.Value()))
		l.PIDs = max(l.PIDs, d.Pids)
	}
	l.PIDs = max(l.PIDs, 0) // -1 is Docker's word for no limit
	return l
}

// nanoCPUs goes through the decimal form: as a float64, the float32 nearest to 0.1 is 0.10000000149.
func nanoCPUs(cpus float32) int64 {
	exact, err := strconv.ParseFloat(strconv.FormatFloat(float64(cpus), 'f', -1, 32), 64)
	if err != nil {
		return 0
	}
	return int64(math.Round(exact * 1e9))
}

func scale(s types.ServiceConfig, ext extension) int {
	switch {
	case ext.scale != nil:
		return *ext.scale
	case s.Scale != nil:
		return *s.Scale
	case s.Deploy != nil && s.Deploy.Replicas != nil:
		return *s.Deploy.Replicas
	}
	return 1
}

// port is where the service listens: what it says itself, else what it exposes, else where its published ports lead.
func (c *converter) port(s types.ServiceConfig, ext extension) uint16 {
	switch {
	case ext.port != 0:
		return ext.port
	case len(s.Expose) > 0:
		return c.exposed(s)
	case len(s.Ports) > 0:
		return uint16(min(s.Ports[0].Target, math.MaxUint16))
	}
	return 0
}

// exposed reads "8080", "8080/tcp" or the beginning of "8080-8090".
func (c *converter) exposed(s types.ServiceConfig) uint16 {
	number, _, _ := strings.Cut(s.Expose[0], "/")
	number, _, _ = strings.Cut(number, "-")
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil || port == 0 {
		c.invalid(c.at(s.Name, "expose", "0"), "%q is not a port from 1 to 65535", s.Expose[0])
	}
	return uint16(port)
}

// ports are the published ones, sorted so that their order in the file means nothing.
func (c *converter) ports(s types.ServiceConfig) []naru.PublishedPort {
	var ports []naru.PublishedPort
	for i, p := range s.Ports {
		if port, ok := c.publish(p, c.at(s.Name, "ports", strconv.Itoa(i))); ok {
			ports = append(ports, port)
		}
	}
	slices.SortFunc(ports, comparePorts)
	return ports
}

func (c *converter) publish(p types.ServicePortConfig, at place) (naru.PublishedPort, bool) {
	port := naru.PublishedPort{Port: uint16(p.Target), Protocol: p.Protocol}
	host, err := strconv.ParseUint(p.Published, 10, 16)
	switch {
	case p.Published == "":
		c.unsupported(at, "naru publishes no port on a random port of the host: say which, as in \"8080:%d\"", p.Target)
	case err != nil || host == 0:
		c.invalid(at, "%q is not a port of the host from 1 to 65535", p.Published)
	case p.Target == 0 || p.Target > math.MaxUint16:
		c.invalid(at, "%d is not a port from 1 to 65535", p.Target)
	case p.Protocol != "tcp" && p.Protocol != "udp":
		c.unsupported(at, "naru publishes no %s ports: use tcp or udp", p.Protocol)
	case p.HostIP != "":
		if port.HostIP, err = netip.ParseAddr(p.HostIP); err != nil {
			c.invalid(at, "%q is not an IP address of the host", p.HostIP)
			return port, false
		}
		fallthrough
	default:
		port.HostPort = uint16(host)
		return port, true
	}
	return port, false
}

// mounts sorts the volumes of a service into named ones, folders of the host, and tmpfs.
func (c *converter) mounts(spec *naru.ServiceSpec, s types.ServiceConfig) {
	for i, v := range s.Volumes {
		at := c.at(s.Name, "volumes", strconv.Itoa(i))
		c.mountOptions(v, at)
		mount := naru.VolumeMount{Target: v.Target, ReadOnly: v.ReadOnly}
		switch {
		case !strings.HasPrefix(v.Target, "/"):
			c.invalid(at, "mount on %q: it must be an absolute path in the container", v.Target)
		case v.Type == types.VolumeTypeTmpfs:
			spec.Tmpfs = append(spec.Tmpfs, tmpfs(v))
			continue
		case v.Type == types.VolumeTypeVolume && v.Source == "":
			c.unsupported(at, "naru keeps no volumes without a name: name it, as in \"data:%s\", and list it under the file's volumes", v.Target)
		case v.Type == types.VolumeTypeVolume:
			mount.Volume, mount.Limit = naru.VolumeName(v.Source), c.limits[v.Source]
		case v.Type == types.VolumeTypeBind:
			mount.HostPath = filepath.Clean(v.Source)
		default:
			c.unsupported(at, "naru does not mount volumes of type %q: use volume, bind or tmpfs", v.Type)
		}
		spec.Volumes = append(spec.Volumes, mount)
	}
	slices.SortFunc(spec.Volumes, func(a, b naru.VolumeMount) int { return strings.Compare(a.Target, b.Target) })
	slices.Sort(spec.Tmpfs)
}

// writable tells a mount that makes old and new instances two writers of the same files, which few programs survive: a
// service with one is recreated, unless it says that it may overlap.
func writable(m naru.VolumeMount) bool { return !m.ReadOnly }

// mountOptions refuses what the short form "source:target:options" can ask for and naru does not do.
func (c *converter) mountOptions(v types.ServiceVolumeConfig, at place) {
	bind, volume := v.Bind, v.Volume
	switch {
	case bind != nil && (bind.SELinux != "" || bind.Propagation != "" || bind.Recursive != ""),
		volume != nil && (volume.NoCopy || volume.Subpath != ""),
		v.Consistency != "":
		c.unsupported(at, "naru knows no mount options but ro and rw: remove the others")
	}
}

func tmpfs(v types.ServiceVolumeConfig) string {
	var options []string
	if v.Tmpfs != nil && v.Tmpfs.Size > 0 {
		options = append(options, "size="+strconv.FormatInt(int64(v.Tmpfs.Size), 10))
	}
	if v.Tmpfs != nil && v.Tmpfs.Mode > 0 {
		options = append(options, "mode="+strconv.FormatUint(uint64(v.Tmpfs.Mode), 8))
	}
	if len(options) == 0 {
		return v.Target
	}
	return v.Target + ":" + strings.Join(options, ",")
}

// dependsOn are the services that must be ready before this one starts. That is Compose's service_healthy; its weaker
// service_started is given the same.
func (c *converter) dependsOn(s types.ServiceConfig) []naru.ServiceName {
	var names []naru.ServiceName
	for _, name := range slices.Sorted(maps.Keys(s.DependsOn)) {
		at := c.at(s.Name, "depends_on", name)
		if s.DependsOn[name].Condition == types.ServiceConditionCompletedSuccessfully {
			c.unsupported(at, "naru waits for no service to complete: run it as a one-off process with `naru run %s`", name)
		}
		if !s.DependsOn[name].Required {
			c.unsupported(at, "naru starts every service of the file: remove `required: false`")
		}
		names = append(names, naru.ServiceName(name))
	}
	return names
}

func (c *converter) restart(s types.ServiceConfig) naru.RestartPolicy {
	switch policy := naru.RestartPolicy(s.Restart); policy {
	case "", naru.RestartNo, naru.RestartAlways, naru.RestartOnFailure, naru.RestartUnlessStopped:
		return policy
	}
	if strings.HasPrefix(s.Restart, "on-failure:") {
		c.unsupported(c.at(s.Name, "restart"), "naru does not count restarts, it waits longer between them: use on-failure")
	} else {
		c.invalid(c.at(s.Name, "restart"), "unknown restart policy %q: use no, always, on-failure or unless-stopped", s.Restart)
	}
	return ""
}
