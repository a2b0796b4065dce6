package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"naru/internal/testkit"
)

// web runs a container that answers each connection to its port 80 with its name.
func web(d *testkit.Daemon, name string, flags ...string) {
	args := append([]string{"container", "run", "-d", "--name", name}, flags...)
	d.OK(append(args, busybox, "nc", "-ll", "-p", "80", "-e", "echo", name)...)
}

// says asks an address of the host until it answers with the word.
func says(t *testing.T, address, want string) {
	t.Helper()
	testkit.Eventually(t, 10*time.Second, address+" says "+want, func() error {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return err
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		got, err := io.ReadAll(conn)
		if string(got) != want+"\n" {
			return fmt.Errorf("got %q, %v", got, err)
		}
		return nil
	})
}

// heard is what a container hears from port 80 of a name; "" when nobody answers.
func heard(d *testkit.Daemon, from, name string) string {
	return strings.TrimSpace(d.Naru("container", "exec", from, "sh", "-c", "echo | nc -w 2 "+name+" 80").Stdout)
}

// hears waits until it does.
func hears(t *testing.T, d *testkit.Daemon, from, name, want string) {
	t.Helper()
	testkit.Eventually(t, 10*time.Second, from+" hears "+want, func() error {
		if got := heard(d, from, name); got != want {
			return fmt.Errorf("%s hears %q from %s", from, got, name)
		}
		return nil
	})
}

func TestNetworkPathFollowsARequest(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	port := testkit.FreePort(t)
	web(d, "web", "-p", fmt.Sprintf("127.0.0.1:%d:80", port))
	says(t, fmt.Sprintf("127.0.0.1:%d", port), "web")
	says(t, fmt.Sprintf("127.0.0.1:%d", port), "web")

	hops := pathOf(d, "web:80")
	if got, want := kinds(hops), "host rule bridge veth inside process"; got != want {
		t.Fatalf("hops are %s, want %s", got, want)
	}
	if host := hops[0]; host.Name != "lo" || !strings.Contains(host.Text, fmt.Sprintf("127.0.0.1:%d/tcp", port)) {
		t.Errorf("host: %+v", host)
	}
	if rule := hops[1]; rule.Connections == nil || *rule.Connections < 2 {
		t.Errorf("rule has not counted: %+v", rule)
	}
	if p := hops[5]; !strings.HasPrefix(p.Name, "nc (pid ") {
		t.Errorf("process: %+v", p)
	}
	if out := d.OK("network", "path", "web"); !strings.Contains(out, "TO web:80/tcp") || strings.Contains(out, "MISSING") {
		t.Errorf("for people:\n%s", out)
	}
	if out := d.OK("network", "path", "web:81"); !strings.Contains(out, "MISSING: no rule leads here") || !strings.Contains(out, "MISSING: nobody listens on port 81/tcp") {
		t.Errorf("a port that nobody serves:\n%s", out)
	}

	// Not what naru believes: what is taken away behind its back is missing, in the second until naru mends it.
	if out, err := exec.Command("ip", "link", "set", hops[3].Name, "nomaster").CombinedOutput(); err != nil {
		t.Fatalf("take the veth off its bridge: %v %s", err, out)
	}
	if out := d.OK("network", "path", "web:80"); !strings.Contains(out, "MISSING: the pair is on no bridge") {
		t.Errorf("without a bridge:\n%s", out)
	}
	d.OK("container", "rm", "-f", "web")
	refuses(t, d.Naru("network", "path", "web"), "web")
	d.Settles(before)
}

// A name leads to what runs at that instant: not to what is stopped, also when that ended while no daemon ran.
func TestNamesAreOfWhatRuns(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	d.OK("network", "create", "front")
	web(d, "asker", "--network", "front")
	web(d, "web", "--network", "front", "--network-alias", "api")
	known := func() bool {
		return d.Naru("container", "exec", "asker", "nslookup", "-type=a", "api.").Code == 0
	}
	hears(t, d, "asker", "api", "web")
	d.OK("container", "stop", "-t", "0", "web")
	if known() {
		t.Error("the name of a container that is stopped is known")
	}
	d.OK("container", "start", "web")
	hears(t, d, "asker", "api", "web")
	pid := d.OK("container", "inspect", "web", "--format", "{{.PID}}")
	d.Kill9()
	if out, err := exec.Command("kill", "-9", strings.TrimSpace(pid)).CombinedOutput(); err != nil {
		t.Fatalf("kill the container: %v %s", err, out)
	}
	d.Start()
	if known() {
		t.Error("the name of a container that ended while no daemon ran is known")
	}
	d.OK("container", "rm", "-f", "asker", "web")
	d.OK("network", "rm", "front")
	d.Settles(before)
}

