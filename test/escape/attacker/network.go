package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const dialTimeout = time.Second

// dials tries to connect to each address; unix ones beginning with @ are abstract.
func dials(network string) attack {
	return func(args []string) finding {
		var last error
		for _, address := range args {
			conn, err := net.DialTimeout(network, address, dialTimeout)
			if err == nil {
				conn.Close()
				return saw(escaped, "connected to %s", address)
			}
			last = err
		}
		return saw(held, "%v", last)
	}
}

// gateway tries ports of the host by the address that it has on our network.
func gateway(args []string) finding {
	ip, _, err := defaultRoute()
	if err != nil {
		return saw(held, "no way to the host: %v", err)
	}
	var addresses []string
	for _, port := range args {
		addresses = append(addresses, net.JoinHostPort(ip.String(), port))
	}
	return dials("tcp")(addresses)
}

// defaultRoute reads who our gateway is, and by which interface.
func defaultRoute() (gateway netip.Addr, dev string, err error) {
	text, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return gateway, "", err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[1] != "00000000" {
			continue
		}
		raw, err := hex.DecodeString(f[2])
		if err != nil || len(raw) != 4 {
			return gateway, "", fmt.Errorf("route %q", line)
		}
		return netip.AddrFrom4([4]byte{raw[3], raw[2], raw[1], raw[0]}), f[0], nil
	}
	return gateway, "", fmt.Errorf("no default route")
}

// frames sends datagrams that no socket would send: made by hand, to the host's network card on our network, for each
// address in args, from our own address and from 127.0.0.1. Whether one arrived is for the host to say.
func frames(args []string) finding {
	gw, name, err := defaultRoute()
	if err != nil {
		return saw(held, "no way to the host: %v", err)
	}
	dev, err := net.InterfaceByName(name)
	if err != nil {
		return saw(untried, "%v", err)
	}
	to, err := hardwareOf(gw)
	if err != nil {
		return saw(untried, "%v", err)
	}
	from, err := ownAddr(dev)
	if err != nil {
		return saw(untried, "%v", err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, 0)
	if err != nil {
		return called("raw socket", err)
	}
	sent := 0
	for _, arg := range args {
		dest, err := netip.ParseAddrPort(arg)
		if err != nil {
			return saw(untried, "%v", err)
		}
		for _, src := range []netip.Addr{from, netip.MustParseAddr("127.0.0.1")} {
			frame := datagram(dev.HardwareAddr, to, src, dest)
			if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: dev.Index, Halen: 6, Addr: [8]byte(append(to, 0, 0))}); err != nil {
				return called("send of a raw frame", err)
			}
			sent++
		}
	}
	return saw(held, "sent %d frames; the host knows whether one arrived", sent)
}

func ownAddr(dev *net.Interface) (netip.Addr, error) {
	addrs, err := dev.Addrs()
	if err != nil || len(addrs) == 0 {
		return netip.Addr{}, fmt.Errorf("%s has no address: %w", dev.Name, err)
	}
	p, err := netip.ParsePrefix(addrs[0].String())
	return p.Addr(), err
}

// hardwareOf makes the kernel ask for the gateway's hardware address, and reads what it learnt.
func hardwareOf(ip netip.Addr) (net.HardwareAddr, error) {
	conn, err := net.Dial("udp", net.JoinHostPort(ip.String(), "9"))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	for deadline := time.Now().Add(dialTimeout); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		_, _ = conn.Write([]byte{0}) // refused, which is an answer too
		text, err := os.ReadFile("/proc/net/arp")
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 3 && f[0] == ip.String() && f[3] != "00:00:00:00:00:00" {
				return net.ParseMAC(f[3])
			}
		}
	}
	return nil, fmt.Errorf("%s does not say its hardware address", ip)
}

// datagram is a whole UDP packet in its Ethernet frame, with the text "frame".
func datagram(from, to net.HardwareAddr, src netip.Addr, dest netip.AddrPort) []byte {
	body := []byte("frame")
	var b bytes.Buffer
	b.Write(to)
	b.Write(from)
	b.Write([]byte{8, 0})
	ip := []byte{0x45, 0, 0, byte(28 + len(body)), 0, 1, 0, 0, 64, 17, 0, 0}
	ip = append(append(ip, src.AsSlice()...), dest.Addr().AsSlice()...)
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	b.Write(ip)
	udp := binary.BigEndian.AppendUint16(nil, 4444)
	udp = binary.BigEndian.AppendUint16(udp, dest.Port())
	udp = binary.BigEndian.AppendUint16(udp, uint16(8+len(body)))
	b.Write(append(udp, 0, 0)) // without a checksum, which UDP allows
	b.Write(body)
	return b.Bytes()
}

func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// serve is a victim: a service on every address of its container. args[0] is the port.
func serve(args []string) finding {
	l, err := net.Listen("tcp", ":"+args[0])
	if err != nil {
		return saw(untried, "%v", err)
	}
	fmt.Println("serving")
	for {
		conn, err := l.Accept()
		if err != nil {
			return saw(held, "%v", err)
		}
		_, _ = io.WriteString(conn, "hello\n") // a caller that has left hears nothing
		conn.Close()
	}
}

// hold does nothing for args[0] seconds.
func hold(args []string) finding {
	n, _ := strconv.Atoi(args[0])
	fmt.Println("holding")
	time.Sleep(time.Duration(n) * time.Second)
	return saw(held, "did nothing for %d s", n)
}
