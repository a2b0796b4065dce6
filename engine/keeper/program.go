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

func (p program) elf() ([]byte, error) {
	if p.override != nil {
		b, err := io.ReadAll(io.NewSectionReader(p.override, 0, math.MaxInt64))
		if err != nil {
			return nil, fmt.Errorf("read the keeper's executable: %w", err)
		}
		return b, nil
	}
	b, err := embedded.ReadFile("embedded/keeper")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, naru.Errorf(naru.FailedPrecondition, "this naru was built without its keeper: run make")
	}
	return b, err
}

// build tells one executable from another.
func (p program) build() (string, error) {
	b, err := p.elf()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8]), nil
}

// seal makes a sealed memfd of the executable: what runs cannot be changed by anybody, nor by a new version on disk.
func (p program) seal() (*os.File, error) {
	b, err := p.elf()
	if err != nil {
		return nil, err
	}
	return fork.Seal("naru-keeper", string(b), 0o111)
}

// Executable is the embedded program in a sealed memfd, for those who start containers without a keeper: under the
// name of an init it is one.
func Executable() (*os.File, error) { return program{}.seal() }
