package measure

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestAlternateTakesTurnsAndForgetsTheWarmUp(t *testing.T) {
	var order []string
	contestant := func(name string) Contestant {
		return Contestant{name, func() error { order = append(order, name); return nil }}
	}
	all, err := Alternate(1, 2, contestant("a"), contestant("b"))
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Fields("a b a b a b"); !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
	if len(all) != 2 || len(all[0].Took) != 2 || all[1].Name != "b" {
		t.Errorf("series %+v, want two of two rounds", all)
	}
}

func TestAFailedRoundEndsTheRun(t *testing.T) {
	broken := errors.New("broken")
	_, err := Alternate(0, 5, Contestant{"a", func() error { return broken }})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want the contestant's error", err)
	}
}

func TestMedian(t *testing.T) {
	if got := (Series{Took: []time.Duration{1, 2, 9}}).Median(); got != 2 {
		t.Errorf("median of three: %d, want 2", got)
	}
	if got := (Series{Took: []time.Duration{1, 2, 4, 9}}).Median(); got != 3 {
		t.Errorf("median of four: %d, want 3", got)
	}
}
