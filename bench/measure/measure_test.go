package measure

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestAlternateTakesTurnsAndForgetsTheWarmUp(t *testing.T) {
	var order []string
	contestant := func(name string) Contestant {
		return Contestant{Name: name, Do: func() error { order = append(order, name); return nil }}
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
	_, err := Alternate(0, 5, Contestant{Name: "a", Do: func() error { return broken }})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want the contestant's error", err)
	}
}

func TestAClockOfOnesOwnIsBelieved(t *testing.T) {
	all, err := Alternate(0, 3, Contestant{Name: "a", Own: func() (time.Duration, error) { return 7, nil }})
	if err != nil || all[0].Median() != 7 {
		t.Errorf("%v, %+v, want 7 each round", err, all)
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

func TestTogetherCountsTheRoundsOfAll(t *testing.T) {
	var meeting sync.WaitGroup // until all have begun: it ends only when they run at once
	meeting.Add(3)
	var n atomic.Int32
	s, err := Together(3, 2, Contestant{Name: "a", Do: func() error {
		if n.Add(1) <= 3 {
			meeting.Done()
		}
		meeting.Wait()
		return nil
	}})
	if err != nil || len(s.Took) != 6 || s.Name != "a" {
		t.Errorf("%v, %+v, want six rounds", err, s)
	}
}

func TestTogetherFailsWithOneOfThem(t *testing.T) {
	broken := errors.New("broken")
	var n atomic.Int32
	_, err := Together(3, 2, Contestant{Name: "a", Do: func() error {
		if n.Add(1) == 2 {
			return broken
		}
		return nil
	}})
	if !errors.Is(err, broken) {
		t.Errorf("got %v, want the contestant's error", err)
	}
}

func TestSmallNumbersAreFractionsToo(t *testing.T) {
	for v, want := range map[float64]string{0.04: "0.0400 = 1/25.0", 0.95: "0.95", 3.14159: "3.14", 0: "0"} {
		if got := number(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}
