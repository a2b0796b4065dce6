package engine

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// etcFiles are the files of /etc that belong to a container rather than to its image.
var etcFiles = []string{"resolv.conf", "hosts", "hostname"}

// writeEtc writes the container's own files of /etc into its folder. Without a nameserver the host's resolv.conf is
// taken over.
func writeEtc(dir string, c Container, nameserver netip.Addr) error {
	resolv, err := resolvConf(nameserver)
	if err != nil {
		return err
	}
	texts := map[string]string{"resolv.conf": resolv, "hosts": hosts(c, nameserver), "hostname": hostname(c) + "\n"}
	for _, name := range etcFiles {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(texts[name]), 0o644); err != nil {
			return fmt.Errorf("write the container's %s: %w", name, err)
		}
	}
	return nil
}

func resolvConf(nameserver netip.Addr) (string, error) {
	if nameserver.IsValid() {
		return "nameserver " + nameserver.String() + "\noptions ndots:0\n", nil
	}
	b, err := os.ReadFile("/etc/resolv.conf")
	if err != nil && !os.IsNotExist(err) {
		return "", fmt.Errorf("read the host's resolv.conf: %w", err)
	}
	return string(b), nil
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
