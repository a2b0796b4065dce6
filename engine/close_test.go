package engine_test

import (
	"runtime"
	"strings"
	"testing"
)

// TestCloseEndsWhatAdoptBegan: a daemon whose later parts fail to open leaves nobody behind who watches containers.
func TestCloseEndsWhatAdoptBegan(t *testing.T) {
	r := newRig(t)
	r.start(forever)
	r.Shut()
	run := r.OpenIdle()
	if !strings.Contains(goroutines(), "engine.(*Engine)") {
		t.Fatal("nobody watches the container, so that nobody is to be ended")
	}
	r.Close(t.Context())
	if all := goroutines(); strings.Contains(all, "engine.(*Engine)") {
		t.Errorf("still there:\n%s", all)
	}
	run()
	r.Shut()
	r.Open()
}

func goroutines() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}
