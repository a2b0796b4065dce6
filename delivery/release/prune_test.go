package release_test

import (
	"fmt"
	"slices"
	"testing"

	"naru/naru"
)

// numbers are those of the releases there are, the oldest first.
func (b bench) numbers() (all []naru.ReleaseNumber) {
	b.Helper()
	list, err := b.List(b.Context(), shop)
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range slices.Backward(list) {
		all = append(all, r.Number)
	}
	return all
}

func (b bench) wantNumbers(want ...naru.ReleaseNumber) {
	b.Helper()
	if got := b.numbers(); !slices.Equal(got, want) {
		b.Errorf("there are the releases %v, want %v", got, want)
	}
}

func TestOldReleasesAreForgotten(t *testing.T) {
	b := open(t)
	for n := range 12 {
		b.mint(fmt.Sprint(n), naru.RolloutDone)
	}
	b.wantNumbers(3, 4, 5, 6, 7, 8, 9, 10, 11, 12)
	_, _, err := b.Rollback(t.Context(), shop, 1)
	b.wantCode(err, naru.NotFound, "no release v1")
}

func TestWhatServesAndWhatServedBeforeAreKept(t *testing.T) {
	b := open(t)
	b.mint("one", naru.RolloutDone)
	b.mint("two", naru.RolloutDone)
	for n := range 20 {
		b.mint(fmt.Sprint("bad", n), naru.RolloutFailed)
	}
	b.wantNumbers(1, 2, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22)
	r, rolling, err := b.Rollback(t.Context(), shop, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.want(r, rolling, 23, 0, true)
	if got := r.Services[0].ImageDigest; got != "sha256:one" {
		t.Errorf("rolled back to %s", got)
	}
}
