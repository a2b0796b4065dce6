package engine

import (
	"context"
	"encoding/json"
	"fmt"

	"naru/store"
)

// load reads the engine's tables into memory. Afterwards memory follows each committed write.
func (e *Engine) load(ctx context.Context) error {
	return e.cfg.Store.View(ctx, func(tx *store.Tx) error {
		err := scanJSON(tx, `SELECT container_json FROM containers`, func(c Container) {
			e.enter(&entry{c: c})
		})
		if err != nil {
			return fmt.Errorf("read containers: %w", err)
		}
		err = scanJSON(tx, `SELECT network_json FROM networks`, func(n Network) { e.networks[n.Name] = n })
		if err != nil {
			return fmt.Errorf("read networks: %w", err)
		}
		return nil
	})
}

func scanJSON[T any](tx *store.Tx, query string, each func(T)) error {
	return tx.Query(query, nil, func(scan func(...any) error) error {
		var text string
		if err := scan(&text); err != nil {
			return err
		}
		var v T
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return fmt.Errorf("decode row: %w", err)
		}
		each(v)
		return nil
	})
}

// save writes the container down and then lets memory follow.
func (e *Engine) save(ctx context.Context, en *entry, c Container) error {
	text, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode container: %w", err)
	}
	err = e.update(c)(ctx, func(tx *store.Tx) error {
		return tx.Exec(`INSERT INTO containers (id, name, container_json) VALUES (?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, container_json = excluded.container_json`,
			c.ID, c.Name, string(text))
	})
	if err != nil {
		return fmt.Errorf("write container %s down: %w", c.Name, err)
	}
	e.show(en, c)
	return nil
}

// show lets memory follow, and those who watch it look.
func (e *Engine) show(en *entry, c Container) {
	e.mu.Lock()
	e.follow(en, c)
	e.mu.Unlock()
	e.changed(c) // now, not when the row was there: who looks, looks at memory
}

// update is how a container's row is written. To a machine that starts anew it is all the same how far a start had come;
// and a container that is removed on exit would not be there.
func (e *Engine) update(c Container) func(context.Context, func(*store.Tx) error) error {
	if c.State == Starting || c.Spec.AutoRemove {
		return e.cfg.Store.UpdateUnsynced
	}
	return e.cfg.Store.Update
}

func (e *Engine) forget(ctx context.Context, en *entry) error {
	err := e.update(en.c)(ctx, func(tx *store.Tx) error {
		return tx.Exec(`DELETE FROM containers WHERE id = ?`, en.c.ID)
	})
	if err != nil {
		return fmt.Errorf("forget container %s: %w", en.c.Name, err)
	}
	e.mu.Lock()
	c := en.c
	e.expel(en)
	e.mu.Unlock()
	e.changed(c)
	return nil
}

func (e *Engine) saveNetwork(ctx context.Context, n Network) error {
	text, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("encode network: %w", err)
	}
	err = e.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.Exec(`INSERT INTO networks (name, network_json) VALUES (?, ?)`, n.Name, string(text))
	})
	if err != nil {
		return fmt.Errorf("write network %s down: %w", n.Name, err)
	}
	return nil
}

func (e *Engine) forgetNetwork(ctx context.Context, name string) error {
	err := e.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		return tx.Exec(`DELETE FROM networks WHERE name = ?`, name)
	})
	if err != nil {
		return fmt.Errorf("forget network %s: %w", name, err)
	}
	return nil
}
