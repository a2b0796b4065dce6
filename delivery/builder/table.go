package builder

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"naru/naru"
	"naru/store"
)

// insertBuild writes the row of a build that begins.
func insertBuild(ctx context.Context, s *store.Store, ae naru.AppEnv, service naru.ServiceName, now time.Time) (naru.Build, error) {
	b := naru.Build{AppEnv: ae, Service: service, State: naru.BuildRunning, CreatedAt: now.UTC()}
	err := s.Update(ctx, func(tx *store.Tx) error {
		id, err := tx.Insert(`INSERT INTO builds (app, environment, service, state, build_json) VALUES (?, ?, ?, ?, '{}')`,
			b.App, b.Environment, b.Service, b.State)
		if err != nil {
			return err
		}
		b.ID = naru.BuildID(id)
		return updateBuild(tx, b)
	})
	if err != nil {
		return naru.Build{}, fmt.Errorf("record build: %w", err)
	}
	return b, nil
}

// endBuild writes how a build ended. It ignores the end of ctx, since a canceled build has an end too.
func endBuild(ctx context.Context, s *store.Store, b naru.Build, d naru.Digest, failure error, now time.Time) error {
	b.State, b.Image, b.EndedAt = naru.BuildSucceeded, d, now.UTC()
	if failure != nil {
		b.State, b.Image, b.Error = naru.BuildFailed, "", failure.Error()
	}
	err := s.Update(context.WithoutCancel(ctx), func(tx *store.Tx) error { return updateBuild(tx, b) })
	if err != nil {
		return fmt.Errorf("record end of build: %w", err)
	}
	return nil
}

func updateBuild(tx *store.Tx, b naru.Build) error {
	row, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return tx.Exec(`UPDATE builds SET state = ?, build_json = ? WHERE id = ?`, b.State, string(row), b.ID)
}

// failAbandoned ends the builds that ran when the daemon died.
func failAbandoned(ctx context.Context, s *store.Store) error {
	err := s.Update(ctx, func(tx *store.Tx) error {
		running, err := queryBuilds(tx, `SELECT build_json FROM builds WHERE state = ?`, naru.BuildRunning)
		if err != nil {
			return err
		}
		for _, b := range running {
			b.State, b.EndedAt = naru.BuildFailed, time.Now().UTC()
			b.Error = "the daemon stopped while it was building: build again"
			if err := updateBuild(tx, b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("end abandoned builds: %w", err)
	}
	return nil
}

func queryBuilds(tx *store.Tx, query string, args ...any) ([]naru.Build, error) {
	var list []naru.Build
	err := tx.Query(query, args, func(scan func(...any) error) error {
		var row string
		var b naru.Build
		if err := scan(&row); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(row), &b); err != nil {
			return err
		}
		list = append(list, b)
		return nil
	})
	return list, err
}
