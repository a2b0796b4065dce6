package ociruntime

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"naru/engine/netdev"
	"naru/naru"
)

// lent are the network devices that a container which is being made gets.
type lent struct {
	devices []netdev.Device
	moved   *netdev.Moved
}

// lend takes the network devices to move out of a configuration: the sandbox knows of none.
func lend(s *specs.Spec) (*lent, *specs.Spec, error) {
	devices, err := planDevices(s.Linux)
	if err != nil || len(devices) == 0 {
		return &lent{}, s, err
	}
	rest, linux := *s, *s.Linux
	linux.NetDevices, rest.Linux = nil, &linux
	return &lent{devices: devices}, &rest, nil
}

// planDevices sorts devices by name, which is the order they move in.
func planDevices(l *specs.Linux) (devices []netdev.Device, err error) {
	inside := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(l.NetDevices)) {
		d := netdev.Device{Name: name, Inside: l.NetDevices[name].Name}
		if d.Inside == "" {
			d.Inside = name
		}
		template := strings.HasSuffix(d.Inside, "%d")
		switch {
		case !slices.ContainsFunc(l.Namespaces, func(ns specs.LinuxNamespace) bool { return ns.Type == specs.NetworkNamespace }):
			return nil, naru.Errorf(naru.InvalidArgument, "spec field linux.netDevices needs a network namespace")
		case !isDeviceName(name) || !isDeviceName(strings.TrimSuffix(d.Inside, "%d")) && d.Inside != "%d" || len(d.Inside) >= unix.IFNAMSIZ:
			return nil, naru.Errorf(naru.InvalidArgument, "spec field linux.netDevices: %q to be %q: no names that Linux takes", name, d.Inside)
		case inside[d.Inside] && !template:
			return nil, naru.Errorf(naru.InvalidArgument, "spec field linux.netDevices has two devices that are to be %q", d.Inside)
		}
		inside[d.Inside] = true
		devices = append(devices, d)
	}
	return devices, nil
}

// isDeviceName is the kernel's rule; % it would read as a template.
func isDeviceName(s string) bool {
	return s != "" && s != "." && s != ".." && len(s) < unix.IFNAMSIZ && !strings.ContainsAny(s, "/:% \t\n\v\f\r\x00")
}

// move gives the devices to the container whose first process is pid.
func (l *lent) move(pid int) error {
	if len(l.devices) == 0 {
		return nil
	}
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return fmt.Errorf("open the network namespace: %w", err)
	}
	defer namespace.Close()
	if l.moved, err = netdev.Move(l.devices, namespace); err != nil {
		return naru.Errorf(naru.FailedPrecondition, "spec field linux.netDevices: %w", err)
	}
	return nil
}

// settle leaves the devices to a container that is made, and takes them back from one that is not. From then on they are
// the kernel's: when the namespace ends, those of hardware are the machine's again, and virtual ones end with it.
func (l *lent) settle(made bool) error {
	if l.moved == nil {
		return nil
	}
	if made {
		return l.moved.Close()
	}
	return errors.Join(l.moved.Back(), l.moved.Close())
}
