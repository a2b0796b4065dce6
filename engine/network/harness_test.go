package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// The tests run in a network namespace of their own, which plays the host: the machine's own interfaces, rules and
// sysctls are never touched. Containers are further namespaces, and so is the outside world.

const inOwnHost = "NARU_TEST_OWN_HOST"

func TestMain(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv(inOwnHost) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), inOwnHost+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		fmt.Fprintln(os.Stderr, "run the tests in a network namespace:", err)
		os.Exit(1)
	}
	os.Exit(cmd.ProcessState.ExitCode())
}

const testTag = "te57"

var (
	hostAddr    = netip.MustParseAddr("198.51.100.1") // of the host, towards the outside
	outsideAddr = netip.MustParseAddr("198.51.100.2")
)

// newHost returns a Manager, and checks at the end of the test that it left nothing.
func newHost(t testing.TB) *Manager {
	t.Helper()
	return newHostWith(t, Config{Tag: testTag})
}

func newHostWith(t testing.TB, c Config) *Manager {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	must(t, netlink.LinkSetUp(&netlink.Device{LinkAttrs: netlink.LinkAttrs{Index: 1}}))
	before := kernelState(t)
	m := New(c)
	t.Cleanup(func() {
		must(t, m.RemoveAll(context.Background()))
		left, err := m.leftovers(context.Background())
		must(t, err)
		must(t, m.Close())
		if len(left) != 0 {
			t.Errorf("left over: %v", left)
		}
		if after := kernelState(t); !slices.Equal(before, after) {
			t.Errorf("not cleaned up:\nbefore %v\nafter  %v", before, after)
		}
	})
	return m
}

// kernelState lists what a Manager could leave behind: interfaces and nftables' tables.
func kernelState(t testing.TB) []string {
	t.Helper()
	links, err := netlink.LinkList()
	must(t, err)
	var all []string
	for _, l := range links {
		all = append(all, l.Attrs().Name)
	}
	return append(all, strings.Split(nft(t, "list", "tables"), "\n")...)
}

func nft(t testing.TB, args ...string) string {
	t.Helper()
	out, err := exec.Command("nft", args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("needs nft: apt-get install nftables")
	}
	if err != nil {
		t.Fatalf("nft %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testNetwork is the i-th network of the tests.
func testNetwork(i int) Network {
	subnet := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 199, byte(i), 0}), 24)
	return Network{Name: fmt.Sprintf("net%d", i), Bridge: BridgeName(testTag, i), Subnet: subnet, Gateway: Gateway(subnet)}
}

// newNetNS makes a namespace that lives until the test ends.
func newNetNS(t testing.TB) *os.File {
	t.Helper()
	type result struct {
		ns  *os.File
		err error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			made <- result{err: err}
			return
		}
		ns, err := os.Open("/proc/thread-self/ns/net")
		made <- result{ns, err}
	}()
	r := <-made
	must(t, r.err)
	t.Cleanup(func() { r.ns.Close() })
	return r.ns
}

// container is a namespace on a network.
type container struct {
	t    testing.TB
	id   string
	addr netip.Addr
	ns   *os.File
}

func attach(t testing.TB, m *Manager, n Network, last byte) container {
	t.Helper()
	b := n.Subnet.Addr().As4()
	b[3] = last
	c := container{t, fmt.Sprintf("container-%s-%d", n.Name, last), netip.AddrFrom4(b), newNetNS(t)}
	must(t, m.Attach(t.Context(), n, Endpoint{ID: c.id, Addr: c.addr, NetNS: c.ns}))
	return c
}

// hostNS is the namespace of the tests as one to dial from.
func hostNS(t testing.TB) *os.File {
	t.Helper()
	ns, err := os.Open("/proc/thread-self/ns/net")
	must(t, err)
	t.Cleanup(func() { ns.Close() })
	return ns
}

