// Command sink is what benchmarks of the network talk to: on port 7001 it swallows a stream and says one byte at its end,
// on port 7002 it says one byte to whoever connects.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
)

func main() {
	failed := make(chan error)
	go func() { failed <- serve(":7001", swallow) }()
	go func() { failed <- serve(":7002", greet) }()
	fmt.Fprintln(os.Stderr, "sink:", <-failed)
	os.Exit(1)
}

func serve(address string, talk func(*net.TCPConn)) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			talk(conn.(*net.TCPConn))
		}()
	}
}

// greet says its byte; a client that has gone does not hear it.
func greet(conn *net.TCPConn) { _, _ = conn.Write([]byte{'\n'}) }

func swallow(conn *net.TCPConn) {
	buf := make([]byte, 256<<10)
	for {
		if _, err := conn.Read(buf); err == io.EOF {
			greet(conn)
			return
		} else if err != nil {
			return // the client misses the byte
		}
	}
}
