package escape

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"naru/internal/testkit"
)

// attacksByNetwork go for the host's own services and for sockets.
func attacksByNetwork(t *testing.T, s *suite) {
	service := listen(t, "tcp", "127.0.0.1:0")
	_, port, err := net.SplitHostPort(service)
	must(t, err)
	const loopback = "a service on the host's 127.0.0.1"
	s.table.note(t, loopback, naru, s.inNaru(nil, "tcp", service))
	s.table.note(t, loopback, naru, s.inNaru(nil, "gateway", port))
	s.table.red(t, loopback, "in the host's network", s.onHost(t, nil, "tcp", service))

	t.Run("frames", func(t *testing.T) { handmadeFrames(t, s) })

	abstract := "@naru-escape-" + filepath.Base(s.dir)
	listen(t, "unix", abstract)
	const sockets = "an abstract unix socket of the host"
	s.table.note(t, sockets, naru, s.inNaru(nil, "abstract", abstract))
	s.table.red(t, sockets, "in the host's network", s.onHost(t, nil, "abstract", abstract))

	for _, socket := range []struct{ name, file, kind string }{
		{"the daemon's socket", "naru.sock", "unix"}, {"the keeper's socket", "keeper.sock", "unixpacket"},
	} {
		path := filepath.Join(s.d.Run, socket.file)
		s.table.note(t, socket.name, naru, s.inNaru(nil, socket.kind, path, "/proc/1/root"+path, "/proc/self/cwd"+path))
		s.table.red(t, socket.name, asRoot, s.onHost(t, nil, socket.kind, path))
	}
}

// listen is a service of the host that answers nobody; its address is returned.
func listen(t *testing.T, network, address string) string {
	t.Helper()
	l, err := net.Listen(network, address)
	must(t, err)
	t.Cleanup(func() { must(t, l.Close()) })
	return l.Addr().String()
}

// handmadeFrames are datagrams for 127.0.0.1 that a container puts onto its wire itself: with route_localnet on, which
// published ports need, only naru's guard keeps them from the host.
func handmadeFrames(t *testing.T, s *suite) {
	const name = "handmade frames to the host's 127.0.0.1 (CVE-2020-8558)"
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	must(t, err)
	defer conn.Close()
	s.background(t, "framer", nil, "hold", "100") // a start would bring the guard back: only an exec does not
	try := func() outcome {
		o := s.exec("framer", nil, "frames", conn.LocalAddr().String())
		if o.verdict != "held" {
			return o
		}
		must(t, conn.SetReadDeadline(time.Now().Add(200*time.Millisecond)))
		if n, from, err := conn.ReadFrom(make([]byte, 64)); err == nil {
			return outcome{"escaped", fmt.Sprintf("%d bytes from %v arrived", n, from)}
		}
		return o
	}
	s.table.note(t, name, naru, try())
	nft, err := exec.LookPath("nft")
	if err != nil {
		return
	}
	family, table := s.nftTable(t, nft)
	var open outcome
	for range 10 { // a container that is on its way out brings the guard back
		if out, err := exec.Command(nft, "flush", "chain", family, table, "guard").CombinedOutput(); err != nil {
			t.Fatalf("flush the guard: %v: %s", err, out)
		}
		if open = try(); open.verdict == "escaped" {
			break
		}
	}
	s.table.red(t, name, "without the guard chain of naru's nft table", open)
}

// nftTable finds the table of our daemon: the one that knows its subnet.
func (s *suite) nftTable(t *testing.T, nft string) (family, name string) {
	t.Helper()
	out, err := exec.Command(nft, "list", "tables").Output()
	must(t, err)
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) != 3 || !strings.HasPrefix(f[2], "naru-") {
			continue
		}
		text, err := exec.Command(nft, "list", "table", f[1], f[2]).Output()
		if err == nil && strings.Contains(string(text), strings.TrimSuffix(s.d.Subnet.Addr().String(), "0.0")) {
			return f[1], f[2]
		}
	}
	t.Fatal("the daemon's nft table is not found")
	return "", ""
}

// attacksOnNeighbours go for other containers: over the network, by their pids, and through their files.
func attacksOnNeighbours(t *testing.T, s *suite) {
	if r := s.d.Naru("network", "create", "other"); r.Code != 0 {
		t.Fatal(r)
	}
	t.Cleanup(func() { s.d.Naru("network", "rm", "other") }) // after its containers: cleanups run last to first
	s.background(t, "near", nil, "serve", "7777")
	far := s.background(t, "far", words("--network", "other"), "serve", "7777")
	s.says(t, "near", "serving")
	s.says(t, "far", "serving")
	service := net.JoinHostPort(far.Addr.String(), "7777")

	const other = "a container on another network"
	s.table.note(t, other, naru, s.inNaru(nil, "tcp", service))
	s.table.red(t, other, "from its own network", s.inNaru(words("--network", "other"), "tcp", service))

	const pids = "a process of another container"
	pid := fmt.Sprint(far.PID)
	s.table.note(t, pids, naru, s.inNaru(nil, "signal", pid))
	if got := s.d.Containers(); !running(got, "far") {
		t.Errorf("the other container does not run any more: %+v", got)
	}

	const ranges = "the ids of another container"
	near := uidMap(t, s, "near")
	o := outcome{"held", near}
	if far := uidMap(t, s, "far"); near == far {
		o = outcome{"escaped", "both have " + far}
	}
	s.table.note(t, ranges, naru, o)

	const files = "a file of another container"
	if r := s.d.Naru("container", "exec", "far", "sh", "-c", "echo secret >/escape-secret"); r.Code != 0 {
		t.Fatal(r)
	}
	path := find(t, s.d.Data, "escape-secret")
	s.table.note(t, files, naru, s.inNaru(nil, "host-file", path))
	s.table.red(t, files, asRoot, s.onHost(t, nil, "host-file", path))
}

func running(containers []testkit.Container, name string) bool {
	for _, c := range containers {
		if c.Name == name {
			return c.State == "running"
		}
	}
	return false
}

func uidMap(t *testing.T, s *suite, name string) string {
	t.Helper()
	r := s.d.Naru("container", "exec", name, "cat", "/proc/self/uid_map")
	if r.Code != 0 {
		t.Fatal(r)
	}
	return strings.Join(strings.Fields(r.Stdout), " ")
}
