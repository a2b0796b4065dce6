package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"naru/api"
	"naru/naru"
)

func TestTemplates(t *testing.T) {
	list := listedAll([]api.ContainerSummary{
		{ID: strings.Repeat("ab", 16), Name: "web", State: "created", Labels: map[string]string{"b": "2", "a": "1"}, CreatedAt: time.Now().Add(-time.Hour)},
	}, false)
	for format, want := range map[string]string{
		"{{.ID}} {{.Names}} {{.State}}": "abababababab web created\n",
		"{{.Labels}} {{.Label \"b\"}}":  "a=1,b=2 2\n",
		`{{upper .Name}} {{json .Name}} {{truncate .Name 2}} {{join (split .Labels ",") "+"}}`: "WEB \"web\" we a=1+b=2\n",
		`table {{.Names}}\t{{.RunningFor}}`:                                                    "NAMES   RUNNING FOR\nweb     about an hour ago\n",
	} {
		var out bytes.Buffer
		c := &cli{out: &out, env: func(string) string { return "" }}
		if err := printTemplate(c, format, list); err != nil || out.String() != want {
			t.Errorf("%s: %q %v", format, out.String(), err)
		}
	}
	for _, bad := range []string{"{{", "{{.Frob}}", "{{frob .}}"} {
		if err := printTemplate(&cli{out: new(bytes.Buffer)}, bad, list); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestFiltersOfLists(t *testing.T) {
	images := []api.Image{{Names: []string{"debian:12", "base:latest"}}, {Digest: "sha256:a"}, {Names: []string{"debian:13"}}}
	for filter, want := range map[string]int{"": 3, "dangling=true": 1, "dangling=false": 2, "reference=debian": 2, "reference=debian:1[23]": 2,
		"reference=base dangling=true": 0, "reference=base reference=debian:13": 2} {
		got, err := selected(images, strings.Fields(filter), imageFilters())
		if err != nil || len(got) != want {
			t.Errorf("%s: %d %v", filter, len(got), err)
		}
	}
	for _, bad := range []string{"frob=1", "dangling", ""} {
		if _, err := selected(images, []string{bad}, imageFilters()); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("%q: %v", bad, err)
		}
	}
	event := []api.EngineEvent{{Kind: "container", Action: "die", ID: "abc", Name: "web", Attributes: map[string]string{"image": "busybox:latest"}}}
	for filter, want := range map[string]int{"container=web": 1, "container=ab": 1, "container=x": 0, "volume=web": 0, "event=die type=container": 1,
		"event=start": 0, "image=busybox": 1} {
		if got, err := selected(event, strings.Fields(filter), eventFilters()); err != nil || len(got) != want {
			t.Errorf("%s: %d %v", filter, len(got), err)
		}
	}
}
