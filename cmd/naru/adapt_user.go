//go:build !front

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/userns"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine"
	"naru/engine/keeper"
	"naru/engine/network"
	"naru/engine/rootless"
	"naru/engine/sandbox/fork"
	"naru/internal/cleanup"
)

// The descriptors that an ordinary user's daemon is started with, beyond the usual ones (see launch).
const (
	outsideFD = 3 // asks for sockets outside
	lifeFD    = 4 // open as long as the network is to live
)

// ordinaryUser is who started the daemon, as the daemon sees it in the user's namespaces.
type ordinaryUser struct {
	keeper  *keeper.Client
	outside *rootless.Outside
}

// openUser makes the daemon at home in an ordinary user's namespaces; root's has nothing to do.
func (d *daemon) openUser(ctx context.Context, undo *cleanup.Stack) error {
	if !rootless.Entered() {
		return nil
	}
	outside, err := rootless.OpenOutside(outsideFD)
	if err != nil {
		return err
	}
	d.user = &ordinaryUser{keeper: d.keeper, outside: outside}
	undo.Add(func() { closing(d.log, "stop asking for sockets outside", outside.Close) })
	if err := rootless.RaiseLoopback(); err != nil {
		return err
	}
	if err := d.user.keepNetwork(ctx); err != nil {
		return err
	}
	if rootless.HasNetwork() == "" {
		return nil
	}
	if err := rootless.AwaitNetwork(ctx, filepath.Join(d.flags.run, networkLog)); err != nil {
		d.log.Warn("containers and naru reach nothing outside", "why", err)
		return nil
	}
	return nameServer(filepath.Join(d.flags.run, "resolv.conf"))
}

// keepNetwork has the keeper hold what the network's life hangs on.
func (u *ordinaryUser) keepNetwork(ctx context.Context) error {
	life := os.NewFile(lifeFD, "life")
	defer life.Close()
	const name = "network"
	kept, err := u.keeper.Kept(ctx, name)
	if errors.Is(err, keeper.ErrNotFound) {
		return u.keeper.Keep(ctx, name, life)
	}
	if err != nil {
		return err
	}
	return kept.Close()
}

// nameServer has names answered by the network's helper: the machine's own name servers may be on its 127.0.0.1. Of the
// machine's resolv.conf the rest stays as it is.
func nameServer(file string) error {
	const resolv = "/etc/resolv.conf"
	now, err := os.Stat(resolv)
	if own, ownErr := os.Stat(file); err == nil && ownErr == nil && os.SameFile(own, now) {
		return nil // a daemon before did it
	}
	b, err := os.ReadFile(resolv)
	if errors.Is(err, os.ErrNotExist) {
		return nil // nobody is asked for names here
	}
	if err != nil {
		return fmt.Errorf("read the machine's name servers: %w", err)
	}
	if err := os.WriteFile(file, []byte(withNameServer(string(b))), 0o644); err != nil {
		return fmt.Errorf("write the address of name servers: %w", err)
	}
	if err := unix.Mount(file, resolv, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s on %s: %w", file, resolv, err)
	}
	return nil
}

// withNameServer is a resolv.conf that asks the network's helper instead of whom it asks.
func withNameServer(conf string) string {
	var out strings.Builder
	out.WriteString("nameserver " + rootless.NameServer + "\n")
	for line := range strings.Lines(conf) {
		if !strings.HasPrefix(strings.TrimSpace(line), "nameserver") {
			out.WriteString(line)
		}
	}
	return out.String()
}

// asUser fits the engine into a user namespace, whoever made that.
func (d *daemon) asUser(cfg *engine.Config, undo *cleanup.Stack) error {
	if !userns.RunningInUserNS() {
		return nil
	}
	own, err := rootless.Current()
	if err != nil {
		return err
	}
	cfg.UIDMap, cfg.GIDMap = sameIDs(own.UIDs), sameIDs(own.GIDs)
	if d.user != nil {
		forwarder := rootless.NewForwarder(d.user.sockets(portSockets))
		undo.Add(forwarder.Close)
		cfg.Ports = &ports{user: d.user, forwarder: forwarder}
	}
	return nil
}

