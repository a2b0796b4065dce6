package machine

import (
	"context"
	"encoding/json"
	"fmt"

	"naru/naru"
	"naru/store"
	"naru/target"
)

// load reads the machine's tables into memory. Afterwards memory follows each committed write.
func (m *Machine) load(ctx context.Context) error {
	return m.store.View(ctx, func(tx *store.Tx) error {
		err := tx.Query(`SELECT set_json FROM sets`, nil, func(scan func(...any) error) error {
			s := &set{instances: map[string]*instance{}}
			if err := scanJSON(scan, s); err != nil {
				return err
			}
			m.appOf(s.AppEnv).sets[s.Key] = s
			return nil
		})
		if err != nil {
			return fmt.Errorf("read sets: %w", err)
		}
		err = tx.Query(`SELECT traffic_json FROM traffic`, nil, func(scan func(...any) error) error {
			var row trafficRow
			if err := scanJSON(scan, &row); err != nil {
				return err
			}
			m.appOf(row.AppEnv).traffic = row.Traffic
			return nil
		})
		if err != nil {
			return fmt.Errorf("read traffic: %w", err)
		}
		return nil
	})
}

type trafficRow struct {
	naru.AppEnv
	target.Traffic
}

func scanJSON(scan func(...any) error, into any) error {
	var text string
	if err := scan(&text); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("decode row: %w", err)
	}
	return nil
}

func (m *Machine) saveSet(ctx context.Context, s *set) error {
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode set: %w", err)
	}
	err = m.store.Update(ctx, func(tx *store.Tx) error {
		return tx.Exec(`INSERT INTO sets (app, environment, key, set_json) VALUES (?, ?, ?, ?)
			ON CONFLICT (app, environment, key) DO UPDATE SET set_json = excluded.set_json`,
			s.App, s.Environment, s.Key, string(text))
	})
	if err != nil {
		return fmt.Errorf("write set %s of %s down: %w", s.Key, s.AppEnv, err)
	}
	return nil
}

func (m *Machine) forgetSet(ctx context.Context, ae naru.AppEnv, key naru.SetKey) error {
	err := m.store.Update(ctx, func(tx *store.Tx) error {
		return tx.Exec(`DELETE FROM sets WHERE app = ? AND environment = ? AND key = ?`, ae.App, ae.Environment, key)
	})
	if err != nil {
		return fmt.Errorf("forget set %s of %s: %w", key, ae, err)
	}
	return nil
}

func (m *Machine) saveTraffic(ctx context.Context, ae naru.AppEnv, t target.Traffic) error {
	text, err := json.Marshal(trafficRow{ae, t})
	if err != nil {
		return fmt.Errorf("encode traffic: %w", err)
	}
	err = m.store.Update(ctx, func(tx *store.Tx) error {
		if len(t.Services) == 0 && len(t.Routes) == 0 {
			return tx.Exec(`DELETE FROM traffic WHERE app = ? AND environment = ?`, ae.App, ae.Environment)
		}
		return tx.Exec(`INSERT INTO traffic (app, environment, traffic_json) VALUES (?, ?, ?)
			ON CONFLICT (app, environment) DO UPDATE SET traffic_json = excluded.traffic_json`,
			ae.App, ae.Environment, string(text))
	})
	if err != nil {
		return fmt.Errorf("write the traffic of %s down: %w", ae, err)
	}
	return nil
}
