// Command lines prints lines for a benchmark of logs: `lines COUNT BURST PAUSE` prints COUNT lines of 100 bytes, each with
// a write of its own, and rests for PAUSE after every BURST of them. It begins when it gets SIGUSR1, and when all are
// printed it calls itself "done", which /proc/PID/comm shows, and stays.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

func main() {
	begin := make(chan os.Signal, 1)
	signal.Notify(begin, syscall.SIGUSR1)
	if err := run(os.Args[1:], begin); err != nil {
		fmt.Fprintln(os.Stderr, "lines:", err)
		os.Exit(1)
	}
	<-begin
}

func run(args []string, begin <-chan os.Signal) error {
	var numbers [2]int
	for i := range numbers {
		var err error
		if numbers[i], err = strconv.Atoi(args[i]); err != nil {
			return err
		}
	}
	pause, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	line := append(bytes.Repeat([]byte("l"), 99), '\n')
	if err := os.WriteFile("/proc/self/comm", []byte("ready"), 0); err != nil {
		return err
	}
	<-begin
	for n := range numbers[0] {
		if _, err := os.Stdout.Write(line); err != nil {
			return err
		}
		if (n+1)%numbers[1] == 0 && pause > 0 {
			time.Sleep(pause)
		}
	}
	return os.WriteFile("/proc/self/comm", []byte("done"), 0)
}
