package engine

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/engine/image"
	"naru/naru"
)

func TestProcessArgs(t *testing.T) {
	img := ocispec.ImageConfig{Entrypoint: []string{"/entry"}, Cmd: []string{"default"}}
	cases := []struct {
		name                string
		entrypoint, command string
		img                 ocispec.ImageConfig
		want                string
	}{
		{"the image's own", "", "", img, "/entry default"},
		{"a command replaces the image's", "", "mine", img, "/entry mine"},
		{"an entrypoint discards the image's command", "/mine", "", img, "/mine"},
		{"both", "/mine", "cmd", img, "/mine cmd"},
		{"an image without an entrypoint", "", "cmd", ocispec.ImageConfig{}, "cmd"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			spec := ContainerSpec{Entrypoint: strings.Fields(c.entrypoint), Command: strings.Fields(c.command)}
			got, err := processArgs(Container{Spec: spec}, c.img)
			if err != nil || strings.Join(got, " ") != c.want {
				t.Errorf("%q, %v; want %q", got, err, c.want)
			}
		})
	}
	if _, err := processArgs(Container{}, ocispec.ImageConfig{}); naru.CodeOf(err) != naru.InvalidArgument {
		t.Errorf("no command at all: %v", err)
	}
}

func TestMergeEnvReplacesInPlace(t *testing.T) {
	got := mergeEnv([]string{"PATH=/bin", "A=1"}, []string{"B=2", "A=3"}, []string{"PATH=/mine"})
	if want := []string{"PATH=/mine", "A=3", "B=2"}; !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
}

func TestPickIDBaseAvoidsTakenRanges(t *testing.T) {
	taken := map[uint32]bool{}
	for n := range idRanges {
		base, err := pickIDBase(strconv.Itoa(n/2), func(b uint32) bool { return taken[b] })
		if err != nil || taken[base] {
			t.Fatalf("base %d, %v: taken twice", base, err)
		}
		if base < firstIDBase || uint64(base)+idRange > 1<<31 {
			t.Fatalf("base %#x leaves the bounds", base)
		}
		taken[base] = true
	}
	if _, err := pickIDBase("x", func(b uint32) bool { return taken[b] }); err == nil {
		t.Fatal("found a range when all are taken")
	}
}

func TestRuntimeSpecMapsIDsUnlessAskedNot(t *testing.T) {
	c := Container{ID: strings.Repeat("ab", 16), IDBase: firstIDBase, Spec: ContainerSpec{Command: []string{"sh"}}}
	e := &Engine{}
	s, err := runtimeSpec(specInput{c: c, dir: "/d", ids: e.idMaps(c)})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Linux.UIDMappings) != 1 || s.Linux.UIDMappings[0].HostID != firstIDBase || !hasUserNS(s) {
		t.Fatalf("mappings %v: root inside is not mapped away", s.Linux.UIDMappings)
	}
	e.cfg.UIDMap = []specs.LinuxIDMapping{{Size: 1}}
	e.cfg.GIDMap = e.cfg.UIDMap
	if s, err = runtimeSpec(specInput{c: c, dir: "/d", ids: e.idMaps(c)}); err != nil || !hasUserNS(s) || s.Linux.UIDMappings[0].HostID != 0 {
		t.Fatalf("mappings %v, %v: an ordinary user has no range to give away", s.Linux.UIDMappings, err)
	}
	c.Spec.HostUserNS = true
	if s, err = runtimeSpec(specInput{c: c, dir: "/d", ids: e.idMaps(c)}); err != nil || hasUserNS(s) || len(s.Linux.UIDMappings) != 0 {
		t.Fatalf("%v: the host's user namespace was asked for", err)
	}
}

func hasUserNS(s *specs.Spec) bool {
	return slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.UserNamespace })
}

func TestResources(t *testing.T) {
	r := resources(naru.Limits{MemoryBytes: 64 << 20, NanoCPUs: 250_000_000, PIDs: 100}, nil)
	if *r.Memory.Limit != 64<<20 || *r.CPU.Quota != 25_000 || *r.CPU.Period != 100_000 || *r.Pids.Limit != 100 {
		t.Fatalf("memory %d, cpu %d/%d, pids %d", *r.Memory.Limit, *r.CPU.Quota, *r.CPU.Period, *r.Pids.Limit)
	}
}

func TestFindUserReadsTheTopmostLayerAndNeverLeavesIt(t *testing.T) {
	top, bottom := t.TempDir(), t.TempDir()
	write(t, bottom, "etc/passwd", "app:x:1000:1000::/:/bin/sh\n")
	write(t, bottom, "etc/group", "wheel:x:10:app\n")
	root := image.Rootfs{Upper: t.TempDir(), Lower: []string{top, bottom}}
	u, err := findUser(root, "app", nil)
	if err != nil || u.UID != 1000 || !slices.Equal(u.AdditionalGids, []uint32{10}) {
		t.Fatalf("user %+v, %v", u, err)
	}
	write(t, top, "etc/passwd", "app:x:2000:2000::/:/bin/sh\n")
	if u, err = findUser(root, "app", nil); err != nil || u.UID != 2000 {
		t.Fatalf("user %+v, %v: want the upper layer's", u, err)
	}
	if _, err := findUser(root, "nobody-knows", nil); naru.CodeOf(err) != naru.InvalidArgument {
		t.Fatalf("unknown user: %v", err)
	}
	hostile := image.Rootfs{Upper: t.TempDir(), Lower: []string{t.TempDir()}}
	if err := os.MkdirAll(filepath.Join(hostile.Upper, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(hostile.Upper, "etc/passwd")); err != nil {
		t.Fatal(err)
	}
	if _, err := findUser(hostile, "daemon", nil); err == nil {
		t.Fatal("an image's link led to the host's passwd file")
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestStatesRefuseWhatIsNoStep(t *testing.T) {
	c := Container{Name: "a", State: Running}
	if err := c.to(Starting); err == nil || !strings.Contains(err.Error(), "running") || !strings.Contains(err.Error(), "starting") {
		t.Fatalf("running to starting: %v", err)
	}
}

// FuzzNewContainer: whatever is posted as a container is refused as an argument, or is one whose name and places are safe
// to make paths of.
func FuzzNewContainer(f *testing.F) {
	f.Add([]byte(`{"name":"web","image":"busybox","env":["A=b"],"network":"container:db","mounts":[{"volume":"data","target":"/data","subpath":"a/b"}],
"hosts":["db:10.0.0.5"],"stopSignal":"SIGRTMIN+3","restart":{"name":"on-failure","max":3},"limits":{"memoryBytes":1,"memorySwap":2}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var spec ContainerSpec
		if json.Unmarshal(b, &spec) != nil {
			return
		}
		c, err := newContainer(spec)
		if err != nil {
			if code := naru.CodeOf(err); code != naru.InvalidArgument && code != naru.Unimplemented {
				t.Errorf("%s: %v", b, err)
			}
			return
		}
		if c.Name == "" || strings.ContainsAny(c.Name, "/\n ") || c.Name[0] == '.' {
			t.Errorf("the name %q", c.Name)
		}
		for _, m := range c.Spec.Mounts {
			if !filepath.IsAbs(m.Target) || m.Subpath != "" && !filepath.IsLocal(m.Subpath) || m.HostPath != "" && !filepath.IsAbs(m.HostPath) {
				t.Errorf("the mount %+v", m)
			}
		}
	})
}
