// Command naru is the command line, a verb a file, and the daemon (naru server). The verbs receive what people type,
// ask the daemon through api/client and print what comes back; server.go and wire.go join every other package into the
// daemon. This is the only package that knows all others, and it decides nothing that they could.
package main

import (
	"context"
	"os"
)

func main() {
	c := &cli{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv}
	os.Exit(c.main(context.Background(), os.Args[1:]))
}
