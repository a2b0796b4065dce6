package rollout

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"naru/naru"
	"naru/store"
)

// Newest is the last rollout enqueued for ae, zero when there was none. Only the newest can be open.
func (r *Rollouts) Newest(tx *store.Tx, ae naru.AppEnv) (naru.Rollout, error) {
	ro, err := scanRollout(tx.QueryRow(`SELECT id, rollout_json FROM rollouts WHERE app = ? AND environment = ?
		ORDER BY id DESC LIMIT 1`, ae.App, ae.Environment).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return naru.Rollout{AppEnv: ae}, nil
	}
	if err != nil {
		return ro, fmt.Errorf("read the newest rollout of %s: %w", ae, err)
	}
	return ro, nil
}

// Served are the releases that rollouts were done to, newest first; 0 where the app went down.
func (r *Rollouts) Served(tx *store.Tx, ae naru.AppEnv) ([]naru.ReleaseNumber, error) {
	var served []naru.ReleaseNumber
	all, err := list(tx, ae)
	for _, ro := range all {
		if ro.State == naru.RolloutDone {
			served = append(served, ro.To)
		}
	}
	return served, err
}

func get(tx *store.Tx, id naru.RolloutID) (naru.Rollout, error) {
	ro, err := scanRollout(tx.QueryRow(`SELECT id, rollout_json FROM rollouts WHERE id = ?`, id).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return ro, naru.Errorf(naru.NotFound, "there is no rollout %d", id)
	}
	if err != nil {
		return ro, fmt.Errorf("read rollout %d: %w", id, err)
	}
	return ro, nil
}

// list reads the rollouts of ae, newest first.
func list(tx *store.Tx, ae naru.AppEnv) ([]naru.Rollout, error) {
	all, err := query(tx, `SELECT id, rollout_json FROM rollouts WHERE app = ? AND environment = ? ORDER BY id DESC`,
		ae.App, ae.Environment)
	if err != nil {
		return nil, fmt.Errorf("read rollouts of %s: %w", ae, err)
	}
	return all, nil
}

// newest reads the newest rollout of every app in every environment.
func newest(tx *store.Tx) ([]naru.Rollout, error) {
	all, err := query(tx, `SELECT id, rollout_json FROM rollouts
		WHERE id IN (SELECT max(id) FROM rollouts GROUP BY app, environment) ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("read rollouts: %w", err)
	}
	return all, nil
}

func query(tx *store.Tx, q string, args ...any) (all []naru.Rollout, err error) {
	err = tx.Query(q, args, func(scan func(...any) error) error {
		ro, err := scanRollout(scan)
		all = append(all, ro)
		return err
	})
	return all, err
}

func scanRollout(scan func(...any) error) (ro naru.Rollout, err error) {
	var id naru.RolloutID
	var b string
	if err := scan(&id, &b); err != nil {
		return ro, err
	}
	err = json.Unmarshal([]byte(b), &ro)
	ro.ID = id
	return ro, err
}

// insert writes a new rollout and returns its id, which the JSON does not repeat.
func insert(tx *store.Tx, ro naru.Rollout) (naru.RolloutID, error) {
	b, err := json.Marshal(ro)
	if err != nil {
		return 0, fmt.Errorf("write a rollout of %s: %w", ro.AppEnv, err)
	}
	id, err := tx.Insert(`INSERT INTO rollouts (app, environment, state, rollout_json) VALUES (?, ?, ?, ?)`,
		ro.App, ro.Environment, ro.State, string(b))
	if err != nil {
		return 0, fmt.Errorf("write a rollout of %s: %w", ro.AppEnv, err)
	}
	return naru.RolloutID(id), nil
}

func update(tx *store.Tx, ro naru.Rollout) error {
	b, err := json.Marshal(ro)
	if err == nil {
		err = tx.Exec(`UPDATE rollouts SET state = ?, rollout_json = ? WHERE id = ?`, ro.State, string(b), ro.ID)
	}
	if err != nil {
		return fmt.Errorf("write rollout %d: %w", ro.ID, err)
	}
	return nil
}
