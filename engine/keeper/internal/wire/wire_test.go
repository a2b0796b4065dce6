package wire

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"naru/engine/sandbox/fork"
)

var spawnExample = Request{Version: Version, Op: Spawn, ID: "web/exec-1", Spawn: SpawnRequest{
	Args: []string{"init", ""}, Env: []string{"A=b"},
	Namespaces: unix.CLONE_NEWUSER | unix.CLONE_NEWPID, JoinFlags: unix.CLONE_NEWNET,
	UIDMap: []fork.IDMap{{ContainerID: 0, HostID: 100000, Size: 65536}}, GIDMap: []fork.IDMap{{ContainerID: 0, HostID: 7, Size: 1}},
	Setsid: true, HasExe: true, HasCgroup: true, Cgroups: 2, Files: []bool{false, true, true, true},
	LogDir: "/var/log/web", LogSize: 1 << 20, LogFiles: 2,
}}

var replyExample = Reply{
	Version: Version, Kind: Exists, Errno: unix.EEXIST, Text: "taken", PID: 42, Build: "abc", More: true, Names: []string{"tcp :80"},
	Children: []Child{
		{Sequence: 1, ID: "a", PID: 1, StartedAt: time.Unix(5, 6), Exited: true, Exit: Exit{Code: 137, Signal: 9, At: time.Unix(7, 8)}},
		{Sequence: 2, ID: "b", PID: 2, StartedAt: time.Unix(9, 0), Logging: true},
	},
}

func TestRequestsComeBack(t *testing.T) {
	for _, want := range []Request{
		spawnExample,
		{Version: Version, Op: List, After: 1 << 40},
		{Version: Version, Op: Wait, ID: "web"},
		{Version: Version, Op: SetTerminal, ID: "web"},
		{Version: Version, Op: Quit},
		{Version: 200, Op: Hello},
	} {
		got, err := DecodeRequest(want.Encode())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v\nbecame %+v, %v", want, got, err)
		}
	}
	if n := spawnExample.Spawn.Descriptors(); n != 7 {
		t.Errorf("%d descriptors", n)
	}
}

func TestRepliesComeBack(t *testing.T) {
	got, err := DecodeReply(replyExample.Encode())
	if err != nil || !reflect.DeepEqual(got, replyExample) {
		t.Errorf("%+v\nbecame %+v, %v", replyExample, got, err)
	}
}

// TestOtherVersionsAreToldApart: of a packet whose form is unknown, the head is enough.
func TestOtherVersionsAreToldApart(t *testing.T) {
	packet := []byte{Version + 1, byte(Spawn), 0xff, 0xff}
	if r, err := DecodeRequest(packet); err != nil || r.Version != Version+1 || r.Op != Spawn {
		t.Errorf("%+v, %v", r, err)
	}
	if r, err := DecodeReply(packet); err != nil || r.Version != Version+1 {
		t.Errorf("%+v, %v", r, err)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	f.Add(spawnExample.Encode())
	f.Add(Request{Version: Version, Op: Forget, ID: "x"}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeRequest(b)
		if err != nil || r.Version != Version || r.Op == Hello {
			return
		}
		again, err := DecodeRequest(r.Encode())
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Fatalf("%+v\nbecame %+v, %v", r, again, err)
		}
		_ = r.Spawn.Descriptors()
	})
}

func FuzzDecodeReply(f *testing.F) {
	f.Add(replyExample.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := DecodeReply(b)
		if err != nil || r.Version != Version {
			return
		}
		again, err := DecodeReply(r.Encode())
		if err != nil || !bytes.Equal(again.Encode(), r.Encode()) {
			t.Fatalf("%+v\nbecame %+v, %v", r, again, err)
		}
	})
}

func FuzzName(f *testing.F) {
	f.Add("web/exec-1")
	f.Add("..")
	f.Fuzz(func(t *testing.T, name string) {
		if CheckName(name) != nil {
			return
		}
		file := FileName(name)
		if Name(file) != name || file == "." || file == ".." || bytes.ContainsAny([]byte(file), "/\x00") {
			t.Fatalf("%q is in file %q", name, file)
		}
	})
}
