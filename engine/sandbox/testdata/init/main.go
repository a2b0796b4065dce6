// Command init is the smallest program that can be a container's init: what the keeper is too, under this name.
package main

import "naru/engine/sandbox/inside"

func main() { inside.Main() }
