package main

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/spf13/pflag"

	"naru/api"
	"naru/naru"
)

// networkFlags are those of container run that speak of networks.
type networkFlags struct {
	networks, dns, publish []string
	expose                 []string
	ip                     string
	options                api.NetworkOptions
}

func (f *networkFlags) register(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.networks, "network", nil, "`network` to be on: a name, none, host, or container:NAME for that one's; may be repeated (default bridge)")
	fs.StringVar(&f.ip, "ip", "", "its `address` on the first network (default the next free one)")
	fs.StringVar(&f.options.MAC, "mac-address", "", "its MAC `address` on the first network")
	fs.StringArrayVar(&f.options.Aliases, "network-alias", nil, "one more `name` on the first network")
	fs.StringArrayVar(&f.dns, "dns", nil, "`address` of a name server for names that are no container's (default the host's)")
	fs.StringArrayVar(&f.options.DNSSearch, "dns-search", nil, "`domain` in which names are looked for, or . for none (default the host's)")
	fs.StringArrayVar(&f.options.DNSOptions, "dns-option", nil, "an `option` of resolv.conf")
	fs.StringArrayVar(&f.options.Hosts, "add-host", nil, "a line for /etc/hosts: `NAME:ADDRESS`, host-gateway for the host's address")
	fs.StringArrayVarP(&f.publish, "publish", "p", nil, "publish a port, or as many as in a range: `[[IP:]HOST:]PORT[/udp]`; a free one of the host without HOST")
	fs.BoolVarP(&f.options.PublishAll, "publish-all", "P", false, "publish each port that the image or --expose names at a free one of the host")
	fs.StringArrayVar(&f.expose, "expose", nil, "a `port` for --publish-all beside the image's; it is open to its networks anyway")
}

// apply reads the texts into the spec.
func (f *networkFlags) apply(spec *api.ContainerSpec) error {
	spec.NetworkOptions = f.options
	if len(f.networks) > 0 {
		spec.Network = f.networks[0]
		for _, name := range f.networks[1:] {
			spec.Networks = append(spec.Networks, api.NetworkJoin{Network: name})
		}
	}
	var errs [4]error
	spec.IP, errs[0] = parseAddr("--ip", f.ip)
	spec.DNS, errs[1] = parseAll(f.dns, func(s string) (netip.Addr, error) { return parseAddr("--dns", s) })
	spec.Ports, errs[2] = parsePublish(f.publish)
	spec.Expose, errs[3] = parseExpose(f.expose)
	return errors.Join(errs[:]...)
}

// parsePublish reads each [[IP:]HOST:]PORT[/PROTOCOL]; an IPv6 address stands in brackets, HOST and PORT may be ranges
// of the same length, and without HOST the daemon chooses.
func parsePublish(texts []string) ([]naru.PublishedPort, error) {
	var out []naru.PublishedPort
	for _, s := range texts {
		ports, ok := parsePorts(s)
		if !ok {
			return nil, naru.Errorf(naru.InvalidArgument, "--publish %q: write [[IP:]HOST:]PORT[/udp], such as 8080:80 or 8000-8010:8000-8010", s)
		}
		out = append(out, ports...)
	}
	return out, nil
}

// parseExpose reads each PORT[/PROTOCOL].
func parseExpose(texts []string) ([]naru.PublishedPort, error) {
	var out []naru.PublishedPort
	for _, s := range texts {
		ports, ok := parsePorts(s)
		if !ok || strings.Contains(s, ":") {
			return nil, naru.Errorf(naru.InvalidArgument, "--expose %q: write PORT[/udp], such as 80 or 8000-8010", s)
		}
		out = append(out, ports...)
	}
	return out, nil
}

func parsePorts(s string) ([]naru.PublishedPort, bool) {
	rest, protocol, given := strings.Cut(s, "/")
	if !given {
		protocol = "tcp"
	}
	host, port := splitLast(rest)
	ip, hostPort := splitLast(host)
	inside, ok := parsePortRange(port)
	if !ok || protocol != "tcp" && protocol != "udp" || strings.HasPrefix(rest, ":") {
		return nil, false
	}
	outside := make([]uint16, len(inside)) // zero: chosen by the daemon
	if hostPort != "" {
		if outside, ok = parsePortRange(hostPort); !ok || len(outside) != len(inside) {
			return nil, false
		}
	}
	addr, err := parseAddr("--publish", ip)
	if err != nil {
		return nil, false
	}
	ports := make([]naru.PublishedPort, len(inside))
	for i := range inside {
		ports[i] = naru.PublishedPort{HostIP: addr, HostPort: outside[i], Port: inside[i], Protocol: protocol}
	}
	return ports, true
}

// parsePortRange reads "80" or "8000-8010".
func parsePortRange(s string) ([]uint16, bool) {
	first, last, isRange := strings.Cut(s, "-")
	from, err := parsePortNumber(first)
	if err != nil {
		return nil, false
	}
	to := from
	if isRange {
		if to, err = parsePortNumber(last); err != nil || to < from {
			return nil, false
		}
	}
	var ports []uint16
	for p := int(from); p <= int(to); p++ {
		ports = append(ports, uint16(p))
	}
	return ports, true
}
