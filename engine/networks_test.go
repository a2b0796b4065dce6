package engine_test

import (
	"testing"

	"naru/engine"
	"naru/naru"
)

func TestOnlyANetworkThatIsThereAndIdleIsRemoved(t *testing.T) {
	r := newRig(t)
	c, err := r.Create(t.Context(), engine.ContainerSpec{Image: "busybox", Command: []string{"true"}, Network: "used"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"used", "idle"} {
		if _, err := r.EnsureNetwork(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]naru.Code{
		"nothing": naru.NotFound, engine.DefaultNetwork: naru.FailedPrecondition, "used": naru.FailedPrecondition,
	} {
		if err := r.RemoveNetwork(t.Context(), name); naru.CodeOf(err) != want {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	if err := r.RemoveNetwork(t.Context(), "idle"); err != nil {
		t.Error(err)
	}
	if _, err := r.Network("idle"); naru.CodeOf(err) != naru.NotFound {
		t.Errorf("it is still there: %v", err)
	}
	if err := r.Remove(t.Context(), c.ID, false); err != nil {
		t.Fatal(err)
	}
}
