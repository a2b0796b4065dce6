package measure

import (
	"os"
	"slices"
	"testing"
	"time"
)

func TestOverheadIsTheEngineWithoutItsContainers(t *testing.T) {
	all := map[int]process{
		10: {parent: 2}, 11: {parent: 10}, // the daemon and a helper
		20: {parent: 1},                    // what holds a container
		30: {parent: 20}, 31: {parent: 30}, // the container's
		40: {parent: 20}, // not the container's
		99: {parent: 1},  // somebody else's
	}
	got, err := overhead(all, 10, []int{30})
	if want := []int{10, 11, 20, 40}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

func TestContainersOfNobodyAreRefused(t *testing.T) {
	all := map[int]process{10: {parent: 2}, 30: {parent: 1}}
	for _, pid := range []int{30, 31} {
		if got, err := overhead(all, 10, []int{pid}); err == nil {
			t.Errorf("%d: %v: it counts the whole machine, or nothing", pid, got)
		}
	}
}

func TestStatWithANameThatLooksLikeOne(t *testing.T) {
	got, err := parseStat([]byte("7 (a) S 9 (b) S 3 7 7 0 -1 4194560 100 0 0 0 11 22 0 0 20 0 1 0"))
	if want := (process{parent: 3, cpu: 330 * time.Millisecond}); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	if _, err := parseStat([]byte("7 (a) S")); err == nil {
		t.Error("half a line is no error")
	}
}

func TestOwnMemoryAndTime(t *testing.T) {
	me := []int{os.Getpid()}
	if memory, err := PSS(me); err != nil || memory < 1<<20 {
		t.Errorf("%d bytes, %v: less than a Go program has", memory, err)
	}
	if _, err := CPU(me); err != nil {
		t.Error(err)
	}
}
