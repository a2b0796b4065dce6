package network

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// processIn runs a process in a namespace until the test ends: whose ways to ask for.
func processIn(t *testing.T, ns *os.File) int {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	must(t, inNetNS(ns, cmd.Start))
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	return cmd.Process.Pid
}

// show writes a way as one line a hop, without what differs from run to run.
func show(ways []Way) string {
	var b strings.Builder
	for _, w := range ways {
		fmt.Fprintf(&b, "%d/%s\n", w.Port, w.Protocol)
		for _, h := range w.Hops {
			name, _, _ := strings.Cut(h.Name, " (pid")
			if h.Kind == HopVeth && !h.Missing {
				name = "VETH"
			}
			fmt.Fprintf(&b, "  %s %s: %s", h.Kind, name, h.Text)
			if h.Count != nil {
				fmt.Fprintf(&b, " [%d]", h.Count.Connections)
			}
			if h.Missing {
				b.WriteString(" MISSING")
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func expectWays(t *testing.T, m *Manager, s Subject, want string) {
	t.Helper()
	ways, err := m.Ways(t.Context(), s)
	must(t, err)
	if got := show(ways); got != strings.TrimLeft(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWaysAreReadFromTheKernel(t *testing.T) {
	m := newHost(t)
	world := outside(t)
	n := testNetwork(1)
	s := State{Networks: []Network{n}, Publications: []Publication{
		{HostPort: 8080, Protocol: "tcp", Backends: []netip.AddrPort{netip.MustParseAddrPort("10.199.1.2:80"), netip.MustParseAddrPort("10.199.1.3:80")}},
		{HostIP: localhost, HostPort: 5353, Protocol: "udp", Backends: []netip.AddrPort{netip.MustParseAddrPort("10.199.1.2:53")}},
	}}
	must(t, m.Apply(t.Context(), s))
	a := attach(t, m, n, 2)
	serve(t, a.ns, "a", 80)
	other := attach(t, m, n, 3)
	serve(t, other.ns, "b", 80)
	for range 3 {
		if _, err := ask(world, "tcp", at(hostAddr, 8080)); err != nil {
			t.Fatal(err)
		}
	}
	s.Publications = append(s.Publications, Publication{HostPort: 9, Protocol: "tcp", Backends: []netip.AddrPort{at(other.addr, 9)}})
	must(t, m.Apply(t.Context(), s)) // a change elsewhere does not set the counters back
	pid := processIn(t, a.ns)
	test, err := os.ReadFile("/proc/self/comm")
	must(t, err)
	process := strings.TrimSpace(string(test))
	published := `
80/tcp
  host lo: 8080/tcp of every address of the host; it has no default route
  rule tcp-8080: dnat to 10.199.1.2:80, one of 2 in turn [3]
  bridge nrte57-1: 10.199.1.1/24, up
  veth VETH: up
  inside eth0: 10.199.1.2/24, up
  process ` + process + `: listens on 0.0.0.0:80/tcp
`
	udp := `53/udp
  host lo: 127.0.0.1:5353/udp
  rule udp-127.0.0.1-5353: dnat to 10.199.1.2:53 [0]
  bridge nrte57-1: 10.199.1.1/24, up
  veth VETH: up
  inside eth0: 10.199.1.2/24, up
  process : nobody listens on port 53/udp MISSING
`
	plain := `80/udp
  rule : no rule leads here from a port of the host: only neighbours and the host itself reach it MISSING
  bridge nrte57-1: 10.199.1.1/24, up
  veth VETH: up
  inside eth0: 10.199.1.2/24, up
  process ` + process + `: listens on 0.0.0.0:80/udp
`
	expectWays(t, m, Subject{PID: pid, Port: 80, Protocol: "tcp"}, published)
	expectWays(t, m, Subject{PID: pid}, published+udp+plain)

	// What is gone from the kernel is missing, whatever the Manager remembers.
	must(t, run("nft delete table inet "+tableName(testTag)))
	must(t, deleteLink(m.vethName(newPlace(a.id, ""))))
	expectWays(t, m, Subject{PID: pid, Port: 80, Protocol: "tcp"}, `
80/tcp
  rule : no rule leads here from a port of the host: only neighbours and the host itself reach it MISSING
  inside : the container has no interface that others can reach MISSING
  process `+process+`: listens on 0.0.0.0:80/tcp
`)
}

func TestWaysOfTheHostsOwnNetwork(t *testing.T) {
	m := newHost(t)
	serve(t, hostNS(t), "host", 8053)
	pid := processIn(t, hostNS(t))
	expectWays(t, m, Subject{PID: pid, Port: 8054, Protocol: "tcp"}, `
8054/tcp
  host lo: 8054/tcp of every address of the host; it has no default route
  process : nobody listens on port 8054/tcp MISSING
`)
	ways, err := m.Ways(t.Context(), Subject{PID: pid, Port: 8053, Protocol: "udp"})
	if err != nil || len(ways) != 1 || ways[0].Hops[1].Missing {
		t.Errorf("got %v, %v", ways, err)
	}
}
