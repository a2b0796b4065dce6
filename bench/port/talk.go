package main

import (
	"fmt"
	"io"
	"net"
	"time"
)

// stream sends one round's megabytes; the answer says that they have all arrived.
func (l *lab) stream(address string) error {
	conn, err := l.dial(address, streamPort)
	if err != nil {
		return err
	}
	defer conn.Close()
	piece := make([]byte, 1<<20)
	for range l.megabytes {
		if _, err := conn.Write(piece); err != nil {
			return err
		}
	}
	if err := conn.CloseWrite(); err != nil {
		return err
	}
	return answered(conn)
}

// connect makes one round's connections, all from one thread: entering the client's network is not what is measured.
func (l *lab) connect(address string) error {
	return l.client.Do(func() error {
		for range l.connections {
			if err := l.greet(address); err != nil {
				return err
			}
		}
		return l.ctx.Err()
	})
}

func (l *lab) greeting(address string) error {
	return l.client.Do(func() error { return l.greet(address) })
}

// greet connects, hears the byte, and hangs up. The caller's thread is in the client's network.
func (l *lab) greet(address string) error {
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", address, greetingPort), patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	return answered(conn)
}

// answered reads the sink's one byte.
func answered(conn net.Conn) error {
	_, err := io.ReadFull(conn, make([]byte, 1))
	return err
}
