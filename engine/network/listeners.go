package network

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// listener is a socket that waits for requests in some network namespace.
type listener struct {
	protocol string
	addr     netip.AddrPort
	inode    string
}

// takes tells whether what comes to an address of the namespace is the socket's. One on all addresses of IPv6 takes
// IPv4 too, unless it said otherwise, which the kernel does not show.
func (l listener) takes(a netip.Addr) bool {
	own := l.addr.Addr()
	return own == a || own.IsUnspecified() && (own.Is6() || a.Is4())
}

// process names who has the socket, as "nginx (pid 12)".
func (l listener) process() string { return holderOf(l.inode) }

// listenersOf reads the sockets that wait in the network namespace of a process, TCP's first.
func listenersOf(pid int) ([]listener, error) {
	var all []listener
	for _, proto := range []string{"tcp", "udp"} {
		for _, file := range []string{proto, proto + "6"} {
			found, err := readListeners("/proc/"+strconv.Itoa(pid)+"/net/"+file, proto)
			if err != nil {
				return nil, fmt.Errorf("list who listens: %w", err)
			}
			all = append(all, found...)
		}
	}
	return all, nil
}

func readListeners(path, proto string) ([]listener, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // no IPv6
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return parseListeners(f, proto)
}

// parseListeners reads one of /proc/net's tables.
func parseListeners(r io.Reader, proto string) ([]listener, error) {
	var all []listener
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != waiting[proto] {
			continue
		}
		if local, ok := parseSocketAddr(fields[1]); ok {
			all = append(all, listener{proto, local, fields[9]})
		}
	}
	return all, lines.Err()
}
