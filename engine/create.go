package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"naru/engine/image"
	"naru/engine/quota"
	"naru/engine/sandbox"
	"naru/internal/cleanup"
	"naru/naru"
)

// Create makes a container of an image; nothing of it runs yet. An unknown image is NotFound, a taken name Conflict.
func (e *Engine) Create(ctx context.Context, spec ContainerSpec) (Container, error) {
	c, err := newContainer(spec)
	if err != nil {
		return Container{}, err
	}
	img, err := e.cfg.Images.Find(ctx, spec.Image)
	if err != nil {
		return Container{}, err
	}
	c.Image = img.Digest
	c.Spec.Ports = append(c.Spec.Ports, exposedPorts(spec, img)...)
	if c.Spec.Health, err = healthCheck(spec, img); err != nil {
		return Container{}, err
	}
	en, err := e.reserve(c)
	if err != nil {
		return Container{}, err
	}
	defer en.op.Unlock()
	c = en.c // with its range of ids
	var undo cleanup.Stack
	defer undo.Run()
	undo.Add(func() { e.drop(en) })

	// Written down before it is made: a crash in between leaves a row whose remains Remove knows how to find.
	if err := e.save(ctx, en, c); err != nil {
		return Container{}, err
	}
	undo.Add(func() { e.logFailure("forget a container that was not made", e.forget(context.WithoutCancel(ctx), en)) })
	if err := e.makeFiles(ctx, c); err != nil {
		e.logFailure("remove what was made of a container", e.setAside(context.WithoutCancel(ctx), c))
		e.clearAside(c)
		return Container{}, fmt.Errorf("create container %s: %w", c.Name, err)
	}
	undo.Release()
	e.note("create", c)
	return c, nil
}

// newContainer checks the spec and gives it an identity.
func newContainer(spec ContainerSpec) (Container, error) {
	if spec.Name != "" {
		if err := checkName(spec.Name); err != nil {
			return Container{}, err
		}
	}
	for _, kv := range spec.Env {
		if name, _, ok := strings.Cut(kv, "="); !ok || name == "" {
			return Container{}, naru.Errorf(naru.InvalidArgument, "environment entry %q: write NAME=value", name)
		}
	}
	if err := spec.checkNetwork(); err != nil {
		return Container{}, err
	}
	for _, m := range spec.Mounts {
		if err := m.validate(); err != nil {
			return Container{}, err
		}
	}
	if err := errors.Join(spec.checkLimits(), spec.checkIsolation()); err != nil {
		return Container{}, err
	}
	if err := spec.Restart.validate(); err != nil {
		return Container{}, err
	}
	if spec.StopSignal != "" {
		if _, err := sandbox.ParseSignal(spec.StopSignal); err != nil {
			return Container{}, err
		}
	}
	if spec.AutoRemove && spec.Restart.Name != NoRestart {
		return Container{}, naru.Errorf(naru.InvalidArgument, "a container cannot be removed and restarted when it exits: leave out one of the two")
	}
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return Container{}, fmt.Errorf("make an id: %w", err)
	}
	c := Container{ID: hex.EncodeToString(id[:]), Name: spec.Name, Spec: spec, State: Created, CreatedAt: time.Now().UTC()}
	if c.Name == "" {
		c.Name = c.ShortID()
	}
	return c, nil
}

func checkName(name string) error {
	if !validName.MatchString(name) {
		return naru.Errorf(naru.InvalidArgument, "container name %q: use letters, digits, '_', '.' and '-', starting with a letter or digit", name)
	}
	return nil
}

var validName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)

func (m Mount) validate() error {
	switch {
	case !filepath.IsAbs(m.Target):
		return naru.Errorf(naru.InvalidArgument, "mount target %q: use an absolute path in the container", m.Target)
	case (m.Volume == "") == (m.HostPath == ""):
		return naru.Errorf(naru.InvalidArgument, "mount on %s: name either a volume or a folder of the host", m.Target)
	case m.HostPath != "" && !filepath.IsAbs(m.HostPath):
		return naru.Errorf(naru.InvalidArgument, "mount on %s: the host's path %q is not absolute", m.Target, m.HostPath)
	case m.Subpath != "" && (m.Volume == "" || !filepath.IsLocal(m.Subpath)):
		return naru.Errorf(naru.InvalidArgument, "mount on %s: subpath %q must be a relative path in a volume", m.Target, m.Subpath)
	}
	return nil
}

