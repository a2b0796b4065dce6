package engine

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"naru/engine/network"
	"naru/naru"
)

// Prefix lengths of the subnets that networks get when nobody names one: 1,021 containers on a network, and 4,093 on the
// default one, where containers are that nobody has thought about.
const (
	networkBits        = 22
	defaultNetworkBits = 20
)

// subnetBits leaves room for at least three networks beside the default one.
func subnetBits(name string, pool netip.Prefix) int {
	if name == DefaultNetwork {
		return min(max(defaultNetworkBits, pool.Bits()+2), networkBits)
	}
	return networkBits
}

// Network is a network with what the engine alone knows of it.
type Network struct {
	network.Network
	Custom    bool      `json:"custom,omitempty"` // somebody asked for it by name, so that pruning may take it away
	CreatedAt time.Time `json:"created_at,omitzero"`
}

// NetworkRequest asks for a network; what is zero is chosen.
type NetworkRequest struct {
	Name     string
	Subnet   netip.Prefix
	Gateway  netip.Addr
	Subnet6  netip.Prefix
	Internal bool
}

// EnsureNetwork returns the network of that name and makes it when it is new.
func (e *Engine) EnsureNetwork(ctx context.Context, name string) (network.Network, error) {
	e.netMu.Lock()
	defer e.netMu.Unlock()
	if n, ok := e.lookupNetwork(name); ok {
		return n.Network, nil
	}
	n, err := e.addNetwork(ctx, NetworkRequest{Name: name}, false)
	return n.Network, err
}

// CreateNetwork makes a network that is not there yet.
func (e *Engine) CreateNetwork(ctx context.Context, r NetworkRequest) (Network, error) {
	e.netMu.Lock()
	defer e.netMu.Unlock()
	if _, ok := e.lookupNetwork(r.Name); ok || slices.Contains([]string{DefaultNetwork, NoNetwork, HostNetwork}, r.Name) {
		return Network{}, naru.Errorf(naru.Conflict, "there is a network %s already: choose another name", r.Name)
	}
	return e.addNetwork(ctx, r, true)
}

// addNetwork writes a network down, and then makes it. The caller holds netMu.
func (e *Engine) addNetwork(ctx context.Context, r NetworkRequest, custom bool) (Network, error) {
	n, err := e.newNetwork(ctx, r)
	if err != nil {
		return Network{}, err
	}
	n.Custom = custom
	if err := e.saveNetwork(ctx, n); err != nil {
		return Network{}, err
	}
	e.mu.Lock()
	e.networks[r.Name] = n
	e.mu.Unlock()
	if !e.hasBegun() {
		return n, nil
	}
	return n, e.applyLocked(ctx)
}

func (e *Engine) lookupNetwork(name string) (Network, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n, ok := e.networks[name]
	return n, ok
}

// Network returns the network of that name.
func (e *Engine) Network(name string) (Network, error) {
	if n, ok := e.lookupNetwork(name); ok {
		return n, nil
	}
	return Network{}, naru.Errorf(naru.NotFound, "there is no network %q", name)
}

// Networks returns all networks, by name.
func (e *Engine) Networks() []Network {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.SortedFunc(maps.Values(e.networks), func(a, b Network) int { return cmp.Compare(a.Name, b.Name) })
}

