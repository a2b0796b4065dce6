package rootless

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"naru/naru"
)

// NameServer is the address at which both helpers answer names, as the machine outside would.
const NameServer = "10.0.2.3"

// helpers are the programs that lead a network namespace's traffic to the machine's as an ordinary user may: as sockets
// of its own. Neither lets anybody reach the machine's own 127.0.0.1.
func helpers(pid string) [][]string {
	return [][]string{
		{"slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", pid, "tap0"},
		{"pasta", "--foreground", "--quiet", "--config-net", "--ipv4-only", "--address", "10.0.2.100", "--netmask", "24", "--gateway", "10.0.2.2",
			"--dns-forward", NameServer, "--no-map-gw", "--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none", pid},
	}
}

// HasNetwork names the helper that Connect would start, "" when none is installed.
func HasNetwork() string {
	for _, h := range helpers("") {
		if _, err := exec.LookPath(h[0]); err == nil {
			return h[0]
		}
	}
	return ""
}

// Connect connects the network namespace of a process with the machine's. The helper outlives this process, and ends when
// the other end of life is closed everywhere. What it says is in the file log.
func Connect(pid int, life *os.File, log string) error {
	said, err := os.Create(log)
	if err != nil {
		return fmt.Errorf("connect the network: %w", err)
	}
	defer said.Close()
	for _, h := range helpers(strconv.Itoa(pid)) {
		if _, err := exec.LookPath(h[0]); err != nil {
			continue
		}
		// A shell waits for the end of life, and ends the helper then: neither helper can do it itself.
		cmd := exec.Command("sh", append([]string{"-c", `"$@" 3<&- & read -r _ <&3; kill $!`, "naru-network"}, h...)...)
		cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = said, said, []*os.File{life}
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("connect the network: %w", err)
		}
		return cmd.Process.Release()
	}
	return nil
}

// networkPatience bounds how long a helper may take until there is a network.
const networkPatience = 5 * time.Second

// AwaitNetwork waits, in the namespaces, until the helper has made a network device there.
func AwaitNetwork(ctx context.Context, log string) error {
	ctx, cancel := context.WithTimeout(ctx, networkPatience)
	defer cancel()
	for !connected() {
		select {
		case <-ctx.Done():
			said, _ := os.ReadFile(log) // it says why, or nothing
			return naru.Errorf(naru.Unavailable, "%s made no network within %s: %s", HasNetwork(), networkPatience, said)
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// connected says whether a device other than the loopback is up with an IPv4 address.
func connected() bool {
	all, err := net.Interfaces()
	if err != nil {
		return false
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil || i.Flags&net.FlagLoopback != 0 || i.Flags&net.FlagUp == 0 {
			continue
		}
		for _, a := range addrs {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil {
				return true
			}
		}
	}
	return false
}

// RaiseLoopback brings a new network namespace's loopback up.
func RaiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("raise the loopback: %w", err)
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("raise the loopback: %w", err)
	}
	return nil
}
