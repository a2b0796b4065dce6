// Package netdev moves network devices of the machine into another network namespace, and back. It receives their names,
// owns nothing, and hands on devices that are up and have the addresses that they had.
package netdev

import (
	"errors"
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Device is a network device to move.
type Device struct {
	Name   string // in the namespace of this process
	Inside string // in the other one; the kernel puts a number that is free in the place of %d
}

// Moved are devices that have been moved.
type Moved struct {
	here, there *place
	devices     []device
}

// device is a device that has been moved, and what it was before.
type device struct {
	name  string
	up    bool
	addrs []netlink.Addr
	index int // where it is now
}

// Move moves devices into the network namespace that a file is of. Each has its permanent addresses of global scope there,
// and is up. When it fails none has moved. What it returns wants to be closed.
func Move(devices []Device, namespace *os.File) (_ *Moved, err error) {
	here, err := openPlace("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	there, err := openPlace(fmt.Sprintf("/proc/self/fd/%d", namespace.Fd()))
	if err != nil {
		return nil, errors.Join(err, here.close())
	}
	m := &Moved{here: here, there: there}
	for _, d := range devices {
		if err := m.move(d); err != nil {
			return nil, errors.Join(fmt.Errorf("network device %s: %w", d.Name, err), m.Back(), m.Close())
		}
	}
	return m, nil
}

func (m *Moved) move(d Device) error {
	link, err := m.here.LinkByName(d.Name)
	if err != nil {
		return err
	}
	moved := device{name: d.Name, up: link.Attrs().Flags&unix.IFF_UP != 0}
	if moved.addrs, err = m.here.permanent(link); err != nil {
		return err
	}
	arrived, sendErr := m.here.send(link, m.there, d.Inside)
	if arrived == nil {
		return sendErr
	}
	moved.index = arrived.Attrs().Index
	m.devices = append(m.devices, moved)
	if sendErr != nil {
		return sendErr
	}
	if err := m.there.address(arrived, d.Name, moved.addrs); err != nil {
		return err
	}
	return m.there.LinkSetUp(arrived)
}

// Back takes the devices out again and makes each what it was. Of one that has gone it tells in the error.
func (m *Moved) Back() error {
	var errs []error
	for len(m.devices) > 0 {
		last := m.devices[len(m.devices)-1]
		m.devices = m.devices[:len(m.devices)-1]
		if err := m.back(last); err != nil {
			errs = append(errs, fmt.Errorf("give network device %s back: %w", last.name, err))
		}
	}
	return errors.Join(errs...)
}

func (m *Moved) back(d device) error {
	link, err := m.there.LinkByIndex(d.index)
	if err != nil {
		return err
	}
	arrived, err := m.there.send(link, m.here, d.name)
	if err != nil {
		return err
	}
	if err := m.here.address(arrived, d.name, d.addrs); err != nil {
		return err
	}
	if !d.up {
		return nil
	}
	return m.here.LinkSetUp(arrived)
}

// Close lets go of both namespaces; the devices stay where they are.
func (m *Moved) Close() error { return errors.Join(m.here.close(), m.there.close()) }
