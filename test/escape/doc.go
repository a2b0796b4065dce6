// Package escape holds what a hostile image would try: each test has one attack run inside a container that the real
// naru started, and fails when the attack succeeds. Where a peer is at hand the same attacks run under it, and all run
// as root on the host, where they must succeed: an attack that fails everywhere shows nothing. docs/isolation.md is
// the table that comes out, and go test ./test/escape -update writes it.
package escape
