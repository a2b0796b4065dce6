package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"naru/bench/peer"
	"naru/internal/cleanup"
)

// lab is a client with a wire to each engine's network, and one that goes by none of them.
//
//	client ── naru's network (published port) ─ bridge ─ veth ─┐
//	   ├───── middle (routes only) ──────────── bridge ─ veth ─┴─ the sink in naru's container
//	   └───── dockerd's network (published port) ── bridge ─ veth ── the sink in dockerd's
type lab struct {
	options
	ctx    context.Context
	dir    string
	rootfs string
	undo   *cleanup.Stack
	failed *error // what undo has to say

	client *peer.NetNS
	naru   *peer.Naru
	ways   []way
}

// way is where a client connects to.
type way struct{ name, address string }

// spec is the container that both engines run.
func spec() peer.Spec {
	return peer.Spec{Image: "sink", Command: []string{"/sink"}, Ports: []uint16{streamPort, greetingPort}}
}

const streamPort, greetingPort = 7001, 7002

func (l *lab) closing(f func() error) {
	l.undo.Add(func() { *l.failed = errors.Join(*l.failed, f()) })
}

// network makes a namespace that is closed in the end.
func (l *lab) network() (*peer.NetNS, error) {
	n, err := peer.NewNetNS()
	if err == nil {
		l.closing(n.Close)
	}
	return n, err
}

func (l *lab) openClient() (err error) {
	l.client, err = l.network()
	return err
}

func (l *lab) openNaru() error {
	host, err := l.network()
	if err != nil {
		return err
	}
	if err := peer.Wire(l.client, "naru", "10.234.0.2/30", host, "uplink", "10.234.0.1/30"); err != nil {
		return err
	}
	if l.naru, err = peer.StartNaru(l.ctx, l.options.naru, l.dir, host); err != nil {
		return err
	}
	l.closing(l.naru.Stop)
	if err := l.naru.Import(l.rootfs, "sink"); err != nil {
		return err
	}
	if _, err := l.naru.Start(l.ctx, spec()); err != nil {
		return err
	}
	return l.lead("naru", "10.234.0.1")
}

// openDirect gives naru's container a second interface, behind a bridge in a namespace where nothing but routes is.
func (l *lab) openDirect() error {
	pids, err := l.naru.Processes(l.ctx)
	if err != nil || len(pids) != 1 {
		return fmt.Errorf("find the one container: %v: %w", pids, err)
	}
	container, err := peer.NetNSOf(pids[0])
	if err != nil {
		return err
	}
	l.closing(container.Close)
	middle, err := l.network()
	if err != nil {
		return err
	}
	err = errors.Join(
		peer.Wire(l.client, "direct", "10.234.0.6/30", middle, "uplink", "10.234.0.5/30"),
		middle.IP("link", "add", "bridge", "type", "bridge"), middle.IP("link", "set", "bridge", "up"),
		middle.IP("link", "add", "port", "type", "veth", "peer", "name", "direct", "netns", container.Path()),
		middle.IP("link", "set", "port", "master", "bridge", "up"),
		middle.IP("addr", "add", "10.234.1.1/24", "dev", "bridge"),
		middle.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }),
		container.IP("addr", "add", "10.234.1.2/24", "dev", "direct"), container.IP("link", "set", "direct", "up"),
		container.IP("route", "add", "10.234.0.4/30", "via", "10.234.1.1"),
		l.client.IP("route", "add", "10.234.1.0/24", "via", "10.234.0.5"))
	if err != nil {
		return err
	}
	return l.lead("direct", "10.234.1.2")
}

func (l *lab) openDocker() error {
	docker, err := peer.StartDocker(l.ctx, l.deps, l.dir)
	if err != nil {
		return err
	}
	l.closing(docker.Stop)
	host, err := peer.NetNSOf(docker.PID())
	if err != nil {
		return err
	}
	l.closing(host.Close)
	if err := peer.Wire(l.client, "docker", "10.234.0.10/30", host, "uplink", "10.234.0.9/30"); err != nil {
		return err
	}
	if err := docker.Import(l.rootfs, "sink"); err != nil {
		return err
	}
	if _, err := docker.Start(l.ctx, spec()); err != nil {
		return err
	}
	return l.lead("docker", "10.234.0.9")
}

// lead adds a way when somebody answers there.
func (l *lab) lead(name, address string) error {
	l.ways = append(l.ways, way{name, address})
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := l.greeting(address)
		if err == nil || l.ctx.Err() != nil {
			return l.ctx.Err()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the sink does not answer by way of %s: %w", name, err)
		}
	}
}

// dial connects from the client's network.
func (l *lab) dial(address string, port int) (conn *net.TCPConn, err error) {
	err = l.client.Do(func() error {
		dialer := net.Dialer{Timeout: patience}
		c, err := dialer.DialContext(l.ctx, "tcp", fmt.Sprintf("%s:%d", address, port))
		if err == nil {
			conn = c.(*net.TCPConn)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(patience))
}
