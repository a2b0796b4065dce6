package peer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// Program builds a command of this tree into dir, static, as what runs in a container must be.
func Program(ctx context.Context, dir, pkg string) (string, error) {
	path := filepath.Join(dir, filepath.Base(pkg))
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	return path, quiet(build)
}

// Rootfs packs programs into dir/rootfs.tar, each at its top: an image of them and nothing else.
func Rootfs(dir string, programs ...string) (path string, err error) {
	path = filepath.Join(dir, "rootfs.tar")
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := tar.NewWriter(f)
	for _, program := range programs {
		if err := pack(w, program); err != nil {
			return "", fmt.Errorf("pack %s: %w", program, err)
		}
	}
	return path, w.Close()
}

func pack(w *tar.Writer, program string) error {
	f, err := os.Open(program)
	if err != nil {
		return err
	}
	defer f.Close() // only read from
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Name: filepath.Base(program), Mode: 0o755, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}
