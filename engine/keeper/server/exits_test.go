package server

import (
	"os"
	"testing"
	"time"

	"naru/engine/keeper/internal/wire"
)

func FuzzParseExit(f *testing.F) {
	f.Add([]byte("pid 12 started 5 code 137 signal 9 at 6\n"))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseExit(b)
		if err != nil {
			return
		}
		if again, err := parseExit(formatExit(c)); err != nil || again != c {
			t.Fatalf("%+v became %+v, %v", c, again, err)
		}
	})
}

// TestUnreadableExitsAreDropped: what a power cut left half-written is no exit, and not in the way of one.
func TestUnreadableExitsAreDropped(t *testing.T) {
	s := &server{dir: t.TempDir(), children: map[string]*child{}}
	if err := s.loadExits(); err != nil {
		t.Fatal(err)
	}
	whole := wire.Child{ID: "web/exec-1", PID: 12, StartedAt: time.Unix(1, 2), Exited: true, Exit: wire.Exit{Code: 3, At: time.Unix(4, 5)}}
	if err := s.saveExit(whole); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"empty", ".unfinished"} {
		if err := os.WriteFile(s.path(exitsFolder+"/"+name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.loadExits(); err != nil {
		t.Fatal(err)
	}
	whole.Sequence = 1
	if c := s.children["web/exec-1"]; len(s.children) != 1 || c == nil || c.info != whole {
		t.Errorf("loaded %+v", s.children)
	}
	if entries, err := os.ReadDir(s.path(exitsFolder)); err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
}
