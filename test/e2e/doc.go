// Package e2e holds the tests that start the real program and check what it promises to people: each promise of the
// project is a test here, found by the name of what must hold. They know naru by its command line, what its router
// answers, and what the kernel holds; package testkit is how they do it.
package e2e
