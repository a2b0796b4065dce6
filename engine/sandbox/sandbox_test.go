package sandbox_test

import (
	"strings"
	"testing"
)

func TestSmoke(t *testing.T) {
	l := newLab(t)
	cfg := l.sh("id; hostname; ls -la / /dev; mount; cat /proc/self/status; ip addr; cat /proc/self/cgroup /proc/self/uid_map")
	cfg.Spec.Linux.Seccomp = nil
	out := l.run(cfg)
	if !strings.Contains(out, "uid=0") {
		t.Error(out)
	}
	t.Log(out)
}
