// Package inside is what runs in a container before the user's program does.
package inside

// Main reads the sandbox's program from descriptor 3, executes it, and becomes the user's process. It does not return.
func Main() { panic("not yet") }
