package keeper

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"

	"naru/engine/sandbox/fork"
	"naru/naru"
)

// embedded holds the keeper's executable, if make has built it.
//
//go:embed all:embedded
var embedded embed.FS

// program is the executable that keepers are started from.
type program struct{ override *os.File }

func (p program) open() (io.ReadCloser, error) {
	if p.override != nil {
		return io.NopCloser(io.NewSectionReader(p.override, 0, math.MaxInt64)), nil
	}
	f, err := embedded.Open("embedded/keeper")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, naru.Errorf(naru.FailedPrecondition, "this naru was built without its keeper: run make")
	}
	return f, err
}

// build tells one executable from another.
func (p program) build() (string, error) {
	elf, err := p.open()
	if err != nil {
		return "", err
	}
	defer elf.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, elf); err != nil {
		return "", fmt.Errorf("read the keeper's executable: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8]), nil
}

// seal makes a sealed memfd of the executable: what runs cannot be changed by anybody, nor by a new version on disk.
func (p program) seal() (*os.File, error) {
	elf, err := p.open()
	if err != nil {
		return nil, err
	}
	defer elf.Close()
	return fork.Seal("naru-keeper", elf, 0o111)
}

// Executable is the embedded program in a sealed memfd, for those who start containers without a keeper: under the
// name of an init it is one.
func Executable() (*os.File, error) { return program{}.seal() }
