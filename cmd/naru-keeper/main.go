// Command naru-keeper receives its role from its first argument: started as "init" it is the first process of a
// container, which sets up the container's inside and then becomes the user's process, or stays as its reaper;
// otherwise it is the keeper, which owns what must outlive the daemon. Both are one small static executable, embedded
// in naru, because a container starts as fast as this starts.
package main

import (
	"os"

	"naru/engine/keeper/server"
	"naru/engine/sandbox/inside"
	"naru/engine/sandbox/program"
)

func main() {
	switch os.Args[0] {
	case program.InitName, program.ReapName:
		inside.Main()
	default:
		os.Exit(server.Main(os.Args))
	}
}