// newNetwork picks a bridge and a subnet for a network: one that neither another network nor the host itself uses.
func (e *Engine) newNetwork(ctx context.Context, r NetworkRequest) (Network, error) {
	if !validName.MatchString(r.Name) {
		return Network{}, naru.Errorf(naru.InvalidArgument, "network name %q: use letters, digits, '_', '.' and '-'", r.Name)
	}
	used, err := network.HostSubnets(ctx, e.tag)
	if err != nil {
		return Network{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	bridges := map[string]bool{}
	for _, n := range e.networks {
		used, bridges[n.Bridge] = append(used, n.Subnet), true
	}
	subnet, err := chooseSubnet(r, e.cfg.Subnet, used)
	if err != nil {
		return Network{}, err
	}
	n := Network{Network: network.Network{Name: r.Name, Subnet: subnet, Gateway: r.Gateway, Internal: r.Internal}, CreatedAt: time.Now().UTC()}
	if !n.Gateway.IsValid() {
		n.Gateway = network.Gateway(subnet)
	}
	i := 0
	for n.Bridge = network.BridgeName(e.tag, i); bridges[n.Bridge]; n.Bridge = network.BridgeName(e.tag, i) {
		i++
	}
	if n.Subnet6, err = e.chooseSubnet6(r, i); err != nil {
		return Network{}, err
	}
	if n.Subnet6.IsValid() {
		n.Gateway6 = network.Gateway(n.Subnet6)
	}
	return n, nil
}

// chooseSubnet6 takes the one that was asked for, when no other network has it, or the i-th of the engine's own; none on
// a host without IPv6. The caller holds e.mu.
func (e *Engine) chooseSubnet6(r NetworkRequest, i int) (netip.Prefix, error) {
	switch s := r.Subnet6; {
	case !s.IsValid() && !hostHasIPv6():
		return netip.Prefix{}, nil
	case !s.IsValid():
		return uniqueLocal(e.cfg.DataDir, i), nil
	case !s.Addr().Is6() || s.Addr().Is4In6() || s != s.Masked() || s.Bits() > 96 || s.Addr().IsLinkLocalUnicast() || s.Addr().IsMulticast():
		return s, naru.Errorf(naru.InvalidArgument, "subnet %s: write an IPv6 subnet of /96 or wider by its first address, such as 2001:db8:7::/64", s)
	case !hostHasIPv6():
		return s, naru.Errorf(naru.FailedPrecondition, "subnet %s: this host has no IPv6", s)
	}
	for _, n := range e.networks {
		if n.Subnet6.IsValid() && n.Subnet6.Overlaps(r.Subnet6) {
			return r.Subnet6, naru.Errorf(naru.Conflict, "subnet %s overlaps %s of network %s", r.Subnet6, n.Subnet6, n.Name)
		}
	}
	return r.Subnet6, nil
}

// chooseSubnet takes the one that was asked for, when nobody else has it, or the next free one.
func chooseSubnet(r NetworkRequest, pool netip.Prefix, used []netip.Prefix) (netip.Prefix, error) {
	if !r.Subnet.IsValid() {
		if r.Gateway.IsValid() {
			return netip.Prefix{}, naru.Errorf(naru.InvalidArgument, "gateway %s: name the subnet that it is in, too", r.Gateway)
		}
		subnet, err := network.AllocateSubnet(pool, subnetBits(r.Name, pool), used)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("find a subnet for network %s: %w", r.Name, err)
		}
		return subnet, nil
	}
	switch s := r.Subnet; {
	case !s.Addr().Is4() || s != s.Masked() || s.Bits() < 8 || s.Bits() > 30:
		return netip.Prefix{}, naru.Errorf(naru.InvalidArgument, "subnet %s: write an IPv4 subnet from /8 to /30 by its first address, such as 10.20.0.0/24", s)
	case r.Gateway.IsValid() && (!s.Contains(r.Gateway) || r.Gateway == s.Addr()):
		return netip.Prefix{}, naru.Errorf(naru.InvalidArgument, "gateway %s is not an address in subnet %s", r.Gateway, s)
	}
	if i := slices.IndexFunc(used, r.Subnet.Overlaps); i >= 0 {
		return netip.Prefix{}, naru.Errorf(naru.Conflict, "subnet %s overlaps %s, which another network or the host itself uses", r.Subnet, used[i])
	}
	return r.Subnet, nil
}

// uniqueLocal is the n-th IPv6 subnet of an engine: of addresses that no router of the world knows, and that no other
// engine has, as its prefix is drawn from where its data is on which machine.
func uniqueLocal(dataDir string, n int) netip.Prefix {
	machine, _ := os.ReadFile("/etc/machine-id") // without one, the folder alone tells engines apart
	sum := sha256.Sum256(append(machine, dataDir...))
	b := [16]byte{0: 0xfd, 6: byte(n >> 8), 7: byte(n)}
	copy(b[1:6], sum[:])
	return netip.PrefixFrom(netip.AddrFrom16(b), 64)
}

func hostHasIPv6() bool {
	_, err := os.Stat("/proc/sys/net/ipv6/conf/all/forwarding")
	return err == nil
}

// RemoveNetwork removes a network that no container is on; one that does not exist is no error.
func (e *Engine) RemoveNetwork(ctx context.Context, name string) error {
	e.netMu.Lock()
	defer e.netMu.Unlock()
	if user := e.userOf(name); user != "" {
		return naru.Errorf(naru.FailedPrecondition, "network %s is used by container %s: remove that first, or disconnect it", name, user)
	}
	if err := e.forgetNetwork(ctx, name); err != nil {
		return err
	}
	e.mu.Lock()
	delete(e.networks, name)
	e.mu.Unlock()
	return e.applyLocked(ctx)
}

// DeleteNetwork removes a network that people name: it must exist, and not be the default one.
func (e *Engine) DeleteNetwork(ctx context.Context, name string) error {
	if name == DefaultNetwork {
		return naru.Errorf(naru.FailedPrecondition, "network %s is the default one: it stays", name)
	}
	if _, err := e.Network(name); err != nil {
		return err
	}
	return e.RemoveNetwork(ctx, name)
}

// PruneNetworks removes the networks that somebody made and no container is on, and returns their names.
func (e *Engine) PruneNetworks(ctx context.Context) ([]string, error) {
	var removed []string
	for _, n := range e.Networks() {
		if !n.Custom || e.userOf(n.Name) != "" {
			continue
		}
		err := e.RemoveNetwork(ctx, n.Name)
		if naru.CodeOf(err) == naru.FailedPrecondition {
			continue // somebody has just come
		}
		if err != nil {
			return removed, err
		}
		removed = append(removed, n.Name)
	}
	return removed, nil
}

// userOf names a container on the network, or returns "".
func (e *Engine) userOf(name string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, en := range e.containers {
		if slices.ContainsFunc(en.c.Spec.joins(), func(j Join) bool { return j.Network == name }) {
			return en.c.Name
		}
	}
	return ""
}

// networkOf is the network of a container's first interface, or of the container whose network it shares; zero for one
// that has no gateway.
func (e *Engine) networkOf(c Container) network.Network {
	if peer, ok := strings.CutPrefix(c.Spec.Network, containerNetwork); ok {
		if other, err := e.find(peer); err == nil {
			c = e.snapshot(other)
		}
	}
	joins := c.Spec.joins()
	if len(joins) == 0 {
		return network.Network{}
	}
	n, _ := e.lookupNetwork(joins[0].Network)
	return n.Network
}

// Publish leads ports of the host to the given backends, in the place of what the same key published before. Before Run
// it is only noted. A port that somebody else holds is a Conflict.
func (e *Engine) Publish(ctx context.Context, key string, pubs []network.Publication) error {
	e.mu.Lock()
	if len(pubs) == 0 {
		delete(e.published, key)
	} else {
		e.published[key] = pubs
	}
	e.mu.Unlock()
	return e.applyChange(ctx)
}

// applyChange brings a change to the kernel, once Run has begun; before, Run's first round does.
func (e *Engine) applyChange(ctx context.Context) error {
	if !e.hasBegun() {
		return nil
	}
	return e.applyNetwork(ctx)
}

func (e *Engine) hasBegun() bool {
	select {
	case <-e.begun:
		return true
	default:
		return false
	}
}

// bring brings a change to the kernel that somebody needs there, and waits for Run to begin.
func (e *Engine) bring(ctx context.Context) error {
	select {
	case <-e.begun:
		return e.applyNetwork(ctx)
	case <-ctx.Done():
		return fmt.Errorf("wait for the networks, which the daemon was just bringing up: %w", ctx.Err())
	}
}

// bringNetwork makes sure that the kernel has the network.
func (e *Engine) bringNetwork(ctx context.Context, n network.Network) error {
	if e.net.Has(n) {
		return nil
	}
	return e.bring(ctx)
}

// lead makes the kernel lead to the published ports of a container that starts. One that has none changes nothing there,
// once its networks are there.
func (e *Engine) lead(ctx context.Context, c Container) error {
	if len(c.ports()) == 0 && e.joinable(c) {
		return nil
	}
	return e.bring(ctx)
}

// leadNoLonger is for one that has ended.
func (e *Engine) leadNoLonger(ctx context.Context, c Container) error {
	if len(c.ports()) == 0 {
		return nil
	}
	return e.applyChange(ctx)
}

// joinable says whether the kernel has the container's networks.
func (e *Engine) joinable(c Container) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !slices.ContainsFunc(c.endpoints(), func(at Endpoint) bool { return !e.net.Has(e.networks[at.Network].Network) })
}

