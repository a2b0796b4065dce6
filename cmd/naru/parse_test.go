package main

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"naru/naru"
)

func TestParsePort(t *testing.T) {
	local, six := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")
	for in, want := range map[string]naru.PublishedPort{
		"80":                    {Port: 80, Protocol: "tcp"},
		"127.0.0.1::80":         {HostIP: local, Port: 80, Protocol: "tcp"},
		"8080:80":               {HostPort: 8080, Port: 80, Protocol: "tcp"},
		"8053:53/udp":           {HostPort: 8053, Port: 53, Protocol: "udp"},
		"127.0.0.1:8080:80/tcp": {HostIP: local, HostPort: 8080, Port: 80, Protocol: "tcp"},
		"[::1]:8080:80":         {HostIP: six, HostPort: 8080, Port: 80, Protocol: "tcp"},
	} {
		got, err := parsePublish([]string{in})
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	got, err := parsePublish([]string{"8000-8002:90-92/udp", "7000-7001"})
	if err != nil || len(got) != 5 || got[2] != (naru.PublishedPort{HostPort: 8002, Port: 92, Protocol: "udp"}) || got[4] != (naru.PublishedPort{Port: 7001, Protocol: "tcp"}) {
		t.Errorf("ranges: %+v, %v", got, err)
	}
	for _, in := range []string{"", ":", "0", "x:80", "80:", ":80", "99999", "80/sctp", "host:80:80", "1:2:3:4", "80/", "-1:80", "1-3:1-2", "3-1", "1-:1", "1-70000"} {
		if _, err := parsePublish([]string{in}); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestParseVolume(t *testing.T) {
	for in, want := range map[string]naru.VolumeMount{
		"data:/var/lib":   {Volume: "data", Target: "/var/lib"},
		"/srv:/site:ro":   {HostPath: "/srv", Target: "/site", ReadOnly: true},
		"/srv/../x:/y:rw": {HostPath: "/x", Target: "/y"},
	} {
		got, err := parseVolume(in)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "data", "data:", "data:relative", ":/x", "data:/x:rx", "a:/b:ro:z"} {
		if _, err := parseVolume(in); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestParseLimits(t *testing.T) {
	if n, err := parseBytes("--memory", "256m"); n != 256<<20 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := parseCPUs("0.5"); n != 5e8 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for _, in := range []string{"x", "-1", "0", "NaN", "Inf", "1e99"} {
		if _, err := parseCPUs(in); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("cpus %q: %v", in, err)
		}
	}
	for _, in := range []string{"x", "-1", "0"} {
		if _, err := parseBytes("--memory", in); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("memory %q: %v", in, err)
		}
	}
}

func TestParseEnvTakesOurValues(t *testing.T) {
	ours := func(name string) string { return map[string]string{"HOME": "/root"}[name] }
	got, err := parseEnv([]string{"A=1", "HOME", "UNSET", "EMPTY="}, ours)
	if diff := cmp.Diff([]string{"A=1", "HOME=/root", "EMPTY="}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if _, err := parseEnv([]string{"=x"}, ours); err == nil {
		t.Error("no name, no error")
	}
}

func TestParseScaleAndRelease(t *testing.T) {
	got, err := parseScale([]string{"web=3", "worker=0"})
	if diff := cmp.Diff(map[naru.ServiceName]int{"web": 3, "worker": 0}, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, in := range []string{"web", "web=", "web=-1", "web=x", "Web=1", "web=1,web=2"} {
		if _, err := parseScale(strings.Split(in, ",")); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("%q: %v", in, err)
		}
	}
	for in, want := range map[string]naru.ReleaseNumber{"v3": 3, "12": 12, "v0": 0, "vx": 0, "": 0, "v-1": 0} {
		if n, err := parseRelease(in); n != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %v, %v", in, n, err)
		}
	}
}

func TestReadVariables(t *testing.T) {
	c := &cli{in: strings.NewReader("s3cret\n")}
	got, err := c.readVariables([]string{"A=1", "B=x=y", "E=", "SECRET"})
	if diff := cmp.Diff(map[string]string{"A": "1", "B": "x=y", "E": "", "SECRET": "s3cret"}, got, cmpopts.EquateEmpty()); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, args := range [][]string{{"A", "B"}, {"A=1", "A=2"}} {
		if _, err := c.readVariables(args); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestListenAddresses(t *testing.T) {
	for _, ok := range []string{":80", "127.0.0.1:8080", "[::1]:80"} {
		if _, _, err := parseListen(ok); err != nil {
			t.Errorf("%q: %v", ok, err)
		}
	}
	for _, bad := range []string{"", "80", ":http", "example.org:80", ":0", ":99999"} {
		if _, _, err := parseListen(bad); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestDiskLimits(t *testing.T) {
	for _, tc := range []struct {
		options string
		want    naru.DiskLimit
	}{
		{"size=1g", naru.DiskLimit{Bytes: 1 << 30}},
		{"size=512m inodes=1000", naru.DiskLimit{Bytes: 512 << 20, Inodes: 1000}},
		{"inodes=7", naru.DiskLimit{Inodes: 7}},
	} {
		if got, err := parseDiskLimit("-o", strings.Fields(tc.options)); got != tc.want || err != nil {
			t.Errorf("%s: %+v, %v", tc.options, got, err)
		}
	}
	for _, bad := range []string{"size", "size=", "size=-1", "size=much", "size=9e30", "inodes=1k", "inodes=0", "type=tmpfs"} {
		if got, err := parseDiskLimit("--opt", []string{bad}); naru.CodeOf(err) != naru.InvalidArgument || !strings.Contains(err.Error(), "--opt") {
			t.Errorf("%s: %+v, %v", bad, got, err)
		}
	}
}

func FuzzParseDiskLimit(f *testing.F) {
	f.Add("size=1.5g", "inodes=10")
	f.Fuzz(func(t *testing.T, a, b string) {
		l, err := parseDiskLimit("--opt", []string{a, b})
		if err == nil && min(l.Bytes, l.Inodes) < 0 {
			t.Errorf("%q %q: %+v", a, b, l)
		}
	})
}

func FuzzParsePort(f *testing.F) {
	f.Add("127.0.0.1:8080:80/udp")
	f.Fuzz(func(t *testing.T, s string) {
		ports, err := parsePublish([]string{s})
		for _, p := range ports {
			if err != nil || p.Port == 0 {
				t.Errorf("%q: %+v, %v", s, p, err)
			}
		}
	})
}

func FuzzParseVolume(f *testing.F) {
	f.Add("data:/x:ro")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := parseVolume(s)
		if err == nil && (m.Volume == "") == (m.HostPath == "") {
			t.Errorf("%q: %+v", s, m)
		}
	})
}

// FuzzParseMount: a mount is in memory, or of one source, and has a place in the container.
func FuzzParseMount(f *testing.F) {
	for _, s := range []string{"type=bind,src=/a,dst=/b,ro", "source=data,target=/x,volume-subpath=a/b,volume-opt=size=1g", "type=tmpfs,target=/t,tmpfs-size=64m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := parseMount(s)
		if err != nil {
			if naru.CodeOf(err) != naru.InvalidArgument {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if m.tmpfs == "" && (m.Volume == "") == (m.HostPath == "") || m.tmpfs == "" && !filepath.IsAbs(m.Target) {
			t.Errorf("%q: %+v", s, m)
		}
	})
}
