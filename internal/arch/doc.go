// Package arch holds the layout's import rules as a table and, in its tests, the check that the tree keeps them. It
// receives nothing at run time and hands nothing on: `go test ./internal/arch` is the whole of its use, and the place
// to read which folder may know which, and why.
package arch
