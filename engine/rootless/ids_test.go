package rootless

import (
	"reflect"
	"strings"
	"testing"

	"naru/engine/sandbox/fork"
)

func TestSubordinateRanges(t *testing.T) {
	const file = "# comment\nanna:100000:65536\nbert:200000:10\n31001:300000:5\nanna:400000:7\n"
	got, err := parseSubordinate(strings.NewReader(file), []string{"31001", "anna"})
	want := []idRange{{100000, 65536}, {300000, 5}, {400000, 7}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	maps := []fork.IDMap{{ContainerID: 0, HostID: 31001, Size: 1}, {ContainerID: 1, HostID: 100000, Size: 65536},
		{ContainerID: 65537, HostID: 300000, Size: 5}, {ContainerID: 65542, HostID: 400000, Size: 7}}
	if got := mapOwn(31001, want); !reflect.DeepEqual(got, maps) {
		t.Errorf("maps %v, want %v", got, maps)
	}
	for _, bad := range []string{"anna:x:1", "anna:1:-1", "anna:1:0", "anna:4294967295:1", "anna:1:4294967295"} {
		if _, err := parseSubordinate(strings.NewReader(bad), []string{"anna"}); err == nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestIDsWithinTheNamespace(t *testing.T) {
	own := []fork.IDMap{{ContainerID: 0, HostID: 1000, Size: 1}, {ContainerID: 1, HostID: 100000, Size: 10}, {ContainerID: 11, HostID: 100010, Size: 5}}
	ids := func(triples ...int) (maps []fork.IDMap) {
		for i := 0; i < len(triples); i += 3 {
			maps = append(maps, fork.IDMap{ContainerID: triples[i], HostID: triples[i+1], Size: triples[i+2]})
		}
		return maps
	}
	for _, c := range []struct {
		name       string
		maps, want []fork.IDMap
	}{
		{"the own id", ids(0, 1000, 1), ids(0, 0, 1)},
		{"a range across two", ids(5, 100008, 4), ids(5, 9, 2, 7, 11, 2)},
		{"somebody else's", ids(0, 0, 1), nil},
		{"beyond the end", ids(0, 100014, 2), nil},
	} {
		got, err := Within(own, c.maps)
		if (err != nil) != (c.want == nil) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %v, %v, want %v", c.name, got, err, c.want)
		}
	}
}

// FuzzSubordinate: whatever stands in /etc/subuid, what is read of it can be written as a map.
func FuzzSubordinate(f *testing.F) {
	f.Add("anna:100000:65536\nbert:1:1\nanna:5:5\n")
	f.Add("anna:4294967294:1\nanna::\n:::\n")
	f.Fuzz(func(t *testing.T, file string) {
		ranges, err := parseSubordinate(strings.NewReader(file), []string{"anna"})
		if err != nil {
			return
		}
		if len(ranges) > maxRanges {
			t.Fatalf("%d ranges", len(ranges))
		}
		next := 0
		for _, m := range mapOwn(1000, ranges) {
			if m.ContainerID != next || m.Size < 1 || m.HostID < 0 || m.HostID+m.Size-1 > maxID || m.ContainerID+m.Size-1 > maxID {
				t.Fatalf("map %+v after %d", m, next)
			}
			next += m.Size
		}
	})
}
