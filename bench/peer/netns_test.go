package peer

import (
	"net"
	"os"
	"testing"
)

func TestNamespacesAreWired(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	a, b := newNetNS(t), newNetNS(t)
	if err := Wire(a, "toB", "10.9.8.1/30", b, "toA", "10.9.8.2/30"); err != nil {
		t.Fatal(err)
	}
	var l net.Listener
	if err := b.Do(func() (err error) { l, err = net.Listen("tcp", "10.9.8.2:0"); return err }); err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err := a.Do(func() error {
		c, err := net.Dial("tcp", l.Addr().String())
		if err == nil {
			c.Close()
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("it can be reached from outside of the namespaces")
	}
}

func newNetNS(t *testing.T) *NetNS {
	t.Helper()
	n, err := NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}