// sameIDs map every id that there is to itself.
func sameIDs(own []fork.IDMap) (maps []specs.LinuxIDMapping) {
	for _, m := range own {
		maps = append(maps, specs.LinuxIDMapping{ContainerID: uint32(m.ContainerID), HostID: uint32(m.ContainerID), Size: uint32(m.Size)})
	}
	return maps
}

// What sockets outside are for, as the keeper's names of them begin.
const (
	portSockets   = "port"
	routerSockets = "router"
)

// outsideSockets are sockets outside that the keeper keeps.
type outsideSockets struct {
	*ordinaryUser
	purpose string
}

func (u *ordinaryUser) sockets(purpose string) outsideSockets { return outsideSockets{u, purpose} }

func (s outsideSockets) name(network, address string) string {
	return s.purpose + " " + network + " " + address
}

// Open implements rootless.Sockets.
func (s outsideSockets) Open(ctx context.Context, network, address string) (*os.File, error) {
	name := s.name(network, address)
	f, err := s.keeper.Kept(ctx, name)
	if !errors.Is(err, keeper.ErrNotFound) {
		return f, err
	}
	if f, err = s.outside.Listen(network, address); err != nil {
		return nil, err
	}
	if err := s.keeper.Keep(ctx, name, f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Release implements rootless.Sockets.
func (s outsideSockets) Release(ctx context.Context, network, address string) error {
	return s.keeper.Release(ctx, s.name(network, address))
}

// releaseOthers ends the keeping of sockets that a daemon before had and this one does not want.
func (s outsideSockets) releaseOthers(ctx context.Context, wanted map[string]bool) error {
	names, err := s.keeper.AllKept(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, s.purpose+" ") && !wanted[name] {
			err = errors.Join(err, s.keeper.Release(ctx, name))
		}
	}
	return err
}

func (u *ordinaryUser) listenHTTP(ctx context.Context, address string) (net.Listener, error) {
	s := u.sockets(routerSockets)
	f, err := s.Open(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen for requests: %w", rootless.ExplainPort("tcp", address, err))
	}
	defer f.Close()
	if err := s.releaseOthers(ctx, map[string]bool{s.name("tcp", address): true}); err != nil {
		return nil, err
	}
	return net.FileListener(f)
}

// ports implements engine.Ports for an ordinary user.
type ports struct {
	user      *ordinaryUser
	forwarder *rootless.Forwarder
	cleared   bool // of what a daemon before had
}

// Set implements engine.Ports. The engine calls it from one goroutine at a time.
func (p *ports) Set(ctx context.Context, all []network.Publication) error {
	var want []rootless.Forward
	s, wanted := p.user.sockets(portSockets), map[string]bool{}
	for _, pub := range all {
		f := rootless.Forward{Protocol: pub.Protocol, Address: listenAddress(pub), To: slices.Clone(pub.Backends)}
		f.To = slices.DeleteFunc(f.To, func(a netip.AddrPort) bool { return !a.Addr().Is4() }) // each has an address of either kind
		wanted[s.name(f.Protocol, f.Address)] = true
		want = append(want, f)
	}
	if !p.cleared {
		if err := s.releaseOthers(ctx, wanted); err != nil {
			return err
		}
		p.cleared = true
	}
	return p.forwarder.Set(ctx, want)
}

// listenAddress is where a publication listens outside, as net.Listen takes it.
func listenAddress(p network.Publication) string {
	if !p.HostIP.IsValid() {
		return fmt.Sprintf(":%d", p.HostPort)
	}
	return net.JoinHostPort(p.HostIP.String(), fmt.Sprint(p.HostPort))
}