// outside is a machine next to the host, which is reachable from there as hostAddr.
func outside(t testing.TB) *os.File {
	t.Helper()
	ns := newNetNS(t)
	link := netlink.NewVeth(netlink.LinkAttrs{Name: "lan0"})
	link.PeerName, link.PeerNamespace = "lan1", netlink.NsFd(ns.Fd())
	must(t, netlink.LinkAdd(link))
	t.Cleanup(func() { must(t, netlink.LinkDel(link)) })
	must(t, giveAddress("lan0", hostAddr))
	must(t, inNetNS(ns, func() error { return errors.Join(giveAddress("lan1", outsideAddr), settle("lan1")) }))
	must(t, settle("lan0"))
	return ns
}

func giveAddress(dev string, addr netip.Addr) error {
	link, err := netlink.LinkByName(dev)
	if err != nil {
		return err
	}
	ip := &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(24, 32)}
	return errors.Join(netlink.AddrAdd(link, &netlink.Addr{IPNet: ip}), netlink.LinkSetUp(link))
}

func settle(dev string) error {
	c, err := openConversation()
	if err != nil {
		return err
	}
	defer c.close()
	return c.settle(dev)
}

// serve answers on a TCP and a UDP port of a namespace with "name sees client".
func serve(t testing.TB, ns *os.File, name string, port uint16) {
	t.Helper()
	serveFamily(t, ns, name, port, "4")
}

func serveFamily(t testing.TB, ns *os.File, name string, port uint16, family string) {
	t.Helper()
	var l net.Listener
	var p net.PacketConn
	must(t, inNetNS(ns, func() (err error) {
		if l, err = net.Listen("tcp"+family, fmt.Sprintf(":%d", port)); err != nil {
			return err
		}
		p, err = net.ListenPacket("udp"+family, fmt.Sprintf(":%d", port))
		return err
	}))
	done := make(chan struct{}, 2)
	go func() { serveTCP(l, name); done <- struct{}{} }()
	go func() { serveUDP(p, name); done <- struct{}{} }()
	t.Cleanup(func() { l.Close(); p.Close(); <-done; <-done })
}

func serveTCP(l net.Listener, name string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		fmt.Fprintf(c, "%s sees %s", name, c.RemoteAddr().(*net.TCPAddr).IP)
		c.Close()
	}
}

func serveUDP(p net.PacketConn, name string) {
	buf := make([]byte, 64)
	for {
		_, from, err := p.ReadFrom(buf)
		if err != nil {
			return
		}
		fmt.Fprintf(writerTo{p, from}, "%s sees %s", name, from.(*net.UDPAddr).IP)
	}
}

type writerTo struct {
	net.PacketConn
	to net.Addr
}

func (w writerTo) Write(b []byte) (int, error) { return w.WriteTo(b, w.to) }

// patience is for an emulated machine: what does not answer is found by expectNone.
const patience = 5 * time.Second

// ask calls an address from a namespace and returns the answer, or the error.
func ask(ns *os.File, proto string, to netip.AddrPort) (string, error) {
	return askFrom(ns, proto, to, nil, patience)
}

func askFrom(ns *os.File, proto string, to netip.AddrPort, local net.Addr, limit time.Duration) (string, error) {
	var c net.Conn
	family := "4"
	if to.Addr().Is6() {
		family = "6"
	}
	err := inNetNS(ns, func() (err error) {
		c, err = (&net.Dialer{Timeout: limit, LocalAddr: local}).Dial(proto+family, to.String())
		return err
	})
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(limit))
	if proto == "udp" {
		if _, err := c.Write([]byte("who?")); err != nil {
			return "", err
		}
		buf := make([]byte, 64)
		n, err := c.Read(buf)
		return string(buf[:n]), err
	}
	b, err := io.ReadAll(c)
	return string(b), err
}

// expect asks and compares.
func expect(t testing.TB, ns *os.File, proto string, to netip.AddrPort, want string) {
	t.Helper()
	got, err := ask(ns, proto, to)
	if err != nil || got != want {
		t.Errorf("%s %s: got %q, %v; want %q", proto, to, got, err, want)
	}
}

// expectNone asks and wants no answer. The wait is short: nothing comes back from a dropped packet.
func expectNone(t testing.TB, ns *os.File, proto string, to netip.AddrPort) {
	t.Helper()
	if got, err := askFrom(ns, proto, to, nil, 150*time.Millisecond); err == nil {
		t.Errorf("%s %s: got %q, want no answer", proto, to, got)
	}
}
