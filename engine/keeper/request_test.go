package keeper

import (
	"reflect"
	"slices"
	"testing"

	"naru/engine/sandbox/fork"
)

// TestEveryFieldOfCmdTravels fails when fork.Cmd gets a field: the keeper would start the process without it.
func TestEveryFieldOfCmdTravels(t *testing.T) {
	known := []string{
		"Exe", "Args", "Env", "Files", "Namespaces", "UIDMap", "GIDMap", "Joins", "CgroupFD", "Cgroups", "Setsid", "Bare",
		"KillWithParent", "MapIDs", // refused
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[fork.Cmd]()) {
		if !slices.Contains(known, f.Name) {
			t.Errorf("fork.Cmd.%s is not in wire.SpawnRequest: put it there, count wire.Version up, and name it here", f.Name)
		}
	}
}