func (e *Engine) applyNetwork(ctx context.Context) error {
	e.netMu.Lock()
	defer e.netMu.Unlock()
	return e.applyLocked(ctx)
}

// applyLocked makes the kernel's bridges and rules, and the resolver, what memory says. The caller holds netMu.
func (e *Engine) applyLocked(ctx context.Context) error {
	if e.left {
		return fmt.Errorf("apply the network: the daemon has ended: %w", context.Canceled)
	}
	state := e.networkState()
	if err := e.net.Apply(ctx, state); err != nil {
		return fmt.Errorf("apply the network: %w", err)
	}
	return errors.Join(e.publishOutside(ctx, state), e.answerNames(ctx, state))
}

// publishOutside publishes ports where rules do not reach. One that cannot be had keeps nobody else from being reached.
func (e *Engine) publishOutside(ctx context.Context, state network.State) error {
	if e.cfg.Ports == nil {
		return nil
	}
	if err := e.cfg.Ports.Set(ctx, state.Publications); err != nil {
		return fmt.Errorf("publish ports: %w", err)
	}
	return nil
}

// networkState is what the kernel should have: all networks, and the ports of what runs or is about to.
func (e *Engine) networkState() network.State {
	e.mu.Lock()
	defer e.mu.Unlock()
	var s network.State
	for _, n := range e.networks {
		s.Networks = append(s.Networks, n.Network)
	}
	slices.SortFunc(s.Networks, func(a, b network.Network) int { return cmp.Compare(a.Bridge, b.Bridge) })
	for _, key := range slices.Sorted(maps.Keys(e.published)) {
		s.Publications = append(s.Publications, e.published[key]...)
	}
	for _, id := range slices.Sorted(maps.Keys(e.containers)) {
		if c := e.containers[id].c; c.State == Running || c.State == Starting {
			s.Publications = append(s.Publications, publications(c)...)
		}
	}
	return s
}
