// Command lookup is lookup.c with Go's resolver.
package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
)

func main() {
	family, name := os.Args[1], os.Args[2]
	if err := lookup(family, name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func lookup(family, name string) error {
	r := net.Resolver{PreferGo: true}
	if family == "name" {
		names, err := r.LookupAddr(context.Background(), name)
		if err == nil {
			fmt.Println(strings.TrimSuffix(names[0], "."))
		}
		return err
	}
	addrs, err := r.LookupNetIP(context.Background(), family, name)
	for _, a := range addrs {
		fmt.Println(a.Unmap())
	}
	return err
}
