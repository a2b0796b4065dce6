package cleanup_test

import (
	"slices"
	"testing"

	"naru/internal/cleanup"
)

func TestRunUndoesInReverseAndOnce(t *testing.T) {
	var got []int
	var s cleanup.Stack
	for i := range 3 {
		s.Add(func() { got = append(got, i) })
	}
	s.Run()
	s.Run()
	if want := []int{2, 1, 0}; !slices.Equal(got, want) {
		t.Fatalf("undone %v, want %v", got, want)
	}
}

func TestReleaseKeeps(t *testing.T) {
	var s cleanup.Stack
	s.Add(func() { t.Error("undone after Release") })
	s.Release()
	s.Run()
}
