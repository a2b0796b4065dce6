package peer

import (
	"fmt"
	"os"
	"path/filepath"
)

// unpacked finds a program of Docker's among what test/deps.sh unpacked below deps.
func unpacked(deps, name string) (string, error) {
	for _, folder := range []string{"bin", "sbin"} {
		path := filepath.Join(deps, "docker", "usr", folder, name)
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("find %s below %s: it is not there (run make deps)", name, deps)
}
