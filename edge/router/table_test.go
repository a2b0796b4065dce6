package router

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"naru/naru"
)

func TestFind(t *testing.T) {
	var routes []naru.Route
	for _, r := range []string{"a.example/", "a.example/api", "a.example/api/v2/", "b.example/only", "[::1]/"} {
		host, path, _ := strings.Cut(r, "/")
		routes = append(routes, naru.Route{Host: host, Path: "/" + path})
	}
	found := newTable(routes, nil, nil)
	for request, want := range map[string]string{
		"a.example /":              "a.example/",
		"A.Example:8080 /x":        "a.example/",
		"a.example. /x/y":          "a.example/",
		"a.example /api":           "a.example/api",
		"a.example /api/":          "a.example/api",
		"a.example /apix":          "a.example/",
		"a.example /api/v2":        "a.example/api/v2/",
		"a.example /api/v2/z":      "a.example/api/v2/",
		"a.example /api/v22":       "a.example/api",
		"a.example *":              "a.example/",
		"b.example /":              "",
		"b.example /only":          "b.example/only",
		"[::1]:80 /":               "[::1]/",
		"[::1] /":                  "[::1]/",
		"unknown.example /":        "",
		" /":                       "",
		"a.example.evil.example /": "",
	} {
		host, path, _ := strings.Cut(request, " ")
		got := found.find(host, path)
		var expected *route
		if want != "" {
			whost, wpath, _ := strings.Cut(want, "/")
			expected = found.hosts[whost][strings.TrimRight("/"+wpath, "/")]
		}
		if got != expected {
			t.Errorf("find(%q, %q): not the route %q", host, path, want)
		}
	}
}

func TestSchedule(t *testing.T) {
	for _, c := range []struct {
		weights []int
		want    string
	}{
		{[]int{5, 1, 1}, "aabacaa"},
		{[]int{1}, "a"},
		{[]int{100}, "a"},
		{[]int{50, 50}, "ab"},
		{[]int{90, 10}, "aaaaabaaaa"},
		{nil, ""},
	} {
		got := ""
		for _, i := range schedule(c.weights) {
			got += string(rune('a' + i))
		}
		if got != c.want {
			t.Errorf("schedule(%v) = %s, want %s", c.weights, got, c.want)
		}
	}
	if n := len(schedule([]int{1_000_003, 1})); n > maxTurns+2 {
		t.Errorf("a schedule of %d turns", n)
	}
}

// TestWeights counts a canary's share over a table that is swapped all the time.
func TestWeights(t *testing.T) {
	r := New(Options{})
	old, canary := netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.1:2")
	count := map[netip.AddrPort]int{}
	for range 100 {
		r.SetRoutes([]naru.Route{{Host: "x", Path: "/", Backends: []naru.Backend{
			{Weight: 93, Endpoints: []netip.AddrPort{old}}, {Weight: 7, Endpoints: []netip.AddrPort{canary}},
			{Weight: 500}, {Weight: 0, Endpoints: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:3")}},
		}}})
		for range 3 {
			count[r.table.Load().find("x", "/").choose(nil, 0).addr]++
		}
	}
	if count[old] != 279 || count[canary] != 21 {
		t.Errorf("shares %v, want 279 and 21", count)
	}
}

func TestChooseAvoids(t *testing.T) {
	a, b, c := &upstream{address: "a"}, &upstream{address: "b"}, &upstream{address: "c"}
	r := newRoute(naru.Route{}, nil, nil)
	r.backends = []backend{{[]*upstream{a, b}, r.turn}, {[]*upstream{c}, r.turn}}
	r.schedule = []uint16{0}
	b.inflight.Store(5)
	check := func(what string, want *upstream, tried ...*upstream) {
		t.Helper()
		for range 4 {
			if got := r.choose(tried, 1); got != want {
				t.Fatalf("%s: got %+v", what, got)
			}
		}
	}
	check("the busy one", a)
	check("the tried one", b, a)
	check("a tried backend", c, a, b)
	check("all tried", nil, a, b, c)
	a.downUntil.Store(2)
	check("the one that is down", b)
	check("down is the last resort", a, b, c)
	if !slices.Contains([]*upstream{a}, r.choose([]*upstream{b, c}, 3)) {
		t.Error("one that was down is not taken again")
	}
	a.downUntil.Store(int64(time.Hour))
	check("one that is down since before the clock was set back", a)
}

// FuzzFind looks up whatever a client may send. A host that is found is found in every spelling.
func FuzzFind(f *testing.F) {
	found := newTable([]naru.Route{{Host: "a.example", Path: "/"}, {Host: "a.example", Path: "/api"}}, nil, nil)
	f.Add("A.example.:80", "/api/x")
	f.Add("[::1]:", "*")
	f.Fuzz(func(t *testing.T, host, path string) {
		route := found.find(host, path)
		if (route != nil) != (canonicalHost(host) == "a.example") {
			t.Errorf("find(%q, %q) = %v", host, path, route)
		}
		if route == found.hosts["a.example"]["/api"] && !strings.HasPrefix(path, "/api") {
			t.Errorf("%q went to /api", path)
		}
	})
}
