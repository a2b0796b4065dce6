package network

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
)

// Apply makes the kernel be as the state says: its bridges exist, others of this daemon do not, and the table's rules
// are the state's. It repairs what was removed behind its back, and may be repeated at any time without harm.
func (m *Manager) Apply(ctx context.Context, s State) error {
	if err := s.check(m.tag); err != nil {
		return fmt.Errorf("apply networks: %w", err)
	}
	m.apply.Lock()
	defer m.apply.Unlock()
	if err := m.applyAll(ctx, s); err != nil {
		return fmt.Errorf("apply networks: %w", err)
	}
	return nil
}

// applyAll makes bridges before the rules that name them, and removes bridges after their rules.
func (m *Manager) applyAll(ctx context.Context, s State) error {
	if err := m.enableForwarding(len(s.Networks)); err != nil {
		return err
	}
	others, indexes, err := m.ensureBridges(s.Networks)
	if err != nil {
		return err
	}
	if err := m.replaceTable(ctx, s); err != nil {
		return err
	}
	before := m.remember(s, indexes)
	return errors.Join(deleteLinks(others), m.forgetFlows(before, s))
}

// replaceTable puts the state's table in the place of the daemon's former one. Nothing is written when the state is the
// same as before and nobody has changed any rules since: every container that comes or goes makes the engine apply.
func (m *Manager) replaceTable(ctx context.Context, s State) error {
	if err := m.kernel.open(); err != nil {
		return err
	}
	before, err := m.kernel.generation()
	if err != nil {
		return errors.Join(explain(err), m.kernel.close())
	}
	if before == m.written && m.hasApplied(s) {
		return nil
	}
	counted, err := m.kernel.counts(m.tag)
	if err != nil {
		return errors.Join(explain(err), m.kernel.close())
	}
	b := newBatch(&m.kernel, m.tag)
	b.addTable()
	writeRuleset(b, s, counted)
	if err := b.send(ctx); err != nil {
		return err
	}
	m.written = 0 // unless the only change was ours
	after, err := m.kernel.generation()
	if err == nil && after == before+1 {
		m.written = after
	}
	return err
}

func (m *Manager) hasApplied(s State) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.applied && reflect.DeepEqual(m.state, s.clone())
}

// remember keeps what was achieved and returns what was before.
func (m *Manager) remember(s State, bridges map[string]int) State {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.state
	m.applied, m.state, m.bridges = true, s.clone(), bridges
	for _, p := range s.Publications {
		for _, b := range p.Backends {
			m.served[b.Addr()] = true
		}
	}
	return before
}

// clone makes what the caller does with its state later no concern.
func (s State) clone() State {
	c := State{slices.Clone(s.Networks), slices.Clone(s.Publications)}
	for i := range c.Publications {
		c.Publications[i].Backends = slices.Clone(c.Publications[i].Backends)
	}
	return c
}

// enableForwarding switches on that the host passes packets on between interfaces, without which no container reaches
// anything but its neighbours.
func (m *Manager) enableForwarding(networks int) error {
	if networks == 0 {
		return nil
	}
	now, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err != nil {
		return fmt.Errorf("read net.ipv4.ip_forward: %w", err)
	}
	if strings.TrimSpace(string(now)) != "0" {
		return nil
	}
	if err := writeSysctl("ipv4/ip_forward", "1"); err != nil {
		return err
	}
	m.log.Warn("net.ipv4.ip_forward was off and is on now: containers need it, and this host now also forwards between its other interfaces unless its firewall says otherwise")
	return nil
}
