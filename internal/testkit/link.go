package testkit

import (
	"errors"
	"fmt"
	"os/exec"
)

// deleteLink removes a network interface with the ip command: the kit has no netlink of its own for one rare call.
func deleteLink(name string) error {
	out, err := exec.Command("ip", "link", "delete", name).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("link %s is left, and there is no ip command to remove it", name)
	}
	if err != nil {
		return fmt.Errorf("delete link %s: %w: %s", name, err, out)
	}
	return nil
}
