package network

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// PortHolder says who listens on a port of the host, as "nginx (pid 12)", or "" when nobody does. A published port would
// silently take the port's connections away from that process.
func PortHolder(proto string, ip netip.Addr, port uint16) (string, error) {
	if proto != "tcp" && proto != "udp" {
		return "", fmt.Errorf("find who holds port %d: unknown protocol %q", port, proto)
	}
	for _, file := range []string{proto, proto + "6"} {
		// Of this thread: the process's first thread may be in a container's namespace just now.
		inode, err := findSocket("/proc/thread-self/net/"+file, proto, ip, port)
		if err != nil {
			return "", fmt.Errorf("find who holds port %d: %w", port, err)
		}
		if inode != "" {
			return holderOf(inode), nil
		}
	}
	return "", nil
}

// UnusedPort asks the kernel for a port of the host that no socket has at this moment.
func UnusedPort(proto string, ip netip.Addr) (uint16, error) {
	if !ip.IsValid() {
		ip = netip.IPv4Unspecified()
	}
	any := netip.AddrPortFrom(ip, 0)
	if proto == "udp" {
		conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(any))
		if err != nil {
			return 0, err
		}
		return netip.MustParseAddrPort(conn.LocalAddr().String()).Port(), conn.Close()
	}
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(any))
	if err != nil {
		return 0, err
	}
	return netip.MustParseAddrPort(l.Addr().String()).Port(), l.Close()
}

func findSocket(path, proto string, ip netip.Addr, port uint16) (inode string, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil // no IPv6
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	return scanSockets(f, proto, ip, port)
}

// Socket states in /proc/net: a TCP socket that listens, a UDP socket that is not connected.
var waiting = map[string]string{"tcp": "0A", "udp": "07"}

// scanSockets reads one of /proc/net's tables for a socket that gets what comes to the port of an address.
func scanSockets(r io.Reader, proto string, ip netip.Addr, port uint16) (inode string, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != waiting[proto] {
			continue
		}
		local, ok := parseSocketAddr(fields[1])
		if ok && local.Port() == port && meets(local.Addr(), ip) {
			return fields[9], nil
		}
	}
	return "", lines.Err()
}

// meets tells whether one of two listeners on these addresses would take from the other.
func meets(a, b netip.Addr) bool {
	return a == b || a.IsUnspecified() || !b.IsValid() || b.IsUnspecified()
}

// parseSocketAddr reads "0100007F:1F90": the address in words of the machine's byte order, then the port.
func parseSocketAddr(s string) (netip.AddrPort, bool) {
	host, service, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	if err != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for word := range slices.Chunk(b, 4) {
		binary.NativeEndian.PutUint32(word, binary.BigEndian.Uint32(word))
	}
	addr, ok := netip.AddrFromSlice(b)
	port, err := strconv.ParseUint(service, 16, 16)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), ok && err == nil
}

// holderOf finds the process that has a socket open. It may be out of sight: in a namespace above, or just gone.
func holderOf(inode string) string {
	fds, _ := filepath.Glob("/proc/[0-9]*/fd/*") // an unreadable process is a process out of sight
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err != nil || target != "socket:["+inode+"]" {
			continue
		}
		pid := strings.Split(fd, "/")[2]
		name, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			break
		}
		return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), pid)
	}
	return "a process that cannot be seen from here"
}
