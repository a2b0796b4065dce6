package release

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"naru/naru"
	"naru/store"
)

// Table reads the rows of this hop inside a transaction, for the hop that follows.
type Table struct{}

// Release reads one release; a missing one is naru.NotFound.
func (Table) Release(tx *store.Tx, ae naru.AppEnv, n naru.ReleaseNumber) (naru.Release, error) {
	var r naru.Release
	err := scanJSON(tx.QueryRow(`SELECT release_json FROM releases WHERE app = ? AND environment = ? AND number = ?`,
		ae.App, ae.Environment, n), &r)
	if errors.Is(err, sql.ErrNoRows) {
		return r, naru.Errorf(naru.NotFound, "%s has no release %s: 'naru releases' lists them", ae, n)
	}
	if err != nil {
		return r, fmt.Errorf("read release %s of %s: %w", n, ae, err)
	}
	return r, nil
}

// Config reads one version of the config; version 0 is empty.
func (Table) Config(tx *store.Tx, ae naru.AppEnv, version int) (naru.Config, error) {
	if version == 0 {
		return naru.Config{Variables: map[string]string{}}, nil
	}
	var c naru.Config
	err := scanJSON(tx.QueryRow(`SELECT config_json FROM configs WHERE app = ? AND environment = ? AND version = ?`,
		ae.App, ae.Environment, version), &c)
	if err != nil {
		return c, fmt.Errorf("read config %d of %s: %w", version, ae, err)
	}
	return c, nil
}

// Scales reads how many instances people asked for by hand.
func (Table) Scales(tx *store.Tx, ae naru.AppEnv) (map[naru.ServiceName]int, error) {
	scales := map[naru.ServiceName]int{}
	err := tx.Query(`SELECT service, instances FROM scales WHERE app = ? AND environment = ?`,
		[]any{ae.App, ae.Environment}, func(scan func(...any) error) error {
			var name naru.ServiceName
			var n int
			err := scan(&name, &n)
			scales[name] = n
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read scales of %s: %w", ae, err)
	}
	return scales, nil
}

func (t Table) latestConfig(tx *store.Tx, ae naru.AppEnv) (naru.Config, error) {
	var version int
	err := tx.QueryRow(`SELECT coalesce(max(version), 0) FROM configs WHERE app = ? AND environment = ?`,
		ae.App, ae.Environment).Scan(&version)
	if err != nil {
		return naru.Config{}, fmt.Errorf("read the config of %s: %w", ae, err)
	}
	return t.Config(tx, ae, version)
}

func (Table) releases(tx *store.Tx, ae naru.AppEnv) ([]naru.Release, error) {
	var all []naru.Release
	err := tx.Query(`SELECT release_json FROM releases WHERE app = ? AND environment = ? ORDER BY number DESC`,
		[]any{ae.App, ae.Environment}, func(scan func(...any) error) error {
			var r naru.Release
			err := scanJSON(scanner(scan), &r)
			all = append(all, r)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read releases of %s: %w", ae, err)
	}
	return all, nil
}

func (Table) appEnvs(tx *store.Tx) ([]naru.AppEnv, error) {
	var all []naru.AppEnv
	err := tx.Query(`SELECT DISTINCT app, environment FROM releases ORDER BY app, environment`, nil,
		func(scan func(...any) error) error {
			var ae naru.AppEnv
			err := scan(&ae.App, &ae.Environment)
			all = append(all, ae)
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read apps: %w", err)
	}
	return all, nil
}

func insertConfig(tx *store.Tx, ae naru.AppEnv, c naru.Config) error {
	b, err := json.Marshal(c)
	if err == nil {
		err = tx.Exec(`INSERT INTO configs (app, environment, version, config_json) VALUES (?, ?, ?, ?)`,
			ae.App, ae.Environment, c.Version, string(b))
	}
	if err != nil {
		return fmt.Errorf("write config %d of %s: %w", c.Version, ae, err)
	}
	return nil
}

func insertRelease(tx *store.Tx, r naru.Release) error {
	b, err := json.Marshal(r)
	if err == nil {
		err = tx.Exec(`INSERT INTO releases (app, environment, number, release_json) VALUES (?, ?, ?, ?)`,
			r.App, r.Environment, r.Number, string(b))
	}
	if err != nil {
		return fmt.Errorf("write release %s of %s: %w", r.Number, r.AppEnv, err)
	}
	return nil
}

// deleteReleases deletes those up to a number, but some.
func (t Table) deleteReleases(tx *store.Tx, ae naru.AppEnv, upTo naru.ReleaseNumber, keep []naru.ReleaseNumber) error {
	all, err := t.releases(tx, ae)
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.Number > upTo || slices.Contains(keep, r.Number) {
			continue
		}
		err := tx.Exec(`DELETE FROM releases WHERE app = ? AND environment = ? AND number = ?`, ae.App, ae.Environment, r.Number)
		if err != nil {
			return fmt.Errorf("forget release %s of %s: %w", r.Number, ae, err)
		}
	}
	return nil
}

func nextNumber(tx *store.Tx, ae naru.AppEnv) (n naru.ReleaseNumber, err error) {
	err = tx.QueryRow(`SELECT coalesce(max(number), 0) + 1 FROM releases WHERE app = ? AND environment = ?`,
		ae.App, ae.Environment).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("number a release of %s: %w", ae, err)
	}
	return n, nil
}

func putScale(tx *store.Tx, ae naru.AppEnv, name naru.ServiceName, n int) error {
	err := tx.Exec(`INSERT INTO scales (app, environment, service, instances) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET instances = excluded.instances`, ae.App, ae.Environment, name, n)
	if err != nil {
		return fmt.Errorf("write the scale of %s of %s: %w", name, ae, err)
	}
	return nil
}

// scanner makes a row of the function that store.Tx.Query hands out.
type scanner func(...any) error

func (s scanner) Scan(dest ...any) error { return s(dest...) }

// scanJSON reads a row of one JSON column.
func scanJSON(row interface{ Scan(...any) error }, v any) error {
	var b string
	if err := row.Scan(&b); err != nil {
		return err
	}
	return json.Unmarshal([]byte(b), v)
}
