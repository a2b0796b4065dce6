package hint_test

import (
	"testing"

	"naru/internal/hint"
)

func TestManyChangesAreOneHintAndNobodyWaits(t *testing.T) {
	var w hint.Watchers
	changed, stop := w.Watch()
	for range 3 {
		w.Notify()
	}
	<-changed
	select {
	case <-changed:
		t.Fatal("a second hint for changes that the first one came after")
	default:
	}
	stop()
	w.Notify()
	select {
	case <-changed:
		t.Fatal("a hint after the watch ended")
	default:
	}
}
