package escape

import (
	"path/filepath"
	"testing"

	"naru/internal/testkit"
)

// TestQuotasHold has containers fill the disk, use up its inodes and lift their limits, where the kernel has quotas.
func TestQuotasHold(t *testing.T) {
	for name, disk := range map[string]func(testing.TB) string{"ext4": testkit.QuotaExt4, "xfs": testkit.QuotaXFS} {
		t.Run(name, func(t *testing.T) {
			at := disk(t)
			d := testkit.NewDaemon(t)
			d.Data = filepath.Join(at, "data")
			attacksOnQuotas(t, newSuite(t, d))
		})
	}
}

func attacksOnQuotas(t *testing.T, s *suite) {
	if r := s.d.Naru("volume", "create", "-o", "size=8m", "-o", "inodes=50", "small"); r.Code != 0 {
		t.Fatal(r)
	}
	bounded, free := words("--storage-opt", "size=8m", "--storage-opt", "inodes=50", "-v", "small:/v"), words("-v", "large:/v")
	for _, dir := range words("/", "/v") {
		where := map[string]string{"/": "its own layer", "/v": "a volume"}[dir]
		for _, attack := range [][]string{{"fill", dir, "20"}, {"inodes", dir, "200"}} {
			name := attack[0] + " of " + where
			s.table.note(t, name, naru, s.inNaru(bounded, attack...))
			s.table.red(t, name, "without a size", s.inNaru(free, attack...))
		}
	}
	// What overlay shows of its layers' attributes differs from kernel to kernel: the folder below it is tried, too.
	s.table.note(t, "project of its own layer", naru, s.inNaru(bounded, "project", "/"))
	s.table.note(t, "project of a volume", naru, s.inNaru(bounded, "project", "/v"))
	s.table.red(t, "project of a volume", "with the host's user namespace", s.inNaru(append(words("--userns", "host"), free...), "project", "/v"))
	for _, refused := range [][]string{{"--userns", "host", "--storage-opt", "size=8m"}, {"--userns", "host", "-v", "small:/v"}} {
		if r := s.d.Naru(append(append(words("container", "run", "--rm"), refused...), image, "/attacker", "project", "/")...); r.Code != 125 {
			t.Errorf("%v is not refused: %v", refused, r)
		}
	}
}
