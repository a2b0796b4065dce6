package escape

import (
	"io/fs"
	"path/filepath"
	"testing"
)

// bombs try to take the machine down with them. Each is bounded by itself as well as by its container.
func bombs(t *testing.T, s *suite) {
	s.background(t, "bystander", nil, "hold", "300")

	const forks = "fork bomb against --pids-limit"
	s.table.note(t, forks, naru, s.inNaru(words("--pids-limit", "50"), "forks", "150"))
	s.table.red(t, forks, "without --pids-limit", s.inNaru(nil, "forks", "150"))

	const memory = "memory bomb against -m"
	s.table.note(t, memory, naru, s.killed("-m", "32m", "memory", "128"))
	s.table.red(t, memory, "without -m", s.inNaru(nil, "memory", "128"))

	const shm = "filling /dev/shm"
	s.table.note(t, shm, naru, s.inNaru(nil, "fill", "/dev/shm", "80"))
	s.table.red(t, shm, "a tmpfs without a size", s.inNaru(words("--tmpfs", "/big"), "fill", "/big", "80"))
	const dev = "filling /dev"
	s.table.note(t, dev, naru, s.inNaru(nil, "fill", "/dev", "80"))

	const tmpfs = "filling a tmpfs against -m"
	r := s.d.Naru("container", "run", "--rm", "-m", "32m", "--tmpfs", "/big", image, "/attacker", "fill", "/big", "80")
	s.table.note(t, tmpfs, naru, diedOf(r.Code, r.String()))
	s.table.red(t, tmpfs, "without -m", s.inNaru(words("--tmpfs", "/big"), "fill", "/big", "80"))

	if got := s.d.Containers(); !running(got, "bystander") {
		t.Errorf("after the bombs the container beside does not run: %+v", got)
	}
}

// killed runs an attack with one limit, and holds when the container, not the attack, came to its end.
func (s *suite) killed(flag, limit string, args ...string) outcome {
	r := s.d.Naru(append(words("container", "run", "--rm", flag, limit, image, "/attacker"), args...)...)
	return diedOf(r.Code, r.String())
}

func diedOf(code int, said string) outcome {
	if code == 137 {
		return outcome{"held", "only the container was killed"}
	}
	return parse(said, code)
}

// find is the path of the first file below dir with that name.
func find(t *testing.T, dir, name string) string {
	t.Helper()
	var found string
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Name() == name {
			found = path
			return filepath.SkipAll
		}
		return nil // a container that ends takes folders along
	}))
	if found == "" {
		t.Fatalf("there is no %s below %s", name, dir)
	}
	return found
}