// Rules that somebody throws away are there again within a second, as is a firewall's `nft flush ruleset`.
func TestRulesThatAreFlushedComeBack(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	port := testkit.FreePort(t)
	address := fmt.Sprintf("127.0.0.1:%d", port)
	web(d, "web", "-p", fmt.Sprintf("%s:80", address))
	says(t, address, "web")
	table := "naru-" + strings.TrimPrefix(strings.Split(d.Bridge(), "-")[0], "nr")
	if out, err := exec.Command("nft", "delete", "table", "inet", table).CombinedOutput(); err != nil {
		t.Fatalf("delete the table: %v %s", err, out)
	}
	says(t, address, "web")
	d.OK("container", "rm", "-f", "web")
	d.Settles(before)
}

// Connections by published ports end with the port: the kernel forgets them, so that nobody who gets the address next
// hears what was meant for another. A container that is stopped, removed or taken off its network has no port any more.
func TestConnectionsEndWithThePort(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	d.OK("network", "create", "front")
	for _, how := range [][]string{
		{"container", "stop", "-t", "0", "echo"}, {"container", "rm", "-f", "echo"}, {"network", "disconnect", "front", "echo"},
	} {
		port := testkit.FreePort(t)
		address := fmt.Sprintf("127.0.0.1:%d", port)
		d.OK("container", "run", "-d", "--name", "echo", "--network", "front", "-p", address+":80", "-p", address+":80/udp",
			busybox, "nc", "-ll", "-p", "80", "-e", "cat")
		addr := endpointOn(t, d, "echo", "front").Addr
		tcp := echoes(t, address)
		udp, err := net.Dial("udp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer udp.Close()
		_, _ = udp.Write([]byte("who?")) // nobody needs to be there for the kernel to remember it
		if flows := translatedTo(t, addr); len(flows) < 2 {
			t.Errorf("before: conntrack knows %v", flows)
		}
		d.OK(how...)
		testkit.Eventually(t, 10*time.Second, "the kernel forgets the connections of "+addr.String(), func() error {
			_, _ = udp.Write([]byte("more")) // a client that never gives up
			if _, err := tcp.Write([]byte("more")); err == nil {
				return errors.New("the connection stands")
			}
			if flows := translatedTo(t, addr); len(flows) > 0 {
				return fmt.Errorf("it knows %v", flows)
			}
			return nil
		})
		d.Naru("container", "rm", "-f", "echo")
	}
	d.OK("network", "rm", "front")
	d.Settles(before)
}

// echoes is a connection to somebody who sends back what is sent.
func echoes(t *testing.T, address string) net.Conn {
	t.Helper()
	var conn net.Conn
	testkit.Eventually(t, 10*time.Second, address+" echoes", func() (err error) {
		if conn, err = net.DialTimeout("tcp", address, time.Second); err != nil {
			return err
		}
		_ = conn.SetDeadline(time.Now().Add(time.Second))
		buf := make([]byte, 4)
		if _, err = conn.Write([]byte("who?")); err == nil {
			_, err = io.ReadFull(conn, buf)
		}
		if err != nil {
			conn.Close()
		}
		return err
	})
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Time{})
	return conn
}

// translatedTo are the connections that the kernel leads to an address of a container from elsewhere.
func translatedTo(t *testing.T, addr netip.Addr) []string {
	t.Helper()
	text, err := os.ReadFile("/proc/net/nf_conntrack")
	if err != nil {
		t.Skipf("needs a kernel that lists its connections (CONFIG_NF_CONNTRACK_PROCFS): %v", err)
	}
	var flows []string
	for line := range strings.Lines(string(text)) { // there and back: … src=… dst=… sport=… dport=… src=… dst=…
		there, back, _ := strings.Cut(strings.Replace(line, "src=", "", 1), "src=")
		if who, _, _ := strings.Cut(back, " "); who == addr.String() && !strings.Contains(there, "dst="+who+" ") {
			flows = append(flows, line)
		}
	}
	return flows
}

type hop struct {
	Kind, Name, Text string
	Missing          bool
	Connections      *uint64
}

// pathOf reads the only way to a container's port.
func pathOf(d *testkit.Daemon, what string) []hop {
	var path struct{ Ways []struct{ Hops []hop } }
	d.JSON(&path, "network", "path", what)
	if len(path.Ways) != 1 {
		return nil
	}
	return path.Ways[0].Hops
}

func kinds(hops []hop) string {
	var all []string
	for _, h := range hops {
		all = append(all, h.Kind)
	}
	return strings.Join(all, " ")
}

