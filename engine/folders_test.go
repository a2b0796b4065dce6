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