// checkLimits refuses limits of the disk that mean nothing, or would not hold.
func (s ContainerSpec) checkLimits() error {
	if s.HostUserNS && s.Limits.Disk != (naru.DiskLimit{}) {
		return naru.Errorf(naru.InvalidArgument, "a limit of the disk does not hold without a user namespace, whose root could lift it: leave out one of the two")
	}
	errs := []error{checkDisk(s.Limits.Disk), checkSwap(s.Limits)}
	for _, m := range s.Mounts {
		errs = append(errs, checkDisk(m.Limit))
	}
	return errors.Join(errs...)
}

func checkSwap(l naru.Limits) error {
	switch {
	case l.MemorySwap != 0 && l.MemoryBytes == 0:
		return naru.Errorf(naru.InvalidArgument, "a limit of memory and swap together needs one of memory: add --memory")
	case l.MemorySwap > 0 && l.MemorySwap < l.MemoryBytes:
		return naru.Errorf(naru.InvalidArgument, "memory and swap together (%d bytes) are less than memory alone (%d)", l.MemorySwap, l.MemoryBytes)
	case l.MemoryReservation > l.MemoryBytes && l.MemoryBytes > 0:
		return naru.Errorf(naru.InvalidArgument, "the memory that is reserved (%d bytes) is more than the limit (%d)", l.MemoryReservation, l.MemoryBytes)
	}
	return nil
}

// maxDisk is more than any file system holds.
const maxDisk = 1 << 60

func checkDisk(l naru.DiskLimit) error {
	if min(l.Bytes, l.Inodes) < 0 || max(l.Bytes, l.Inodes) > maxDisk {
		return naru.Errorf(naru.InvalidArgument, "a limit of %d bytes and %d inodes: each is from 0 to %d", l.Bytes, l.Inodes, int64(maxDisk))
	}
	return nil
}

// reserve takes the container's name and a range of ids, in memory. It returns with en.op held: to others the container
// is there from now on, and they wait until it is made.
func (e *Engine) reserve(c Container) (*entry, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.nameFree(c.Name); err != nil {
		return nil, err
	}
	if !c.Spec.HostUserNS && len(e.cfg.UIDMap) == 0 {
		base, err := pickIDBase(c.ID, e.baseTaken())
		if err != nil {
			return nil, err
		}
		c.IDBase = base
	}
	en := &entry{c: c}
	en.op.Lock()
	e.enter(en)
	return en, nil
}

// nameFree returns a Conflict when a container has the name. The caller holds e.mu.
func (e *Engine) nameFree(name string) error {
	id, taken := e.held.names[name]
	if !taken {
		id, taken = name, e.containers[name] != nil
	}
	if taken {
		return naru.Errorf(naru.Conflict, "the name %q is taken by container %s: remove that one or choose another name", name, e.containers[id].c.ShortID())
	}
	return nil
}

// drop gives up what reserve took. Who waits for the container finds that it is gone.
func (e *Engine) drop(en *entry) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.expel(en)
}

// makeFiles makes the container's folder and its writable layer.
func (e *Engine) makeFiles(ctx context.Context, c Container) error {
	if err := os.MkdirAll(e.logDir(c.ID), 0o700); err != nil {
		return fmt.Errorf("make its folder: %w", err)
	}
	if _, err := e.layers(ctx, c); err != nil {
		return fmt.Errorf("make its root filesystem: %w", err)
	}
	return nil
}

// layers are the container's root filesystem; what is written to it is bounded as the container asks.
func (e *Engine) layers(ctx context.Context, c Container) (image.Rootfs, error) {
	root, err := e.cfg.Images.Prepare(ctx, c.ID, c.Image)
	if err != nil || c.Spec.Limits.Disk == (naru.DiskLimit{}) {
		return root, err
	}
	return root, quota.Set(c.Spec.Limits.Disk, root.Upper, root.Work)
}

// logFailure reports what went wrong in cleaning up after another error, which is the one the caller returns.
func (e *Engine) logFailure(doing string, err error) {
	if err != nil {
		e.log.Error(doing, "err", err)
	}
}
