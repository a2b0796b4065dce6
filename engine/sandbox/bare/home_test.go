package bare

import (
	"strconv"
	"strings"
	"testing"
	"unsafe"
)

// homeIn is what findHome does with a whole file, in plain Go.
func homeIn(passwd string, uid int) string {
	for line := range strings.Lines(passwd) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) == passwdFields && f[passwdUID] == strconv.Itoa(uid) && strings.HasPrefix(f[passwdHome], "/") &&
			!strings.Contains(f[passwdHome], "\x00") && len(home)+len(f[passwdHome]) < 4096 {
			return f[passwdHome]
		}
	}
	return "/"
}

// FuzzHome: /etc/passwd is the image's, and may hold anything; it is read in pieces.
func FuzzHome(f *testing.F) {
	for _, passwd := range []string{
		"root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n", "x:x:7:7::/a:/b", "x:x:7:7:/a:/b", "x:x:07:7::/a:/b\ny:x:7:7::/c:\n",
		"x:x:7:7::a:/b\nx:x:7:7::/second:/b\n", ":::::::\n", "x:x:7:7::/" + strings.Repeat("a", 5000) + ":\nx:x:7:7::/b:/\n", "x:x:7:7::/a\x00b:/\n", "\n\n", "",
		"x:x:99999999999999999999:7::/a:/b\n", "x:x::7::/a:/b\n",
	} {
		f.Add(passwd, uint32(7), uint8(3))
		f.Add(passwd, uint32(1000), uint8(255))
	}
	f.Fuzz(func(t *testing.T, passwd string, uid uint32, piece uint8) {
		m := New(-1, -1, 0, 0, 0)
		l := passwdLine{uid: uint64(uid)}
		rest := passwd + "\n"
		for found := false; rest != "" && !found; {
			n := copy(m.walk[:min(len(m.walk), int(piece)+1)], rest)
			found = m.readPasswd(&l, n)
			rest = rest[n:]
		}
		got := "/"
		if l.found {
			got = cString(m.linkFrom(len(home)), m)
		}
		if want := homeIn(passwd, int(uid)); got != want {
			t.Errorf("%q, user %d: %q, want %q", passwd, uid, got, want)
		}
	})
}

// cString reads what stands in link from there on.
func cString(at uintptr, m *Machine) string {
	from := m.link[at-uintptr(unsafe.Pointer(&m.link)):]
	s, _, _ := strings.Cut(string(from), "\x00")
	return s
}
