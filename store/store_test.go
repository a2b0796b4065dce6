package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"naru/store"
)

func open(t *testing.T, path string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func count(t *testing.T, s *store.Store) (n int) {
	t.Helper()
	err := s.View(t.Context(), func(tx *store.Tx) error {
		return tx.QueryRow(`SELECT count(*) FROM networks`).Scan(&n)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func add(name string) func(*store.Tx) error {
	return func(tx *store.Tx) error {
		return tx.Exec(`INSERT INTO networks (name, network_json) VALUES (?, '{}')`, name)
	}
}

func TestUpdateIsAllOrNothing(t *testing.T) {
	for name, update := range map[string]func(*store.Store) func(context.Context, func(*store.Tx) error) error{
		"synced":   func(s *store.Store) func(context.Context, func(*store.Tx) error) error { return s.Update },
		"unsynced": func(s *store.Store) func(context.Context, func(*store.Tx) error) error { return s.UpdateUnsynced },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, filepath.Join(t.TempDir(), "naru 100%.db")) // a path that needs escaping
			checkAllOrNothing(t, s, update(s))
		})
	}
}

func checkAllOrNothing(t *testing.T, s *store.Store, update func(context.Context, func(*store.Tx) error) error) {
	t.Helper()
	boom := errors.New("boom")
	err := update(t.Context(), func(tx *store.Tx) error {
		if err := add("a")(tx); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) || count(t, s) != 0 {
		t.Fatalf("err %v, rows %d: want boom and no row", err, count(t, s))
	}
	if err := update(t.Context(), add("a")); err != nil || count(t, s) != 1 {
		t.Fatalf("err %v, rows %d: want one row", err, count(t, s))
	}
	if err := update(t.Context(), add("a")); err == nil || count(t, s) != 1 {
		t.Fatalf("err %v, rows %d: want a unique violation and one row", err, count(t, s))
	}
}

func TestReopenKeepsRowsAndRefusesNewerSchema(t *testing.T) {
	path := filepath.Join(t.TempDir(), "naru.db")
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), add("kept")); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path)
	if count(t, s) != 1 {
		t.Fatal("the row is gone")
	}
	if err := s.Update(t.Context(), func(tx *store.Tx) error { return tx.Exec(`PRAGMA user_version = 999`) }); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Open(context.Background(), path); err == nil {
		t.Fatal("opened a database of a newer schema")
	}
}

func TestWatchHearsOfTheLastUpdate(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "naru.db"))
	changed, stop := s.Watch()
	defer stop()
	for _, n := range []string{"a", "b", "c"} {
		if err := s.Update(t.Context(), add(n)); err != nil {
			t.Fatal(err)
		}
	}
	<-changed
	if count(t, s) != 3 {
		t.Fatal("the hint came before the last update")
	}
}

// What comes after an unsynced update is synced again, and with it what came before.
func TestOnlyUnsyncedUpdatesAreUnsynced(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "naru.db"))
	level := func(into *int) func(*store.Tx) error {
		return func(tx *store.Tx) error { return tx.QueryRow(`PRAGMA synchronous`).Scan(into) }
	}
	var during, after int
	boom := errors.New("boom")
	err := s.UpdateUnsynced(t.Context(), func(tx *store.Tx) error { return errors.Join(level(&during)(tx), boom) })
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), level(&after)); err != nil {
		t.Fatal(err)
	}
	const normal, full = 1, 2
	if during != normal || after != full {
		t.Errorf("synchronous is %d during the update and %d after it, want %d and %d", during, after, normal, full)
	}
}
