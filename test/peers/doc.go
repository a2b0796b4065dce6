// Package peers holds the tests in which other people's container engines, as Debian ships them, run containers with
// naru's OCI runtime: what they must get is what they get from runc. `make deps` unpacks them, nothing is installed.
package peers
