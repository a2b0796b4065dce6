package naru

import (
	"errors"
	"fmt"
)

// Code says what kind of failure an error is. It is given once, where the failure is first understood, and translated
// once, at the edge: to an HTTP status by the API and to an exit code by the CLI.
type Code string

// The codes, with what each asks of the user.
const (
	InvalidArgument    Code = "invalid_argument"    // what was sent is wrong: change it
	NotFound           Code = "not_found"           // the thing named does not exist: name another
	Conflict           Code = "conflict"            // it exists already, or something else holds it
	FailedPrecondition Code = "failed_precondition" // right request, wrong moment: something must happen first
	Failed             Code = "failed"              // the user's code or container failed: its output says why
	Unavailable        Code = "unavailable"         // the daemon or a part of it cannot be reached: try again
	PermissionDenied   Code = "permission_denied"   // needs rights that the caller lacks
	Unimplemented      Code = "unimplemented"       // naru does not do this: the message says what to do instead
	Internal           Code = "internal"            // a defect of naru or a broken machine
)

// Error is an error with a code. Its message is whole: it names the place and the cure.
type Error struct {
	Code Code
	Err  error
}

// Error returns the message without the code, which is for programs.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error that the code was given to.
func (e *Error) Unwrap() error { return e.Err }

// Errorf is fmt.Errorf with a code.
func Errorf(code Code, format string, args ...any) error {
	return &Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// CodeOf finds the outermost code in err's chain: Internal when there is none, and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}
