package engine

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// etcFiles are the files of /etc that belong to a container rather than to its image.
var etcFiles = []string{"resolv.conf", "hosts", "hostname"}

// writeEtc writes the container's own files of /etc into its folder.
func writeEtc(dir string, c Container, nameserver netip.Addr) error {
	host, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("read the host's resolv.conf: %w", err)
	}
	texts := map[string]string{"resolv.conf": resolvConf(nameserver, string(host), c.Spec.DNSSearch, c.Spec.DNSOptions), "hosts": hosts(c, nameserver), "hostname": hostname(c) + "\n"}
	for _, name := range etcFiles {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(texts[name]), 0o644); err != nil {
			return fmt.Errorf("write the container's %s: %w", name, err)
		}
	}
	return nil
}

// resolvConf is the host's when there is no nameserver, with what the container wants added. With one, names are asked for
// as they are, so that a neighbour's is not looked for in the world, and then in the domains that the container names, or
// the host searches.
func resolvConf(nameserver netip.Addr, host string, domains, options []string) string {
	var b strings.Builder
	if nameserver.IsValid() {
		fmt.Fprintf(&b, "nameserver %s\n", nameserver)
		options = append([]string{"ndots:0"}, options...)
		if domains == nil {
			domains = searched(host)
		}
	} else {
		b.WriteString(host)
	}
	if len(domains) > 0 && !slices.Equal(domains, []string{"."}) {
		fmt.Fprintf(&b, "search %s\n", strings.Join(domains, " "))
	}
	if len(options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(options, " "))
	}
	return b.String()
}

// searched are the domains that a resolv.conf names.
func searched(text string) (domains []string) {
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 1 && (words[0] == "search" || words[0] == "domain") {
			domains = words[1:] // the last one counts
		}
	}
	return domains
}

// hostAddr is the host's address as the container sees it.
func hostAddr(gateway netip.Addr) string {
	if !gateway.IsValid() {
		return "127.0.0.1"
	}
	return gateway.String()
}

func hosts(c Container, gateway netip.Addr) string {
	var b strings.Builder
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	if c.Addr.IsValid() {
		fmt.Fprintf(&b, "%s\t%s\n", c.Addr, hostname(c))
	}
	for _, h := range c.Spec.Hosts {
		if name, addr, err := parseHost(h); err == nil { // checked when the container was made
			if addr == hostGateway {
				addr = hostAddr(gateway)
			}
			fmt.Fprintf(&b, "%s\t%s\n", addr, name)
		}
	}
	return b.String()
}
