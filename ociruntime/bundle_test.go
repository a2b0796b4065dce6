package ociruntime

import (
	"encoding/json"
	"testing"
)

// FuzzParseSpec: whatever stands in a config.json, reading it ends in a specification with all that the runtime takes
// for granted, or in an error.
func FuzzParseSpec(f *testing.F) {
	example, err := ExampleSpec()
	if err != nil {
		f.Fatal(err)
	}
	b, err := json.Marshal(example)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"ociVersion":"1.3.0","root":{"path":"r"},"linux":{"cgroupsPath":"a:b:c","netDevices":{"a":{"name":"b%d"}},"namespaces":[{"type":"network"}]},"process":{},"mounts":[{}],"hooks":{"poststop":[{}]}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSpec(b)
		if err != nil {
			return
		}
		if s.Process == nil || s.Linux == nil || s.Root == nil {
			t.Fatal("took a configuration that is not whole")
		}
		_ = absolute("/", s) // its root may be missing
		if devices, err := planDevices(s.Linux); err == nil && len(devices) != len(s.Linux.NetDevices) {
			t.Fatalf("of %d network devices %d are to be moved", len(s.Linux.NetDevices), len(devices))
		}
		if p, err := cgroupPath("x", s.Linux); err == nil && (p == "" || p[0] != '/') {
			t.Fatalf("cgroup path %q", p)
		}
	})
}
