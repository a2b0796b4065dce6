package ociruntime

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestResizeCarriesTheSizeAndLeavesTheFilesAsTheyAre(t *testing.T) {
	var s consoleSession
	for _, master := range []**os.File{&s.ours, &s.master} {
		f, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		*master = f
	}
	want := unix.Winsize{Row: 12, Col: 34}
	if err := borrow(s.ours, func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &want) }); err != nil {
		t.Fatal(err)
	}
	s.resize()
	for name, f := range map[string]*os.File{"ours": s.ours, "the process's": s.master} {
		err := borrow(f, func(fd int) error {
			if size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ); err != nil || *size != want {
				t.Errorf("%s: size %v, %v", name, size, err)
			}
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			if flags&unix.O_NONBLOCK == 0 {
				t.Errorf("%s: the file blocks now", name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
