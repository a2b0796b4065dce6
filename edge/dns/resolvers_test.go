package dns

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"naru/internal/testkit"
)

const insideOwnHost = "NARU_TEST_OWN_HOST"

// The resolvers of two C libraries and of Go, as programs use them: by /etc/resolv.conf, which is as in a container, in
// namespaces of their own, where port 53 is free.
func TestResolversByResolvConf(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes namespaces")
	}
	dir := testkit.LookupPrograms(t, "")
	if os.Getenv(insideOwnHost) == "" {
		cmd := exec.Command("unshare", "--net", "--mount", os.Args[0], "-test.run=^TestResolversByResolvConf$", "-test.v")
		cmd.Env = append(os.Environ(), insideOwnHost+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("--- PASS: TestResolversByResolvConf")) {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver 127.0.0.1\nsearch corp.example\noptions ndots:0\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "ip", "link", "set", "lo", "up")
	run(t, "ip", "addr", "add", "10.9.9.9/32", "dev", "lo") // getent asks for IPv4 only where there is some
	run(t, "mount", "--bind", conf, "/etc/resolv.conf")
	serveAt53(t)

	for _, who := range []string{"musl", "glibc", "go"} {
		lookup := func(family, name string) []string {
			out, _ := exec.Command(filepath.Join(dir, who), family, name).Output() // status 1: there is none
			all := strings.Fields(string(out))
			slices.Sort(all)
			return all
		}
		for name, want := range map[string]string{
			"web": "10.0.1.2 10.0.1.3", "nobody": "", "nobody.example": "", "www.example": "192.0.2.1", "intranet": "192.0.2.2",
		} {
			if who == "musl" && name == "intranet" {
				want = "" // it searches no domain with ndots:0
			}
			if got := strings.Join(lookup("ip4", name), " "); got != want {
				t.Errorf("%s finds %q for %s, want %q", who, got, name, want)
			}
		}
		want := 200 // over TCP
		if who == "musl" {
			want = 30 // before version 1.2.4; since then 48, of which it keeps no more
		}
		if got := len(lookup("ip4", "many")); got != want && (who != "musl" || got != 48) {
			t.Errorf("%s finds %d addresses of 200, want %d", who, got, want)
		}
		if got := strings.Join(lookup("name", "10.0.1.4"), " "); got != "many" && got != "db" {
			t.Errorf("%s finds the name %q for 10.0.1.4", who, got)
		}
	}
}

func run(t *testing.T, words ...string) {
	t.Helper()
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", words, err, out)
	}
}

// serveAt53 answers where a container's gateway does. The world knows two names.
func serveAt53(t *testing.T) {
	t.Helper()
	world := map[string]netip.Addr{"www.example.": netip.MustParseAddr("192.0.2.1"), "intranet.corp.example.": netip.MustParseAddr("192.0.2.2")}
	startAt(t, "127.0.0.1:53", fixed(upstream(t, func(q query) []byte {
		if a, ok := world[q.question.Name.String()]; ok {
			return says(a)(q)
		}
		return q.say(dnsmessage.RCodeNameError)
	})))
}

// Who speaks EDNS gets over UDP what others must ask for over TCP.
func TestEDNSTakesMore(t *testing.T) {
	s := New(Config{})
	s.Set(testEntries())
	here := netip.MustParseAddr("127.0.0.1")
	plain := packQuestion("many.")
	edns := append(slices.Clone(plain), "\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"...)
	edns[11] = 1 // one additional record
	for name, c := range map[string]struct {
		raw       []byte
		truncated bool
		answers   int
	}{"plain": {plain, true, 30}, "EDNS": {edns, false, 200}} {
		_, reply := s.answer(here, c.raw, 0)
		var m dnsmessage.Message
		if err := m.Unpack(reply); err != nil || m.Truncated != c.truncated || len(m.Answers) != c.answers {
			t.Errorf("%s: truncated %t, %d answers, %v", name, m.Truncated, len(m.Answers), err)
		}
	}
}
