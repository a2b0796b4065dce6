package dns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

var (
	subnet   = netip.MustParsePrefix("10.0.1.0/24")
	client   = netip.MustParseAddr("10.0.1.9")
	stranger = netip.MustParseAddr("10.0.2.9")
)

func testTable() *Table {
	t := NewTable()
	t.Set(testEntries())
	return t
}

func testEntries() map[string]Entry {
	a := netip.MustParseAddr
	return map[string]Entry{"test": {Names: map[netip.Prefix]Names{
		subnet:                                 {"web": {a("10.0.1.2"), a("10.0.1.3")}, "DB": {a("10.0.1.4")}, "six": {a("fd00::1")}},
		netip.MustParsePrefix("10.0.2.0/24"):   {"web": {a("10.0.2.2")}},
		netip.MustParsePrefix("127.0.0.0/8"):   {"web": {a("10.0.1.2"), a("10.0.1.3")}, "many": many(200)},
		netip.MustParsePrefix("10.128.0.0/16"): {},
	}}}
}

func many(n int) []netip.Addr {
	var all []netip.Addr
	for i := range n {
		all = append(all, netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}))
	}
	return all
}

func TestResolve(t *testing.T) {
	for _, c := range []struct {
		client netip.Addr
		asked  string
		kind   dnsmessage.Type
		want   string
	}{
		{client, "web.", dnsmessage.TypeA, "10.0.1.2 10.0.1.3"},
		{client, "WeB.", dnsmessage.TypeA, "10.0.1.2 10.0.1.3"},
		{client, "db.", dnsmessage.TypeA, "10.0.1.4"},
		{client, "db.", dnsmessage.TypeALL, "10.0.1.4"},
		{stranger, "web.", dnsmessage.TypeA, "10.0.2.2"},
		{stranger, "db.", dnsmessage.TypeA, "no such name"},
		{client, "web.", dnsmessage.TypeAAAA, "no such record"},
		{client, "six.", dnsmessage.TypeAAAA, "fd00::1"},
		{client, "six.", dnsmessage.TypeA, "no such record"},
		{client, "web.", dnsmessage.TypeMX, "no such record"},
		{client, "nobody.", dnsmessage.TypeA, "no such name"},
		{client, "nobody.", dnsmessage.TypeTXT, "no such name"},
		{client, "web.example.", dnsmessage.TypeA, "upstream"},
		{client, ".", dnsmessage.TypeNS, "upstream"},
		{client, "2.1.0.10.in-addr.arpa.", dnsmessage.TypePTR, "web"},
		{client, "2.1.0.10.IN-ADDR.ARPA.", dnsmessage.TypePTR, "web"},
		{client, "2.1.0.10.in-addr.arpa.", dnsmessage.TypeA, "no such record"},
		{client, "99.1.0.10.in-addr.arpa.", dnsmessage.TypePTR, "no such name"},
		{client, "2.2.0.10.in-addr.arpa.", dnsmessage.TypePTR, "no such name"},
		{client, "8.8.8.8.in-addr.arpa.", dnsmessage.TypePTR, "upstream"},
		{client, "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", dnsmessage.TypePTR, "six"},
		{client, "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.", dnsmessage.TypePTR, "upstream"},
		{client, "1.0.10.in-addr.arpa.", dnsmessage.TypeSOA, "upstream"},
		{netip.MustParseAddr("192.0.2.1"), "web.", dnsmessage.TypeA, "refused"},
		{netip.MustParseAddr("::ffff:10.0.1.9"), "db.", dnsmessage.TypeA, "10.0.1.4"},
		{netip.Addr{}, "web.", dnsmessage.TypeA, "refused"},
	} {
		got := testTable().resolve(c.client, dnsmessage.Question{Name: dnsmessage.MustNewName(c.asked), Type: c.kind, Class: dnsmessage.ClassINET})
		if inWords(got) != c.want {
			t.Errorf("%s asks %s %s: got %q, want %q", c.client, c.asked, c.kind, inWords(got), c.want)
		}
	}
}

