package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"naru/naru"
)

// DiskUse is what the things of one kind take on disk.
type DiskUse struct {
	Kind   string // "containers", "images" or "volumes"
	Count  int
	Active int // in use: containers that run, images of containers, volumes of containers
	Bytes  int64
}

// DiskUsage measures the disk, which takes its time.
func (e *Engine) DiskUsage(ctx context.Context) ([]DiskUse, error) {
	containers, err := e.containersUse(ctx)
	if err != nil {
		return nil, err
	}
	images, err := e.imagesUse(ctx)
	if err != nil {
		return nil, err
	}
	volumes, err := e.volumesUse(ctx)
	return []DiskUse{images, containers, volumes}, err
}

// containersUse counts logs and what containers wrote over their images.
func (e *Engine) containersUse(ctx context.Context) (DiskUse, error) {
	use := DiskUse{Kind: "containers"}
	list, err := e.List(ctx)
	if err != nil {
		return use, err
	}
	for _, c := range list {
		use.Count++
		if c.State == Running {
			use.Active++
		}
		root, err := e.cfg.Images.Prepare(ctx, c.ID, c.Image)
		if code := naru.CodeOf(err); code == naru.NotFound {
			continue // it was removed meanwhile
		}
		if err != nil {
			return use, err
		}
		for _, dir := range []string{root.Upper, e.containerDir(c.ID)} {
			n, err := diskBytes(dir)
			if err != nil {
				return use, err
			}
			use.Bytes += n
		}
	}
	return use, nil
}

func (e *Engine) imagesUse(ctx context.Context) (DiskUse, error) {
	use := DiskUse{Kind: "images"}
	list, err := e.cfg.Images.List(ctx)
	if err != nil {
		return use, err
	}
	used := map[naru.Digest]bool{}
	e.mu.Lock()
	for _, en := range e.containers {
		used[en.c.Image] = true
	}
	e.mu.Unlock()
	for _, img := range list {
		use.Count++
		use.Bytes += img.Size
		if used[img.Digest] {
			use.Active++
		}
	}
	return use, nil
}

func (e *Engine) volumesUse(ctx context.Context) (DiskUse, error) {
	use := DiskUse{Kind: "volumes"}
	list, err := e.Volumes(ctx)
	if err != nil {
		return use, err
	}
	for _, v := range list {
		n, err := diskBytes(v.Path)
		if err != nil {
			return use, err
		}
		use.Count++
		use.Bytes += n
		if len(v.UsedBy) > 0 {
			use.Active++
		}
	}
	return use, nil
}

// diskBytes adds up the blocks of all files below a folder, each file once.
func diskBytes(dir string) (total int64, err error) {
	seen := map[uint64]bool{}
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went while we looked
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && !seen[st.Ino] {
			seen[st.Ino] = true
			total += st.Blocks * 512
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("measure %s: %w", dir, err)
	}
	return total, nil
}
