package main

import (
	"io"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"naru/naru"
)

func TestDevices(t *testing.T) {
	for s, want := range map[string]naru.Device{
		"/dev/a": {Host: "/dev/a"}, "/dev/a:r": {Host: "/dev/a", Access: "r"}, "/dev/a:/dev/b": {Host: "/dev/a", Inside: "/dev/b"},
		"/dev/a:/dev/b:rw": {Host: "/dev/a", Inside: "/dev/b", Access: "rw"},
	} {
		if got, err := parseDevice(s); err != nil || got != want {
			t.Errorf("%q: %+v %v", s, got, err)
		}
	}
	for _, bad := range []string{"", "dev", "/dev/a:b", "/dev/a:/dev/b:x", "/dev/a:/dev/b:", "a:b:c:d"} {
		if _, err := parseDevice(bad); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestSecurityOptions(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(policy, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for s, want := range map[string]naru.Isolation{
		"no-new-privileges": {}, "no-new-privileges=true": {}, "no-new-privileges:false": {NewPrivileges: true},
		"seccomp=unconfined": {Seccomp: "unconfined"}, "seccomp=builtin": {}, "seccomp=" + policy: {Seccomp: "{}"},
		"apparmor=unconfined": {}, "apparmor=mine": {AppArmor: "mine"}, "label=disable": {}, "label=u:r:t:s0": {SELinux: "u:r:t:s0"},
		"systempaths=unconfined": {Unmasked: true},
	} {
		var got naru.Isolation
		if err := securityOption(s, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v %v", s, got, err)
		}
	}
	for _, bad := range []string{"", "frob", "no-new-privileges=x", "seccomp=/nosuch", "seccomp", "apparmor=", "label=type:x", "systempaths=x"} {
		if err := securityOption(bad, new(naru.Isolation)); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestDetachKeys(t *testing.T) {
	for s, want := range map[string]string{"ctrl-p,ctrl-q": "\x10\x11", "a": "a", "ctrl-@,x": "\x00x", "ctrl-[": "\x1b", "CTRL-A": "\x01"} {
		var k detachKeys
		if err := k.Set(s); err != nil || string(k.keys) != want {
			t.Errorf("%q: %q %v", s, k.keys, err)
		}
	}
	for _, bad := range []string{"", "ctrl-", "ctrl-1", "ab", "a,,b"} {
		if err := new(detachKeys).Set(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	left := false
	d := &detachReader{from: &keys{[]string{"aab", "ac", "x"}}, keys: []byte("aac"), leave: func() { left = true }}
	if got, err := io.ReadAll(d); err != nil || string(got) != "aabacx" || left {
		t.Errorf("%q, left %v, %v", got, left, err)
	}
	d = &detachReader{from: &keys{[]string{"a", "a", "a", "c", "x"}}, keys: []byte("aac"), leave: func() { left = true }}
	if got, err := io.ReadAll(d); err != nil || string(got) != "a" || !left {
		t.Errorf("%q, left %v, %v", got, left, err)
	}
}

func TestLimitsInOldWords(t *testing.T) {
	for _, c := range []struct {
		f    limitFlags
		want int64
	}{
		{limitFlags{quota: 50_000}, 5e8}, {limitFlags{quota: 50_000, period: 25_000}, 2e9}, {limitFlags{cpus: "1.5"}, 15e8},
	} {
		if got, err := c.f.read(); err != nil || got.NanoCPUs != c.want {
			t.Errorf("%+v: %d %v", c.f, got.NanoCPUs, err)
		}
	}
	for _, bad := range []limitFlags{{cpus: "1", quota: 5}, {period: 5}, {quota: -1}, {quota: 1 << 62, period: 1}, {swap: "-2"}} {
		if _, err := bad.read(); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if got, err := (&limitFlags{swap: "-1"}).read(); err != nil || got.MemorySwap != -1 {
		t.Errorf("no limit of swap: %+v %v", got, err)
	}
}
