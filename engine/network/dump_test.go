package network

import (
	"errors"
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestDumpAsksAgainOnlyWhenTheListChanged(t *testing.T) {
	asked := 0
	got, err := dump(func() (int, error) {
		if asked++; asked < 3 {
			return 0, fmt.Errorf("list: %w", netlink.ErrDumpInterrupted)
		}
		return asked, nil
	})
	if got != 3 || err != nil {
		t.Fatalf("%d, %v", got, err)
	}
	boom, asked := errors.New("boom"), 0
	if _, err := dump(func() (int, error) { asked++; return 0, boom }); !errors.Is(err, boom) || asked != 1 {
		t.Fatalf("%v after %d tries", err, asked)
	}
}
