// Command naru-oci is naru's OCI runtime alone, to be named where a container engine takes the path of a runtime. It
// receives runc's command line, is the same as `naru oci`, and links nothing else: an engine starts it several times
// for each container, and pays for its size each time.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"naru/engine/keeper"
	"naru/engine/rootless"
	"naru/ociruntime/command"
)

// version is what the program was linked with (see Makefile).
var version = "unknown"

func main() {
	cmd := command.New(command.Options{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Version: version,
		Root: rootless.RunDir("/run/naru") + "/oci", Init: keeper.Executable})
	cmd.Use = "naru-oci"
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err := cmd.ExecuteContext(context.Background())
	var status command.Exit
	switch {
	case err == nil:
	case errors.As(err, &status):
		os.Exit(int(status))
	default:
		fmt.Fprintln(os.Stderr, "naru-oci:", err)
		os.Exit(1)
	}
}
