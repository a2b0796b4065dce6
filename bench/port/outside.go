package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"naru/bench/lab"
	"naru/bench/peer"
)

// outside is a client with a wire to each engine's network, and one that goes by none of them.
//
//	client ── naru's network (published port) ─ bridge ─ veth ─┐
//	   ├───── middle (routes only) ──────────── bridge ─ veth ─┴─ the sink in naru's container
//	   └───── dockerd's network (published port) ── bridge ─ veth ── the sink in dockerd's
type outside struct {
	*lab.Lab
	ctx         context.Context
	megabytes   int
	connections int

	rootfs string
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

// network makes a namespace that is closed in the end.
func (o *outside) network() (*peer.NetNS, error) {
	n, err := peer.NewNetNS()
	if err == nil {
		o.Closing(n.Close)
	}
	return n, err
}

func (o *outside) openClient() (err error) {
	o.client, err = o.network()
	return err
}

func (o *outside) openNaru() error {
	host, err := o.network()
	if err != nil {
		return err
	}
	if err := peer.Wire(o.client, "naru", "10.234.0.2/30", host, "uplink", "10.234.0.1/30"); err != nil {
		return err
	}
	if o.naru, err = o.StartNaru(o.ctx, host, o.rootfs, "sink"); err != nil {
		return err
	}
	if _, err := o.naru.Start(o.ctx, spec()); err != nil {
		return err
	}
	return o.lead("naru", "10.234.0.1")
}

// openDirect gives naru's container a second interface, behind a bridge in a namespace where nothing but routes is.
func (o *outside) openDirect() error {
	pids, err := o.naru.Processes(o.ctx)
	if err != nil || len(pids) != 1 {
		return fmt.Errorf("find the one container: %v: %w", pids, err)
	}
	container, err := peer.NetNSOf(pids[0])
	if err != nil {
		return err
	}
	o.Closing(container.Close)
	middle, err := o.network()
	if err != nil {
		return err
	}
	err = errors.Join(
		peer.Wire(o.client, "direct", "10.234.0.6/30", middle, "uplink", "10.234.0.5/30"),
		middle.IP("link", "add", "bridge", "type", "bridge"), middle.IP("link", "set", "bridge", "up"),
		middle.IP("link", "add", "port", "type", "veth", "peer", "name", "direct", "netns", container.Path()),
		middle.IP("link", "set", "port", "master", "bridge", "up"),
		middle.IP("addr", "add", "10.234.1.1/24", "dev", "bridge"),
		middle.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }),
		container.IP("addr", "add", "10.234.1.2/24", "dev", "direct"), container.IP("link", "set", "direct", "up"),
		container.IP("route", "add", "10.234.0.4/30", "via", "10.234.1.1"),
		o.client.IP("route", "add", "10.234.1.0/24", "via", "10.234.0.5"))
	if err != nil {
		return err
	}
	return o.lead("direct", "10.234.1.2")
}

func (o *outside) openDocker() error {
	docker, err := o.StartDocker(o.ctx, o.rootfs, "sink")
	if err != nil {
		return err
	}
	host, err := peer.NetNSOf(docker.PID())
	if err != nil {
		return err
	}
	o.Closing(host.Close)
	if err := peer.Wire(o.client, "docker", "10.234.0.10/30", host, "uplink", "10.234.0.9/30"); err != nil {
		return err
	}
	if _, err := docker.Start(o.ctx, spec()); err != nil {
		return err
	}
	return o.lead("docker", "10.234.0.9")
}

// lead adds a way when somebody answers there.
func (o *outside) lead(name, address string) error {
	o.ways = append(o.ways, way{name, address})
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := o.greeting(address)
		if err == nil || o.ctx.Err() != nil {
			return o.ctx.Err()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the sink does not answer by way of %s: %w", name, err)
		}
	}
}

// dial connects from the client's network.
func (o *outside) dial(address string, port int) (conn *net.TCPConn, err error) {
	err = o.client.Do(func() error {
		dialer := net.Dialer{Timeout: patience}
		c, err := dialer.DialContext(o.ctx, "tcp", fmt.Sprintf("%s:%d", address, port))
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
