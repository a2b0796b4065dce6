// Package rootless is naru in the hands of an ordinary user: the real programs, run by a user without any right on the
// machine, in a network of the test's own that stands for the world outside. root, who runs the tests, only makes that
// user and its world, and looks afterwards whether anything is left of it.
package rootless
