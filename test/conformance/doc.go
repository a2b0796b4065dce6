// Package conformance runs the validation programs of opencontainers/runtime-tools with naru's OCI runtime and with
// Debian's runc, side by side, and holds naru to whatever runc passes. It is a module of its own, so that what the
// programs import is no requirement of naru's: they are built for the test, from the module proxy.
package conformance