func TestNetworksAreMadeAndJoined(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	d.OK("network", "create", "front")
	d.OK("network", "create", "back", "--subnet", "10.251.7.0/24", "--gateway", "10.251.7.9", "--internal")
	refuses(t, d.Naru("network", "create", "back"), "back")
	refuses(t, d.Naru("network", "create", "six", "--subnet6", "10.1.0.0/24"), "IPv6 subnet")
	refuses(t, d.Naru("network", "create", "more", "--subnet", "10.251.7.128/25"), "10.251.7.0/24")
	refuses(t, d.Naru("container", "run", "--rm", "--network", "nowhere", busybox, "true"), "nowhere", "network create")

	web(d, "web", "--network", "front")
	web(d, "db", "--network", "back", "--ip", "10.251.7.20", "--network-alias", "store", "--mac-address", "02:00:00:00:00:20")
	refuses(t, d.Naru("container", "run", "--rm", "--network", "back", "--ip", "10.251.7.20", busybox, "true"), "10.251.7.20")
	if mac := d.OK("container", "exec", "db", "cat", "/sys/class/net/eth0/address"); mac != "02:00:00:00:00:20\n" {
		t.Errorf("the MAC address is %s", mac)
	}
	if got := heard(d, "web", "10.251.7.20"); got != "" {
		t.Errorf("two networks are not apart: %q", got)
	}
	d.OK("network", "connect", "back", "web", "--alias", "api")
	hears(t, d, "web", "store", "db")
	hears(t, d, "db", "api", "web")
	refuses(t, d.Naru("network", "rm", "back"), "used by container")

	d.Kill9()
	d.Start()
	hears(t, d, "web", "db", "db")
	d.OK("container", "restart", "web")
	hears(t, d, "web", "db", "db")
	d.OK("network", "disconnect", "back", "web")
	if got := heard(d, "web", "10.251.7.20"); got != "" {
		t.Errorf("disconnected, it still hears %q", got)
	}
	d.OK("container", "rm", "-f", "web", "db")
	if out := d.OK("network", "prune"); out != "back\nfront\n" {
		t.Errorf("pruned: %q", out)
	}
	d.Settles(before)
}

func TestContainersWithOthersNetworks(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	web(d, "web")
	if out := d.OK("container", "run", "--rm", "--network", "container:web", busybox, "sh", "-c", "echo | nc -w 2 127.0.0.1 80"); out != "web\n" {
		t.Errorf("beside web: %q", out)
	}
	refuses(t, d.Naru("container", "run", "--rm", "--network", "container:nobody", busybox, "true"), "nobody")
	refuses(t, d.Naru("container", "run", "--rm", "--network", "host", "-p", "80:80", busybox, "true"), "host")
	if out := d.OK("container", "run", "--rm", "--network", "host", busybox, "ls", "/sys/class/net"); !strings.Contains(out, d.Bridge()) {
		t.Errorf("on the host's network there is %q", out)
	}
	if out := d.OK("container", "run", "--rm", "--network", "none", busybox, "sh", "-c", "wc -l < /proc/net/route"); out != "0\n" {
		t.Errorf("without a network there are routes: %q", out)
	}
	out := d.OK("container", "run", "--rm", "--add-host", "db:10.9.8.7", "--add-host", "here:host-gateway", busybox, "cat", "/etc/hosts")
	if !strings.Contains(out, "10.9.8.7\tdb\n") || !strings.Contains(out, "\there\n") {
		t.Errorf("hosts: %s", out)
	}
	d.OK("container", "rm", "-f", "web")
	d.Settles(before)
}

func TestPortsThatNaruChooses(t *testing.T) {
	d := start(t)
	before := d.Kernel()
	web(d, "one", "-p", "80")
	web(d, "two", "-p", "127.0.0.1::80")
	for _, name := range []string{"one", "two"} {
		at := strings.TrimSpace(d.OK("container", "port", name, "80"))
		_, port, _ := net.SplitHostPort(at)
		says(t, net.JoinHostPort("127.0.0.1", port), name)
	}
	first := testkit.FreePort(t)
	web(d, "range", "-p", fmt.Sprintf("127.0.0.1:%d-%d:80-81", first, first+1))
	says(t, fmt.Sprintf("127.0.0.1:%d", first), "range")
	inspect := d.OK("container", "inspect", "range")
	var containers []struct {
		Published []struct {
			HostPort int `json:"host_port"`
			Port     int `json:"port"`
		} `json:"published"`
	}
	if err := json.Unmarshal([]byte(inspect), &containers); err != nil || len(containers) != 1 || len(containers[0].Published) != 2 {
		t.Errorf("inspect: %v\n%s", err, inspect)
	}
	d.OK("container", "rm", "-f", "one", "two", "range")
	d.Settles(before)
}
