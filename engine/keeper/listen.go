package keeper

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"

	"naru/engine/keeper/internal/wire"
)

// Listen returns a listener on a socket that the keeper keeps: the first call binds it, later ones, also those of
// later daemons, get the same socket with what has queued up meanwhile. Closing the listener leaves the keeper's
// socket open; Unlisten ends it. The network is one of net.Listen's.
func (c *Client) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	f, err := c.keptOr(ctx, network, address, bindStream)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return l, nil
}

// ListenPacket is Listen for udp and unixgram.
func (c *Client) ListenPacket(ctx context.Context, network, address string) (net.PacketConn, error) {
	f, err := c.keptOr(ctx, network, address, bindPacket)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p, err := net.FilePacketConn(f)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return p, nil
}

// Unlisten ends the keeping of a socket; it is closed when its last listener is. That it was not kept is no error.
func (c *Client) Unlisten(ctx context.Context, network, address string) error {
	if err := c.Release(ctx, socketName(network, address)); err != nil {
		return err
	}
	if !isUnix(network) || strings.HasPrefix(address, "@") {
		return nil
	}
	if err := os.Remove(address); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove socket: %w", err)
	}
	return nil
}

func socketName(network, address string) string { return network + " " + address }

func isUnix(network string) bool { return strings.HasPrefix(network, "unix") }

type binder func(ctx context.Context, network, address string) (*os.File, error)

// keptOr gets the socket from the keeper, or binds it and gives it to the keeper. A daemon that dies between the two
// takes the socket with it, so there is nothing to repair.
func (c *Client) keptOr(ctx context.Context, network, address string, bind binder) (*os.File, error) {
	name := socketName(network, address)
	f, err := c.Kept(ctx, name)
	if !errors.Is(err, ErrNotFound) {
		return f, err
	}
	if f, err = bind(ctx, network, address); err != nil {
		return nil, err // says where
	}
	if err := c.Keep(ctx, name, f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func bindStream(ctx context.Context, network, address string) (*os.File, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, network, address)
	if errors.Is(err, syscall.EADDRINUSE) && isUnix(network) && removeStale(ctx, network, address) {
		l, err = config.Listen(ctx, network, address)
	}
	if err != nil {
		return nil, err
	}
	defer l.Close()
	switch l := l.(type) {
	case *net.TCPListener:
		return l.File()
	case *net.UnixListener:
		l.SetUnlinkOnClose(false)
		return l.File()
	}
	return nil, errors.ErrUnsupported
}

// removeStale removes the file of a unix socket that nobody listens on any more.
func removeStale(ctx context.Context, network, address string) bool {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err == nil {
		_ = conn.Close()
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED) && os.Remove(address) == nil
}

func bindPacket(ctx context.Context, network, address string) (*os.File, error) {
	var config net.ListenConfig
	p, err := config.ListenPacket(ctx, network, address)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if f, ok := p.(interface{ File() (*os.File, error) }); ok {
		return f.File()
	}
	return nil, errors.ErrUnsupported
}

// Keep gives the keeper a descriptor to hold under a name, a terminal say. The caller's own stays open.
func (c *Client) Keep(ctx context.Context, name string, f *os.File) error {
	_, _, err := c.call(ctx, wire.Request{Op: wire.Put, ID: name}, int(f.Fd()))
	runtime.KeepAlive(f) // it stays open until it is sent
	if err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	return nil
}

// Kept returns a duplicate of a kept descriptor.
func (c *Client) Kept(ctx context.Context, name string) (*os.File, error) {
	_, got, err := c.call(ctx, wire.Request{Op: wire.Get, ID: name})
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", name, err)
	}
	return one(got)
}

// Release ends the keeping of a descriptor. That it was not kept is no error.
func (c *Client) Release(ctx context.Context, name string) error {
	if _, _, err := c.call(ctx, wire.Request{Op: wire.Drop, ID: name}); err != nil {
		return fmt.Errorf("release %s: %w", name, err)
	}
	return nil
}

// AllKept lists the names of the kept descriptors: a socket's is its network, a blank and its address.
func (c *Client) AllKept(ctx context.Context) ([]string, error) {
	r, _, err := c.call(ctx, wire.Request{Op: wire.Names})
	if err != nil {
		return nil, fmt.Errorf("list kept descriptors: %w", err)
	}
	return r.Names, nil
}
