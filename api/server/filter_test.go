package server

import (
	"testing"

	"naru/api"
	"naru/naru"
)

func TestFilters(t *testing.T) {
	c := api.Container{
		ContainerSummary: api.ContainerSummary{ID: "abcdef", Name: "web-1", State: "exited", ExitCode: 3, Health: &api.Health{Status: "healthy"},
			Image: "nginx:latest", ImageDigest: "sha256:1234", Labels: map[string]string{"a": "1", "b": ""}},
		Spec: api.ContainerSpec{Mounts: []api.Mount{{VolumeMount: naru.VolumeMount{Volume: "data", Target: "/d"}}}},
	}
	for _, test := range []struct {
		filters []string
		want    bool
	}{
		{nil, true},
		{[]string{"name=web"}, true},
		{[]string{"name=db"}, false},
		{[]string{"name=db", "name=web"}, true},
		{[]string{"name=web", "status=running"}, false},
		{[]string{"status=exited", "exited=3"}, true},
		{[]string{"exited=0"}, false},
		{[]string{"label=a", "label=b"}, true},
		{[]string{"label=a", "label=c"}, false},
		{[]string{"label=a=1"}, true},
		{[]string{"label=a=2"}, false},
		{[]string{"ancestor=nginx"}, true},
		{[]string{"ancestor=1234"}, true},
		{[]string{"ancestor=caddy"}, false},
		{[]string{"network=bridge", "volume=data", "id=abc"}, true},
		{[]string{"volume=/d"}, true},
		{[]string{"health=healthy"}, true},
		{[]string{"health=none"}, false},
	} {
		f, err := parseFilters(test.filters)
		if err != nil || f.match(c) != test.want {
			t.Errorf("%v: %v", test.filters, err)
		}
	}
	for _, wrong := range []string{"name", "frob=1", ""} {
		if _, err := parseFilters([]string{wrong}); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// FuzzParseFilters: what is taken can be asked of a container, even of one that says nothing of itself.
func FuzzParseFilters(f *testing.F) {
	f.Add("label=a=1", "ancestor=nginx:latest")
	f.Add("exited=3", "network=bridge")
	f.Fuzz(func(t *testing.T, a, b string) {
		chosen, err := parseFilters([]string{a, b})
		if err != nil {
			if naru.CodeOf(err) != naru.InvalidArgument {
				t.Errorf("%q %q: %v", a, b, err)
			}
			return
		}
		chosen.match(api.Container{})
	})
}
