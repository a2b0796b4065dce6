// Command hello is the smallest program that proves it ran: what benchmarks of container start run.
package main

import "os"

func main() {
	if _, err := os.Stdout.WriteString("hello\n"); err != nil {
		os.Exit(1)
	}
}
