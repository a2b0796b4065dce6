package engine_test

import (
	"os"
	"path/filepath"
	"testing"

	"naru/engine"
)

// A daemon that is killed, or a power cut, may come after a container's row and before its folders, or take them back.
func TestAStartMakesTheFoldersThatAreMissing(t *testing.T) {
	r := newRig(t)
	c, err := r.Create(t.Context(), engine.ContainerSpec{Image: "busybox", Command: []string{"/bin/sh", "-c", "echo here >/file; cat /file"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, pattern := range []string{"containers/" + c.ID, "images/roots/" + c.ID} {
		found, err := filepath.Glob(filepath.Join(r.Data, pattern))
		if err != nil || len(found) != 1 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		if err := os.RemoveAll(found[0]); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Start(t.Context(), c.ID); err != nil {
		t.Fatal(err)
	}
	if c = r.wait(c.ID); c.ExitCode != 0 || r.output(c.ID) != "here\n" {
		t.Errorf("it ended with %d and said %q", c.ExitCode, r.output(c.ID))
	}
}

func TestARemovalTakesTheFoldersWithIt(t *testing.T) {
	r := newRig(t)
	c := r.start("echo here")
	r.wait(c.ID)
	if err := r.Remove(t.Context(), c.ID, false); err != nil {
		t.Fatal(err)
	}
	r.Shut() // waits for what nobody else waits for
	if left := r.folders(); len(left) > 0 {
		t.Errorf("left in the folder of containers: %v", left)
	}
	r.Open()
}

// A daemon may be killed when a removal has done no more than set the folder aside.
func TestTheNextDaemonRemovesWhatWasSetAside(t *testing.T) {
	r := newRig(t)
	c := r.start("echo here")
	r.wait(c.ID)
	r.Shut()
	dir := filepath.Join(r.Data, "containers")
	if err := os.Rename(filepath.Join(dir, c.ID), filepath.Join(dir, ".removed-"+c.ID)); err != nil {
		t.Fatal(err)
	}
	r.Open()
	if left := r.folders(); len(left) > 0 {
		t.Errorf("left in the folder of containers: %v", left)
	}
}

// folders are those below that of all containers.
func (r *rig) folders() []string {
	r.t.Helper()
	found, err := filepath.Glob(filepath.Join(r.Data, "containers", "*")) // hidden ones, too
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}