// A client of two networks sees the names of both, its first one's before the other's; its neighbours see one.
func TestClientOfTwoNetworks(t *testing.T) {
	a := netip.MustParseAddr
	second := netip.MustParsePrefix("10.0.2.0/24")
	table := NewTable()
	table.Set(map[string]Entry{"test": {Names: map[netip.Prefix]Names{
		subnet: {"web": {a("10.0.1.2")}},
		second: {"web": {a("10.0.2.2")}, "db": {a("10.0.2.3")}, "data": {a("10.0.2.3")}},
	}, Clients: map[netip.Addr]Client{client: {Also: []netip.Prefix{second}}, a("10.0.2.3"): {Name: "db"}}}})
	ask := func(client netip.Addr, name string, kind dnsmessage.Type) string {
		return inWords(table.resolve(client, dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: kind, Class: dnsmessage.ClassINET}))
	}
	for _, c := range []struct {
		client netip.Addr
		name   string
		kind   dnsmessage.Type
		want   string
	}{
		{client, "web.", dnsmessage.TypeA, "10.0.1.2"},
		{client, "db.", dnsmessage.TypeA, "10.0.2.3"},
		{client, "3.2.0.10.in-addr.arpa.", dnsmessage.TypePTR, "db"},
		{client.Next(), "db.", dnsmessage.TypeA, "no such name"},
	} {
		if got := ask(c.client, c.name, c.kind); got != c.want {
			t.Errorf("%s asks for %s: %s, want %s", c.client, c.name, got, c.want)
		}
	}
}

// A client's own name servers are asked in the place of the server's.
func TestClientWithUpstreamsOfItsOwn(t *testing.T) {
	own := upstream(t, says(netip.MustParseAddr("192.0.2.7")))
	s, server := start(t, fixed(closedPort(t)))
	here := netip.MustParseAddr("127.0.0.1")
	s.Set(map[string]Entry{"here": {Names: map[netip.Prefix]Names{netip.PrefixFrom(here, 8): {}},
		Clients: map[netip.Addr]Client{here: {Upstreams: []netip.AddrPort{own}}}}})
	got, err := resolver(server).LookupHost(t.Context(), "example.org")
	if err != nil || !slices.Equal(got, []string{"192.0.2.7"}) {
		t.Errorf("got %v, %v", got, err)
	}
}

func inWords(a answer) string {
	switch {
	case a.forward:
		return "upstream"
	case a.rcode == dnsmessage.RCodeNameError:
		return "no such name"
	case a.rcode == dnsmessage.RCodeRefused:
		return "refused"
	case len(a.addrs) == 0 && len(a.names) == 0:
		return "no such record"
	}
	var words []string
	for _, x := range a.addrs {
		words = append(words, x.String())
	}
	return strings.Join(append(words, a.names...), " ")
}

// start runs a server on a free port of the loopback and returns where that is.
func start(t *testing.T, upstreams func() []netip.AddrPort) (*Server, string) {
	t.Helper()
	return startAt(t, "127.0.0.1:0", upstreams)
}

func startAt(t *testing.T, address string, upstreams func() []netip.AddrPort) (*Server, string) {
	t.Helper()
	s := New(Config{Upstreams: upstreams})
	s.Set(testEntries())
	sockets, err := bind(t.Context(), netip.MustParseAddrPort(address))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add("test", sockets); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, sockets.UDP.LocalAddr().String()
}

func resolver(server string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server)
	}}
}

func TestGoResolver(t *testing.T) {
	_, addr := start(t, nil)
	r := resolver(addr)
	got, err := r.LookupHost(t.Context(), "web.")
	slices.Sort(got)
	if err != nil || !slices.Equal(got, []string{"10.0.1.2", "10.0.1.3"}) {
		t.Errorf("web: %v, %v", got, err)
	}
	if got, err := r.LookupHost(t.Context(), "many."); err != nil || len(got) != 200 { // over TCP
		t.Errorf("many: %d, %v", len(got), err)
	}
	if got, err := r.LookupAddr(t.Context(), "127.0.0.9"); err == nil {
		t.Errorf("127.0.0.9: %v", got)
	}
	var e *net.DNSError
	if got, err := r.LookupHost(t.Context(), "nobody."); !errors.As(err, &e) || !e.IsNotFound {
		t.Errorf("nobody: %v, %v", got, err)
	}
}

