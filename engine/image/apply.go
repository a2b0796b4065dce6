package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/diff"
	"github.com/containerd/containerd/v2/core/mount"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// An overlay marks a folder that hides the one beneath it with an attribute. Containers have their overlays mounted from
// inside a user namespace, where the kernel can only use user.* attributes; so that the host sees the same files in the
// same layers, its own overlays use those too (MountOption). containerd's applier alone makes trusted.* marks, and
// markingApplier gives each its user.* twin.
const (
	trustedOpaque = "trusted.overlay.opaque"
	userOpaque    = "user.overlay.opaque"
)

// MountOption is the option that every overlay mount of a Rootfs needs, in a user namespace or not.
const MountOption = "userxattr"

// markingApplier extracts layers for overlays that are mounted with userxattr.
type markingApplier struct{ diff.Applier }

// Applier extracts layers from the content store. It puts the namespace into the ctx by itself.
func (s *Store) Applier() diff.Applier { return s.applier }

func (a markingApplier) Apply(ctx context.Context, desc ocispec.Descriptor, mounts []mount.Mount, opts ...diff.ApplyOpt) (ocispec.Descriptor, error) {
	d, err := a.Applier.Apply(inNamespace(ctx), desc, mounts, opts...)
	if err != nil {
		return d, err
	}
	rootfs, err := ParseOverlay(mounts)
	if err != nil || len(rootfs.Lower) == 0 {
		return d, err // a bottom layer hides nothing
	}
	if err := twinMarks(rootfs.Upper); err != nil {
		return d, fmt.Errorf("mark folders that replace others: %w", err)
	}
	return d, nil
}

// twinMarks gives every folder below dir that has the one mark the other too.
func twinMarks(dir string) error {
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.IsDir() {
			return err
		}
		var mark [1]byte
		n, err := unix.Lgetxattr(name, trustedOpaque, mark[:])
		switch {
		case errors.Is(err, unix.ENODATA), errors.Is(err, unix.ERANGE), err == nil && mark[0] != 'y':
			return nil
		case err != nil:
			return err
		}
		return unix.Lsetxattr(name, userOpaque, mark[:n], 0)
	})
}
