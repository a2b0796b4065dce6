package ociruntime_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// ip runs iproute2's program on the machine.
func (l *lab) ip(args ...string) string {
	l.Helper()
	out, err := exec.CommandContext(l.ctx, "ip", args...).CombinedOutput()
	if err != nil {
		l.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// wire makes a pair of network devices, the first with addresses of every kind and up; they end with the test.
func (l *lab) wire() (one, other string) {
	l.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		l.Skip("needs iproute2:", err)
	}
	one, other = fmt.Sprintf("nda%d", os.Getpid()), fmt.Sprintf("ndb%d", os.Getpid())
	l.ip("link", "add", one, "mtu", "1400", "address", "02:00:00:00:07:01", "type", "veth", "peer", "name", other)
	l.Cleanup(func() { _ = exec.Command("ip", "link", "del", other).Run() /* most tests end it */ })
	for _, args := range []string{
		"addr add 10.213.7.1/24 label " + one + ":a dev " + one, "addr add 10.213.7.5/24 brd + dev " + one, "addr add 10.213.8.1/32 peer 10.213.8.2/32 dev " + one,
		"addr add 169.254.7.1/16 scope link dev " + one, "addr add 10.213.7.9/24 valid_lft 600 preferred_lft 600 dev " + one,
		"addr add 10.213.7.2/24 dev " + other, "link set " + one + " up", "link set " + other + " up",
	} {
		l.ip(strings.Fields(args)...)
	}
	if hasIPv6() {
		l.ip("addr", "add", "fd00:213:7::1/64", "nodad", "dev", one)
	}
	return one, other
}

func hasIPv6() bool {
	_, err := os.Stat("/proc/net/if_inet6")
	return err == nil
}

// described is what ip tells of a device that does not change with its namespace.
type described struct {
	MTU     int      `json:"mtu"`
	Address string   `json:"address"`
	Flags   []string `json:"flags"`
	Info    []struct {
		Local, Broadcast, Label string
		Address                 string // of the peer
		Prefixlen               int
	} `json:"addr_info"`
}

func describe(t *testing.T, output string) (d described) {
	t.Helper()
	var all []described
	if err := json.Unmarshal([]byte(output), &all); err != nil || len(all) != 1 {
		t.Fatalf("ip says %q: %v", output, err)
	}
	return all[0]
}

// addresses are all but those that the kernel gives a device by itself.
func (d described) addresses() string {
	var lines []string
	for _, a := range d.Info {
		if strings.HasPrefix(a.Local, "fe80:") {
			continue
		}
		lines = append(lines, fmt.Sprintf("%s peer=%s /%d broadcast=%s label=%s", a.Local, a.Address, a.Prefixlen, a.Broadcast, a.Label))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// config-linux.md, Network Devices: they "MUST be made available in the container", under the name that is asked for, and
// with their attributes, "all permanent IP addresses of any family with global scope"; "MUST set the network device state to
// up". When the namespace ends, so does a virtual device: the runtime takes none out.
func TestNetDevices(t *testing.T) {
	for _, userns := range []bool{false, true} {
		l := newLab(t)
		one, other := l.wire()
		if userns {
			l.inUserNamespace([]specs.LinuxIDMapping{{ContainerID: 0, HostID: 300000, Size: 1000}})
		}
		l.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{one: {Name: "wire7"}}
		l.sh("exec sleep 1000")
		l.create("net")
		l.must(l.runtime.Start(l.ctx, id("net")))
		s, err := l.runtime.State(id("net"))
		l.must(err)
		d := describe(t, l.inNetwork(s.PID, "-json", "addr", "show", "dev", "wire7"))
		if d.MTU != 1400 || d.Address != "02:00:00:00:07:01" || !slices.Contains(d.Flags, "UP") {
			t.Errorf("mtu %d, address %s, flags %v", d.MTU, d.Address, d.Flags)
		}
		want := "10.213.7.1 peer= /24 broadcast= label=wire7:a\n10.213.7.5 peer= /24 broadcast=10.213.7.255 label=wire7\n" +
			"10.213.8.1 peer=10.213.8.2 /32 broadcast= label=wire7"
		if hasIPv6() {
			want += "\nfd00:213:7::1 peer= /64 broadcast= label="
		}
		if got := d.addresses(); got != want {
			t.Errorf("addresses:\n%s\nwant:\n%s", got, want)
		}
		if out, err := exec.CommandContext(l.ctx, "nsenter", "-n", "-t", fmt.Sprint(s.PID), "busybox", "ping", "-c", "1", "-W", "5", "10.213.7.2").CombinedOutput(); err != nil {
			t.Errorf("nothing comes through: %v: %s", err, out)
		}
		l.stop("net")
		l.must(l.runtime.Delete(l.ctx, id("net"), false))
		l.waitFor("the device ends with its namespace", func() bool {
			_, err := os.Stat("/sys/class/net/" + other)
			return err != nil
		})
	}
}

// inNetwork runs iproute2's program in the network namespace of a process. It has its path, since busybox's nsenter would
// run busybox's.
func (l *lab) inNetwork(pid int, args ...string) string {
	l.Helper()
	ip, err := exec.LookPath("ip")
	l.must(err)
	out, err := exec.CommandContext(l.ctx, "nsenter", append([]string{"-n", "-t", fmt.Sprint(pid), ip}, args...)...).Output()
	l.must(err)
	return string(out)
}

// config-linux.md, Network Devices: "If a network device with the specified name already exists in the container namespace,
// the runtime MUST generate an error, unless the user has provided a template by appending %d"; then "the kernel will
// generate a unique name". The machine's name of a device may be taken in the container.
func TestNetDevicesAndTheirNames(t *testing.T) {
	l := newLab(t)
	one, other := l.wire()
	l.sh("exec sleep 1000")
	l.create("first")
	s, err := l.runtime.State(id("first"))
	l.must(err)
	l.inNetwork(s.PID, "link", "add", one, "type", "veth", "peer", "name", "eth0") // as an orchestrator does
	for i := range l.spec.Linux.Namespaces {
		if ns := &l.spec.Linux.Namespaces[i]; ns.Type == specs.NetworkNamespace {
			ns.Path = fmt.Sprintf("/proc/%d/ns/net", s.PID)
		}
	}
	before := describe(t, l.ip("-json", "addr", "show", "dev", one))
	for _, name := range []string{"", "eth0"} {
		l.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{other: {Name: "free"}, one: {Name: name}}
		l.wantError(l.runtime.Create(l.ctx, l.options("x")), "linux.netDevices: network device "+one+": there is a device")
	}
	if after := describe(t, l.ip("-json", "addr", "show", "dev", one)); after.addresses() != before.addresses() {
		t.Errorf("a device that did not move has now\n%s\nand had\n%s", after.addresses(), before.addresses())
	}
	l.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{one: {Name: "eth%d"}, other: {Name: "eth%d"}}
	l.create("second")
	if names := l.inNetwork(s.PID, "-brief", "link"); !strings.Contains(names, "eth1@eth2") || !strings.Contains(names, "eth2@eth1") {
		t.Errorf("the container has\n%s", names)
	}
	l.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"nothing7": {}}
	l.wantError(l.runtime.Create(l.ctx, l.options("x")), "linux.netDevices: network device nothing7: Link not found")
	for name, device := range map[string]specs.LinuxNetDevice{"a/b": {}, "a b": {}, "a%d": {}, "": {}, "fine": {Name: "sixteen-letters!"}, "lo": {Name: "%d%d"}} {
		l.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{name: device}
		l.wantError(l.runtime.Create(l.ctx, l.options("x")), "no names that Linux takes")
	}
	l.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{"a": {Name: "c"}, "b": {Name: "c"}}
	l.wantError(l.runtime.Create(l.ctx, l.options("x")), "two devices that are to be \"c\"")
	l.spec.Linux.Namespaces = slices.DeleteFunc(l.spec.Linux.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.NetworkNamespace })
	l.wantError(l.runtime.Create(l.ctx, l.options("x")), "linux.netDevices needs a network namespace")
}

// A container that cannot be made leaves the machine its network devices as they were: those that have moved already come
// back under their names, with their addresses, up or down.
func TestNetDevicesComeBackFromACreateThatFails(t *testing.T) {
	l := newLab(t)
	one, other := l.wire()
	l.ip("link", "set", other, "down")
	describeBoth := func() string {
		a, b := describe(t, l.ip("-json", "addr", "show", "dev", one)), describe(t, l.ip("-json", "addr", "show", "dev", other))
		return fmt.Sprintln(a.addresses(), slices.Contains(a.Flags, "UP"), b.addresses(), slices.Contains(b.Flags, "UP"))
	}
	l.ip("addr", "del", "10.213.7.9/24", "dev", one)
	l.ip("addr", "del", "169.254.7.1/16", "dev", one)
	before := describeBoth()
	l.spec.Linux.NetDevices = map[string]specs.LinuxNetDevice{one: {Name: "a"}, other: {Name: "b"}}
	seen := filepath.Join(t.TempDir(), "seen")
	ip, err := exec.LookPath("ip")
	l.must(err)
	l.spec.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sh", Env: []string{"PATH=/bin:/sbin:/usr/bin:/usr/sbin"},
		Args: []string{"sh", "-c", "nsenter -n -t $(grep -o '\"pid\":[0-9]*' | cut -d: -f2) " + ip + " -brief link >" + seen + "; exit 7"}}}}
	l.wantError(l.runtime.Create(l.ctx, l.options("x")), "exit status 7")
	if b, err := os.ReadFile(seen); err != nil || !strings.Contains(string(b), "a@b") {
		t.Errorf("the hook saw no devices: %v: %s", err, b)
	}
	if after := describeBoth(); after != before {
		t.Errorf("before\n%safter\n%s", before, after)
	}
}
