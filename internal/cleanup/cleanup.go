// Package cleanup lets undo stand on the line after do: push the undoing of each step as it is taken, run the stack
// when a later step fails, and release it when all of them succeeded.
package cleanup

// Stack is a stack of undo functions; the zero value is empty.
//
//	var undo cleanup.Stack
//	defer undo.Run()
//	… do …
//	undo.Add(func() { … undo … })
//	…
//	undo.Release()
type Stack struct{ undo []func() }

// Add pushes the undoing of a step that has just been taken.
func (s *Stack) Add(undo func()) { s.undo = append(s.undo, undo) }

// Run undoes the steps, the last one first, and empties the stack.
func (s *Stack) Run() {
	for len(s.undo) > 0 {
		last := s.undo[len(s.undo)-1]
		s.undo = s.undo[:len(s.undo)-1]
		last()
	}
}

// Release keeps the steps: Run does nothing afterwards.
func (s *Stack) Release() { s.undo = nil }
