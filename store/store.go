// Package store is naru's memory: one SQLite database in the data folder, a table a noun, in the order of the path
// (schema.sql). It opens and migrates the database, runs transactions and tells watchers that something changed; what
// the rows mean is known to the hop that owns the table, which keeps its queries in a file table.go of its own.
//
// A hop hands over by writing the next hop's row in its own transaction, so that after a crash between any two lines
// either both nouns are there or neither.
package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"net/url"

	_ "modernc.org/sqlite" // registers the driver

	"naru/internal/hint"
)

//go:embed schema.sql
var schema string

// schemaVersion is written to the database's user_version; a database of a later version is refused.
const schemaVersion = 1

// Store is an open database.
type Store struct {
	db       *sql.DB
	synced   bool // a commit waits for the disk; guarded by having the one connection
	watchers hint.Watchers
}

// Tx is a transaction under way. It sees its own writes.
type Tx struct {
	ctx context.Context
	tx  *sql.Tx
}

// Open opens the database file at path and makes its tables when it is new. An acknowledged write survives a power
// cut (WAL with synchronous=FULL). The caller closes it.
func Open(ctx context.Context, path string) (*Store, error) {
	q := url.Values{"_pragma": {"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "busy_timeout(5000)"},
		"_txlock": {"immediate"}}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath()+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", path, err)
	}
	// One connection: SQLite has one writer, and one connection's reads see its writes without a lock dance.
	db.SetMaxOpenConns(1)
	s := &Store{db: db, synced: true}
	if err := s.migrate(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare database %s: %w", path, err), db.Close())
	}
	return s, nil
}

func (s *Store) migrate(ctx context.Context) error {
	return s.Update(ctx, func(tx *Tx) error {
		var v int
		if err := tx.QueryRow(`PRAGMA user_version`).Scan(&v); err != nil {
			return fmt.Errorf("read schema version: %w", err)
		}
		switch {
		case v == schemaVersion:
			return nil
		case v > schemaVersion:
			return fmt.Errorf("its schema version %d is newer than this naru's %d: run the newer naru", v, schemaVersion)
		}
		if err := tx.Exec(schema); err != nil {
			return fmt.Errorf("create tables: %w", err)
		}
		return tx.Exec(fmt.Sprintf(`PRAGMA user_version = %d`, schemaVersion))
	})
}

// Close closes the database; nothing may use the store after it.
func (s *Store) Close() error { return s.db.Close() }

// Update runs fn in a transaction that is committed when fn returns nil and rolled back otherwise, and then tells the
// watchers. fn must not call Update or View.
func (s *Store) Update(ctx context.Context, fn func(*Tx) error) error {
	if err := s.transact(ctx, true, fn); err != nil {
		return err
	}
	s.watchers.Notify()
	return nil
}

// UpdateUnsynced is Update without the wait for the disk: the death of this process does not take what it wrote, but a
// power cut may, if no Update came after it. It is for steps that mean nothing to a machine that starts anew, and are no
// news to the watchers either.
func (s *Store) UpdateUnsynced(ctx context.Context, fn func(*Tx) error) error {
	return s.transact(ctx, false, fn)
}

// View runs fn in a transaction for reading; what fn writes is rolled back.
func (s *Store) View(ctx context.Context, fn func(*Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin reading: %w", err)
	}
	err = fn(&Tx{ctx, tx})
	if rerr := tx.Rollback(); rerr != nil && err == nil {
		err = fmt.Errorf("end reading: %w", rerr)
	}
	return err
}

func (s *Store) transact(ctx context.Context, synced bool, fn func(*Tx) error) (err error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := s.setSynced(ctx, conn, synced); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	if err := fn(&Tx{ctx, tx}); err != nil {
		if rerr := tx.Rollback(); rerr != nil && !errors.Is(rerr, sql.ErrTxDone) {
			return errors.Join(err, fmt.Errorf("roll back: %w", rerr))
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// setSynced says whether the next commits wait for the disk. Most updates are followed by one of their own kind.
func (s *Store) setSynced(ctx context.Context, conn *sql.Conn, synced bool) error {
	if s.synced == synced {
		return nil
	}
	mode := "FULL"
	if !synced {
		mode, s.synced = "NORMAL", false // before it is: when it fails, who needs the disk sets it again
	}
	if _, err := conn.ExecContext(ctx, `PRAGMA synchronous = `+mode); err != nil {
		return err
	}
	s.synced = synced
	return nil
}

// Watch returns a channel that gets a hint after updates, and the function that ends the watch.
func (s *Store) Watch() (<-chan struct{}, func()) { return s.watchers.Watch() }

// Exec runs statements that return no rows.
func (t *Tx) Exec(query string, args ...any) error {
	_, err := t.tx.ExecContext(t.ctx, query, args...)
	return err
}

// Insert runs an INSERT and returns the new row's id.
func (t *Tx) Insert(query string, args ...any) (int64, error) {
	r, err := t.tx.ExecContext(t.ctx, query, args...)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// QueryRow runs a query for one row; Scan of the result returns sql.ErrNoRows when there is none.
func (t *Tx) QueryRow(query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(t.ctx, query, args...)
}

// Query runs a query and calls scan once a row, with the row's Scan method.
func (t *Tx) Query(query string, args []any, scan func(scan func(...any) error) error) (err error) {
	rows, err := t.tx.QueryContext(t.ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := scan(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
