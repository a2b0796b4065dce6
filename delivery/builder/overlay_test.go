package builder

import (
	"slices"
	"testing"
)

func TestRelativeLayersAreFoundBesideTheUpper(t *testing.T) {
	got := absoluteLayers([]string{"rw", "workdir=/l/9/work", "upperdir=/l/9/fs", "lowerdir=2/fs:/abs/1/fs"})
	want := []string{"rw", "workdir=/l/9/work", "upperdir=/l/9/fs", "lowerdir=/l/2/fs:/abs/1/fs"}
	if !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
}
