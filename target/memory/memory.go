// Package memory is the smallest target: sets, instances and traffic are values, and time passes when the test says
// so. It receives the same wishes as a real target and fulfils them a notch at a Step (or in Run), with behaviours
// for instances that never become ready or fail, and faults for calls that go wrong. It keeps target/suite's promises
// except that its memory is the process's: a "crash" in a test drops everything else and keeps the Target.
package memory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"naru/internal/hint"
	"naru/naru"
	"naru/target"
)

// Behaviour is how the instances of a set fare. The zero value is one whose instances run and never become ready.
type Behaviour struct {
	Ready    bool
	Failure  string   // with Ready false: why they cannot become ready
	LogLines []string // what they print
}

// Call names a call of the Target interface, for fault injection.
type Call struct {
	Method string // "Apply", "Remove", "SetTraffic" or "Observe"
	naru.AppEnv
	Set naru.SetKey // for Apply and Remove
}

// Fault makes a call go wrong. Lost is returned instead of recording the wish, Late after recording it.
type Fault struct {
	Lost error
	Late error
}

// Options configure a Target; zero fields do nothing special.
type Options struct {
	Behave func(target.Set) Behaviour // default: every instance becomes ready
	Fault  func(Call) Fault           // called before each call is looked at
}

// Target is a target.Target in memory.
type Target struct {
	options Options

	mu   sync.Mutex
	envs map[naru.AppEnv]*env
	made int // instances ever, for their ids

	watchers hint.Watchers
}

type env struct {
	sets    map[naru.SetKey]*set
	traffic target.Traffic
}

var _ target.Target = (*Target)(nil)

// New makes an empty target.
func New(o Options) *Target {
	if o.Behave == nil {
		o.Behave = func(target.Set) Behaviour { return Behaviour{Ready: true} }
	}
	if o.Fault == nil {
		o.Fault = func(Call) Fault { return Fault{} }
	}
	return &Target{options: o, envs: map[naru.AppEnv]*env{}}
}

// Apply implements target.Target.
func (t *Target) Apply(_ context.Context, s target.Set) error {
	if s.Instances < 0 {
		return naru.Errorf(naru.InvalidArgument, "apply %s: %d instances: use 0 or more", s.Key, s.Instances)
	}
	return t.call(Call{"Apply", s.AppEnv, s.Key}, func(e *env) {
		have, ok := e.sets[s.Key]
		if !ok {
			have = &set{Set: s, behaviour: t.options.Behave(s)}
			e.sets[s.Key] = have
		}
		have.Instances, have.removing = s.Instances, false
	})
}

// Remove implements target.Target.
func (t *Target) Remove(_ context.Context, ae naru.AppEnv, key naru.SetKey) error {
	return t.call(Call{"Remove", ae, key}, func(e *env) {
		if s, ok := e.sets[key]; ok {
			s.Instances, s.removing = 0, true
		}
	})
}

// SetTraffic implements target.Target.
func (t *Target) SetTraffic(_ context.Context, ae naru.AppEnv, tr target.Traffic) error {
	return t.call(Call{"SetTraffic", ae, ""}, func(e *env) { e.traffic = clone(tr) })
}

// call records a wish, unless a fault says otherwise.
func (t *Target) call(c Call, record func(*env)) error {
	f := t.options.Fault(c)
	if f.Lost != nil {
		return f.Lost
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.envs[c.AppEnv]
	if !ok {
		e = &env{sets: map[naru.SetKey]*set{}}
		t.envs[c.AppEnv] = e
	}
	record(e)
	t.watchers.Notify()
	return f.Late
}

// Observe implements target.Target.
func (t *Target) Observe(_ context.Context, ae naru.AppEnv) (target.Observation, error) {
	f := t.options.Fault(Call{"Observe", ae, ""})
	if err := cmp.Or(f.Lost, f.Late); err != nil {
		return target.Observation{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var o target.Observation
	e, ok := t.envs[ae]
	if !ok {
		return o, nil
	}
	for _, key := range slices.Sorted(maps.Keys(e.sets)) {
		o.Sets = append(o.Sets, e.sets[key].status())
	}
	o.Traffic = clone(e.traffic)
	return o, nil
}

func clone(t target.Traffic) target.Traffic {
	c := target.Traffic{Routes: slices.Clone(t.Routes)}
	for name, weights := range t.Services {
		if c.Services == nil {
			c.Services = map[naru.ServiceName][]target.Weight{}
		}
		c.Services[name] = slices.Clone(weights)
	}
	return c
}

// Watch implements target.Target.
func (t *Target) Watch() (<-chan struct{}, func()) { return t.watchers.Watch() }

// Run fulfils wishes as they come until ctx ends.
func (t *Target) Run(ctx context.Context) error {
	changed, stop := t.Watch()
	defer stop()
	for {
		for t.Step() {
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// Step moves every set a notch towards what was wished, and reports whether anything moved.
func (t *Target) Step() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	moved := false
	for _, ae := range slices.SortedFunc(maps.Keys(t.envs), compareEnvs) {
		for _, key := range slices.Sorted(maps.Keys(t.envs[ae].sets)) {
			moved = t.step(t.envs[ae], key) || moved
		}
	}
	return moved
}

// StepSet moves one set a notch, and reports whether it moved.
func (t *Target) StepSet(ae naru.AppEnv, key naru.SetKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.envs[ae]
	return ok && t.step(e, key)
}

func compareEnvs(a, b naru.AppEnv) int { return cmp.Compare(a.String(), b.String()) }

func (t *Target) step(e *env, key naru.SetKey) bool {
	s, ok := e.sets[key]
	if !ok {
		return false
	}
	moved := s.step(func() naru.InstanceID {
		t.made++
		return naru.InstanceID(fmt.Sprintf("%s-%d", key, t.made))
	})
	if s.removing && len(s.instances) == 0 {
		delete(e.sets, key)
		moved = true
	}
	if moved {
		t.watchers.Notify()
	}
	return moved
}

// Behave changes how a set's instances fare from the next Step on.
func (t *Target) Behave(ae naru.AppEnv, key naru.SetKey, b Behaviour) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.envs[ae]; ok && e.sets[key] != nil {
		e.sets[key].behaviour = b
		t.watchers.Notify()
	}
}

// Kill makes an instance die, as if from outside; the next steps replace it.
func (t *Target) Kill(ae naru.AppEnv, id naru.InstanceID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.envs[ae]; ok {
		for _, s := range e.sets {
			s.kill(id)
		}
		t.watchers.Notify()
	}
}

// Forget loses all of an AppEnv, as a target whose disk was replaced would.
func (t *Target) Forget(ae naru.AppEnv) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.envs, ae)
	t.watchers.Notify()
}
