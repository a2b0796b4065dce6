// Command naru-keeper receives one of two roles from its first argument: as "init" it is the first process of a
// container, which sets up the container's inside and then becomes the user's process; otherwise it is the keeper,
// which owns what must outlive the daemon. Both are one small static executable, embedded in naru, because a
// container starts as fast as this starts.
package main

import (
	"os"

	"naru/engine/keeper/server"
)

func main() {
	os.Exit(server.Main(os.Args))
}
