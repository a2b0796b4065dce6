// Package engine runs containers on one Linux machine. It joins five parts that do not know each other: image (what a
// container is made of), sandbox (how it is isolated), network (how it is reached), volume (what it keeps) and logs
// (what it says); the keeper holds its processes so that they outlive this one. The engine owns the tables containers
// and networks, and has never heard of apps.
//
// What follows one container, in the order of reading: container.go (the noun and its states), create.go, start.go,
// exit.go, stop.go, remove.go, and adopt.go for what a new daemon does with the containers of the one before.
package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/engine/image"
	"naru/engine/keeper"
	"naru/engine/logs"
	"naru/engine/network"
	"naru/engine/sandbox"
	"naru/engine/volume"
	"naru/internal/hint"
	"naru/store"
)

// Config is what an Engine needs to be opened.
type Config struct {
	Store    *store.Store
	Images   *image.Store
	Keeper   *keeper.Client
	Resolver Resolver      // answers containers' name questions; nil: nobody does
	DataDir  string        // container files, logs and volumes live below it
	Subnet   netip.Prefix  // the pool that networks are cut from
	Forward  []Destination // of what containers print
	Log      *slog.Logger
	// Where naru itself is in a user namespace, an ordinary user's, there are no ranges to give away: every container has
	// the ids that naru has, in a user namespace of its own. Nil: each has its own range.
	UIDMap, GIDMap []specs.LinuxIDMapping
	Ports          Ports // publishes ports beyond the kernel's rules; nil: nobody need
}

// Ports publishes ports in the network of the machine, when the engine has a network of its own in which rules reach
// nobody outside.
type Ports interface {
	// Set makes these the ones that are published, and no others. It is called again and again.
	Set(ctx context.Context, all []network.Publication) error
}

// Engine runs containers. All methods may be called at the same time.
type Engine struct {
	cfg     Config
	tag     string // four hex digits that set this engine's kernel objects apart from another engine's
	group   string // the cgroup above its containers', "" when an ordinary user can have none
	net     *network.Manager
	volumes *volume.Store
	log     *slog.Logger

	mu         sync.Mutex        // guards what follows; never held while waiting for a process
	containers map[string]*entry // changed by enter, follow and expel
	held       held
	networks   map[string]Network
	steps      map[string]stepHold
	leaving    map[string]departure
	connecting map[string]netip.Addr            // addresses of running containers that are being put on one more network
	published  map[string][]network.Publication // by the key that Publish was given
	named      map[string]naming                // what the resolver knows, by the ids of containers
	watchers   map[string]*hint.Watchers        // of containers, by the label that these have
	events     eventLog

	followers logs.Watcher     // wakes those who follow logs
	filters   *sandbox.Filters // compiled seccomp policies, which most containers share
	execs     atomic.Int64     // numbers the exec processes of this daemon's life
	wake      chan struct{}    // a hint for the restarter
	begun     chan struct{}    // closed when Run begins: from then on changes reach the kernel
	netMu     sync.Mutex       // one change of the kernel's network at a time; taken before mu
	left      bool             // Close was called: changes reach the kernel no more; guarded by netMu
	life      context.Context
	end       context.CancelFunc
	waiting   sync.WaitGroup // one goroutine a running container
}

// Tag returns the four hex digits that mark the kernel objects of the engine whose data is in dataDir.
func Tag(dataDir string) string {
	sum := sha256.Sum256([]byte(dataDir))
	return hex.EncodeToString(sum[:2])
}

// Open loads what the engine knows. Call Adopt next, then Run.
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	dir, err := filepath.Abs(cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("resolve data folder: %w", err)
	}
	cfg.DataDir = dir
	volumes, err := volume.Open(filepath.Join(dir, "volumes"))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "containers"), 0o710); err != nil {
		return nil, fmt.Errorf("make the folder of containers: %w", err)
	}
	if err := errors.Join(clearViews(dir), clearAllAside(dir)); err != nil {
		return nil, fmt.Errorf("clear the data folder: %w", err)
	}
	e := &Engine{
		cfg: cfg, tag: Tag(dir), group: sandbox.OwnCgroup("naru-"+Tag(dir), cfg.Keeper.Info().PID), volumes: volumes, log: cfg.Log,
		containers: map[string]*entry{},
		held:       newHeld(),
		networks:   map[string]Network{},
		steps:      map[string]stepHold{},
		filters:    &sandbox.Filters{},
		leaving:    map[string]departure{},
		connecting: map[string]netip.Addr{},
		published:  map[string][]network.Publication{},
		named:      map[string]naming{},
		watchers:   map[string]*hint.Watchers{},
		wake:       make(chan struct{}, 1),
		begun:      make(chan struct{}),
	}
	e.net = network.New(network.Config{Tag: e.tag, Log: cfg.Log})
	// The engine's own life, not a caller's: a container is watched from its start to its exit, whoever asked for it.
	e.life, e.end = context.WithCancel(context.WithoutCancel(ctx))
	if err := e.load(ctx); err != nil {
		return nil, fmt.Errorf("load containers: %w", err)
	}
	return e, nil
}

// Run brings the kernel's network to what the tables say, and keeps it so until ctx ends; what needs a network waits for
// it. Containers run on after it; when none runs, nothing of the engine's is left in the kernel. It is called once.
func (e *Engine) Run(ctx context.Context) error {
	defer e.Close(context.WithoutCancel(ctx))
	var restarting sync.WaitGroup
	defer restarting.Wait()
	close(e.begun)
	restarting.Go(func() { e.restartAll(ctx) })
	tick := time.NewTicker(repairInterval)
	defer tick.Stop()
	for {
		if err := e.applyNetwork(ctx); err != nil && !errors.Is(err, context.Canceled) {
			e.log.Error("bring the network to its wanted state", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Close stops watching, and takes the engine's marks off the kernel when nothing runs that needs them. It is Run's end,
// and the end of an engine that has adopted containers and never came to Run; once is enough.
func (e *Engine) Close(ctx context.Context) {
	e.end()
	e.waiting.Wait()
	e.logFailure("stop following logs", e.followers.Close())
	e.netMu.Lock() // a change under way comes to its end, and one that comes now would bring back what is removed
	defer e.netMu.Unlock()
	if e.left {
		return
	}
	e.left = true
	defer func() { e.logFailure("close the line to the kernel's network", e.net.Close()) }()
	if len(e.claims().running) > 0 {
		return
	}
	e.logFailure("remove the networks", e.net.RemoveAll(ctx))
	e.logFailure("remove the cgroup", sandbox.RemoveCgroup(ctx, e.group))
}

// repairInterval bounds how long the kernel's network can differ from the wanted one after someone else changed it.
const repairInterval = time.Second

// Watch returns a channel that gets a hint after changes of containers that have a label of this name, or of all with "",
// and the function that ends the watch.
func (e *Engine) Watch(label string) (<-chan struct{}, func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.watchers[label] == nil {
		e.watchers[label] = &hint.Watchers{}
	}
	return e.watchers[label].Watch()
}

// changed gives a hint to those who watch containers like this one.
func (e *Engine) changed(c Container) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for label, watchers := range e.watchers {
		if _, has := c.Spec.Labels[label]; has || label == "" {
			watchers.Notify()
		}
	}
}

func (e *Engine) containerDir(id string) string {
	return filepath.Join(e.cfg.DataDir, "containers", id)
}
func (e *Engine) logDir(id string) string { return filepath.Join(e.containerDir(id), "log") }

// cgroup is where a container's is, or "".
func (e *Engine) cgroup(id string) string {
	if e.group == "" {
		return ""
	}
	return e.group + "/" + id
}
