package main

import (
	"strings"
	"testing"
)

func TestDockersFlagsThatAreAbsentAreRefusedByName(t *testing.T) {
	for flag, says := range map[string]string{"--privileged": "naru has no --privileged: name", "--gpus=all": "--device", "-a": "always attached"} {
		for _, verb := range []string{"run", "create"} {
			got := naruCLI(t, "", "", "container", verb, flag, "busybox")
			if got.code != exitContainer || !strings.Contains(got.err, says) {
				t.Errorf("%s %s: %+v", verb, flag, got)
			}
		}
	}
	run := (&cli{}).containerRunCommand().Flags()
	for name := range absent {
		if run.Lookup(name) != nil || len(name) == 1 && run.ShorthandLookup(name) != nil {
			t.Errorf("--%s is there: it is not absent", name)
		}
	}
}