func TestAddressesTakeTurns(t *testing.T) {
	_, addr := start(t, nil)
	first := map[string]int{}
	for range 10 {
		got, err := resolver(addr).LookupIP(t.Context(), "ip4", "web.")
		if err != nil {
			t.Fatal(err)
		}
		first[got[0].String()]++
	}
	if len(first) != 2 {
		t.Errorf("first addresses: %v", first)
	}
}

func TestBusyboxNslookup(t *testing.T) {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("needs busybox: apt-get install busybox-static")
	}
	_, addr := start(t, nil)
	out, err := exec.Command(busybox, "nslookup", "-type=a", "web.", addr).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "10.0.1.2") || !strings.Contains(string(out), "10.0.1.3") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = exec.Command(busybox, "nslookup", "nobody.", addr).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "NXDOMAIN") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestDig(t *testing.T) {
	dig, err := exec.LookPath("dig")
	if err != nil {
		t.Skip("needs dig: apt-get install bind9-dnsutils")
	}
	_, addr := start(t, nil)
	host, port, _ := net.SplitHostPort(addr)
	for _, transport := range []string{"+notcp", "+tcp"} {
		out, err := exec.Command(dig, "@"+host, "-p", port, transport, "web", "A").CombinedOutput()
		if text := string(out); err != nil || !strings.Contains(text, "NOERROR") || !strings.Contains(text, "10.0.1.3") || strings.Contains(text, "WARNING") {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// upstream is a name server of the outside world. A nil answer is silence.
func upstream(t *testing.T, reply func(q query) []byte) netip.AddrPort {
	t.Helper()
	k, err := bind(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 2)
	go func() { upstreamUDP(k.UDP, reply); done <- struct{}{} }()
	go func() { upstreamTCP(k.TCP, reply); done <- struct{}{} }()
	t.Cleanup(func() { k.close(); <-done; <-done })
	return netip.MustParseAddrPort(k.UDP.LocalAddr().String())
}

func upstreamUDP(conn net.PacketConn, reply func(q query) []byte) {
	buf := make([]byte, ednsLimit)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		q, _, _ := parseQuery(buf[:n])
		if msg := reply(q); len(msg) > q.limit {
			_, _ = conn.WriteTo(q.truncated(), from)
		} else if msg != nil {
			_, _ = conn.WriteTo(msg, from)
		}
	}
}

func upstreamTCP(l net.Listener, reply func(q query) []byte) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		if raw, err := readFramed(conn); err == nil {
			q, _, _ := parseQuery(raw)
			_ = writeFramed(conn, reply(q))
		}
		conn.Close()
	}
}

func says(addrs ...netip.Addr) func(query) []byte {
	return func(q query) []byte { return q.reply(answer{addrs: ofType(addrs, q.question.Type)}, 0, tcpLimit) }
}

func silence(query) []byte { return nil }

func fixed(addrs ...netip.AddrPort) func() []netip.AddrPort {
	return func() []netip.AddrPort { return addrs }
}

