package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"naru/engine/keeper/internal/wire"
)

// Exits lie in DIR/exits, a file an id, so that they outlive the keeper.
const exitsFolder = "exits"

const unfinished = "." // no id begins with a dot

// saveExit writes the file of a child that exited, whole or not at all. It is not synced: it has to outlive this
// process, while after a power cut there is no child whose exit is news.
func (s *server) saveExit(c wire.Child) error {
	name := wire.FileName(c.ID)
	tmp := s.path(exitsFolder + "/" + unfinished + name)
	if err := os.WriteFile(tmp, formatExit(c), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, s.path(exitsFolder+"/"+name))
}

func (s *server) removeExit(id string) error {
	err := os.Remove(s.path(exitsFolder + "/" + wire.FileName(id)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// loadExits takes over what an earlier keeper left.
func (s *server) loadExits() error {
	if err := os.MkdirAll(s.path(exitsFolder), 0o700); err != nil {
		return fmt.Errorf("make folder for exits: %w", err)
	}
	entries, err := os.ReadDir(s.path(exitsFolder))
	if err != nil {
		return fmt.Errorf("read exits: %w", err)
	}
	for _, e := range entries {
		if err := s.loadExit(e.Name()); err != nil {
			logf("drop exit %s: %v", e.Name(), err)
			_ = os.Remove(s.path(exitsFolder + "/" + e.Name()))
		}
	}
	return nil
}

func (s *server) loadExit(file string) error {
	if file[:1] == unfinished {
		return errors.New("unfinished")
	}
	b, err := os.ReadFile(s.path(exitsFolder + "/" + file))
	if err != nil {
		return err
	}
	info, err := parseExit(b)
	if err != nil {
		return err
	}
	s.sequence++
	info.ID, info.Sequence = wire.Name(file), s.sequence
	s.children[info.ID] = &child{s: s, info: info}
	return nil
}

const exitFormat = "pid %d started %d code %d signal %d at %d\n"

func formatExit(c wire.Child) []byte {
	return fmt.Appendf(nil, exitFormat, c.PID, c.StartedAt.UnixNano(), c.Exit.Code, c.Exit.Signal, c.Exit.At.UnixNano())
}

func parseExit(b []byte) (wire.Child, error) {
	c := wire.Child{Exited: true}
	var started, at int64
	if _, err := fmt.Sscanf(string(b), exitFormat, &c.PID, &started, &c.Exit.Code, &c.Exit.Signal, &at); err != nil {
		return wire.Child{}, fmt.Errorf("parse exit: %w", err)
	}
	c.StartedAt, c.Exit.At = time.Unix(0, started), time.Unix(0, at)
	return c, nil
}
