// Package testkit is what end-to-end tests are written with: it starts the real naru program as a daemon of the
// test's own, drives it through its command line, puts load on its router, and afterwards asks the kernel, never naru,
// whether anything was left behind. It knows naru only by what a user can see.
package testkit