func closedPort(t *testing.T) netip.AddrPort {
	k, err := bind(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	return netip.MustParseAddrPort(k.UDP.LocalAddr().String())
}

func TestForward(t *testing.T) {
	good := netip.MustParseAddr("192.0.2.80")
	failing := func(q query) []byte { return q.say(dnsmessage.RCodeServerFailure) }
	forged := func(q query) []byte {
		q.header.ID++
		return says(netip.MustParseAddr("6.6.6.6"))(q)
	}
	for name, upstreams := range map[string][]netip.AddrPort{
		"one":             {upstream(t, says(good))},
		"first is closed": {closedPort(t), upstream(t, says(good))},
		"first is silent": {upstream(t, silence), upstream(t, says(good))},
		"first fails":     {upstream(t, failing), upstream(t, says(good))},
		"first is forged": {upstream(t, forged), upstream(t, says(good))},
	} {
		t.Run(name, func(t *testing.T) {
			_, addr := start(t, fixed(upstreams...))
			got, err := resolver(addr).LookupHost(t.Context(), "www.example.com.")
			if err != nil || !slices.Equal(got, []string{good.String()}) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestForwardOverTCP(t *testing.T) {
	_, addr := start(t, fixed(upstream(t, says(many(250)...))))
	got, err := resolver(addr).LookupHost(t.Context(), "www.example.com.")
	if err != nil || len(got) != 250 {
		t.Errorf("got %d, %v", len(got), err)
	}
}

// A host without a network must not make its containers wait.
func TestUnreachableUpstream(t *testing.T) {
	for name, c := range map[string]struct {
		upstreams []netip.AddrPort
		within    time.Duration
	}{
		"none":   {nil, time.Second},
		"closed": {[]netip.AddrPort{closedPort(t), closedPort(t)}, time.Second},
		"silent": {[]netip.AddrPort{upstream(t, silence)}, upstreamTimeout + time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			_, addr := start(t, fixed(c.upstreams...))
			begin := time.Now()
			if rcode := askOnce(t, addr, "www.example.com."); rcode != dnsmessage.RCodeServerFailure {
				t.Errorf("got %v", rcode)
			}
			if took := time.Since(begin); took > c.within {
				t.Errorf("took %v", took)
			}
		})
	}
}

func askOnce(t *testing.T, server, name string) dnsmessage.RCode {
	t.Helper()
	q := query{raw: packQuestion(name)}
	q.question.Name, q.question.Type, q.question.Class = dnsmessage.MustNewName(name), dnsmessage.TypeA, dnsmessage.ClassINET
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, rcode, err := exchange(ctx, q, netip.MustParseAddrPort(server), "udp")
	if err != nil {
		t.Fatal(err)
	}
	return rcode
}

func packQuestion(name string) []byte {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7, RecursionDesired: true},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	b, _ := m.Pack()
	return b
}

// A resolv.conf that names this very server must not make it ask itself for ever.
func TestDoesNotAskItself(t *testing.T) {
	var self []netip.AddrPort
	s, addr := start(t, func() []netip.AddrPort { return self })
	self = []netip.AddrPort{netip.MustParseAddrPort(addr)}
	if others := s.others(); len(others) != 0 {
		t.Errorf("asks %v", others)
	}
}

func TestAddAndRemoveWhileRunning(t *testing.T) {
	s, addr := start(t, nil)
	second, err := bind(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Add("test", second); err == nil {
		t.Error("one name for two pairs of sockets")
	}
	if err := s.Add("second", second); err != nil {
		t.Fatal(err)
	}
	later := second.UDP.LocalAddr().String()
	if rcode := askOnce(t, later, "web."); rcode != dnsmessage.RCodeSuccess {
		t.Error(rcode)
	}
	s.Remove("second")
	s.Remove("second")
	if l, err := net.Listen("tcp", later); err != nil {
		t.Error("still bound:", err)
	} else {
		l.Close()
	}
	if rcode := askOnce(t, addr, "web."); rcode != dnsmessage.RCodeSuccess {
		t.Error(rcode)
	}
}

func TestSet(t *testing.T) {
	s, addr := start(t, nil)
	s.Set(map[string]Entry{"test": {Names: map[netip.Prefix]Names{netip.MustParsePrefix("127.0.0.0/8"): {"new": {client}}}}})
	if got := askOnce(t, addr, "web."); got != dnsmessage.RCodeNameError {
		t.Error(got)
	}
	if got := askOnce(t, addr, "new."); got != dnsmessage.RCodeSuccess {
		t.Error(got)
	}
}

func TestOddMessages(t *testing.T) {
	s := New(Config{})
	s.Set(testEntries())
	two := dnsmessage.Message{Questions: slices.Repeat([]dnsmessage.Question{{Name: dnsmessage.MustNewName("web."), Type: 1, Class: 1}}, 2)}
	status := dnsmessage.Message{Header: dnsmessage.Header{OpCode: 2}}
	reply := dnsmessage.Message{Header: dnsmessage.Header{Response: true}}
	for _, c := range []struct {
		msg  dnsmessage.Message
		want string
	}{{two, "RCodeFormatError"}, {dnsmessage.Message{}, "RCodeFormatError"}, {status, "RCodeNotImplemented"}, {reply, "nothing"}} {
		raw, err := c.msg.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if got := rcodeOf(s.answer(client, raw, 0)); got != c.want {
			t.Errorf("%v: got %s, want %s", c.msg.GoString(), got, c.want)
		}
	}
	if got := rcodeOf(s.answer(client, []byte("short"), 0)); got != "nothing" {
		t.Error(got)
	}
}

func rcodeOf(_ *query, raw []byte) string {
	var p dnsmessage.Parser
	if raw == nil {
		return "nothing"
	}
	h, err := p.Start(raw)
	if err != nil {
		return err.Error()
	}
	return h.RCode.String()
}

func TestResolvConf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	read := ResolvConf(path)
	if got := read(); got != nil {
		t.Error(got)
	}
	for _, server := range []string{"192.0.2.1", "192.0.2.12"} {
		if err := os.WriteFile(path, fmt.Appendf(nil, "# comment\nsearch example.com\nnameserver\nnameserver x\n nameserver %s # here\nnameserver ::1\n", server), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(read()), fmt.Sprintf("[%s:53 [::1]:53]", server); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(packQuestion("web."))
	f.Add(packQuestion("2.1.0.10.in-addr.arpa."))
	f.Add(packQuestion("www.example.com."))
	f.Add([]byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x03WEB\x00\x00\x01\x00\x01\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"))
	s := New(Config{})
	s.Set(testEntries())
	f.Fuzz(func(t *testing.T, raw []byte) {
		q, reply := s.answer(client, raw, 0)
		if q != nil {
			_, _ = q.answers(raw, q.header.ID)
			reply = q.say(dnsmessage.RCodeServerFailure)
		}
		if reply == nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(reply); err != nil {
			t.Errorf("the reply to %q cannot be read: %v", raw, err)
		}
		if !m.Response || len(raw) < 2 || m.ID != uint16(raw[0])<<8|uint16(raw[1]) {
			t.Errorf("the reply to %q is not one: %v", raw, m.GoString())
		}
	})
}

func FuzzResolvConf(f *testing.F) {
	f.Add("nameserver 192.0.2.1\n")
	f.Fuzz(func(t *testing.T, text string) { parseResolvConf(strings.NewReader(text)) })
}

// bind opens the sockets for an address.
func bind(ctx context.Context, addr netip.AddrPort) (Sockets, error) {
	var c net.ListenConfig
	udp, err := c.ListenPacket(ctx, "udp", addr.String())
	if err != nil {
		return Sockets{}, fmt.Errorf("listen for names: %w", err)
	}
	tcp, err := c.Listen(ctx, "tcp", udp.LocalAddr().String())
	if err != nil {
		return Sockets{}, errors.Join(fmt.Errorf("listen for names: %w", err), udp.Close())
	}
	return Sockets{udp, tcp}, nil
}

// FuzzReadFramed: what was read is what the length promised, and writes back as it came.
func FuzzReadFramed(f *testing.F) {
	f.Add([]byte("\x00\x02hi"))
	f.Add([]byte("\x00\x00"))
	f.Add([]byte("\xff\xffshort"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		msg, err := readFramed(bytes.NewReader(raw))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := writeFramed(&again, msg); err != nil || !bytes.HasPrefix(raw, again.Bytes()) {
			t.Errorf("%q was read as %q, which writes %q: %v", raw, msg, again.Bytes(), err)
		}
	})
}
