package main

import (
	"fmt"
	"io"
	"net"
	"time"
)

// stream sends one round's megabytes; the answer says that they have all arrived.
func (o *outside) stream(address string) error {
	conn, err := o.dial(address, streamPort)
	if err != nil {
		return err
	}
	defer conn.Close()
	piece := make([]byte, 1<<20)
	for range o.megabytes {
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
func (o *outside) connect(address string) error {
	return o.client.Do(func() error {
		for range o.connections {
			if err := o.greet(address); err != nil {
				return err
			}
		}
		return o.ctx.Err()
	})
}

func (o *outside) greeting(address string) error {
	return o.client.Do(func() error { return o.greet(address) })
}

// greet connects, hears the byte, and hangs up. The caller's thread is in the client's network.
func (o *outside) greet(address string) error {
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
