package api

import (
	"errors"
	"net/http"

	"naru/naru"
)

// Error is an error as it travels: the body of every answer that is not 2xx, and the end of a stream that failed.
type Error struct {
	Code     naru.Code `json:"code"`
	Message  string    `json:"message"`
	ExitCode int       `json:"exit_code,omitempty"` // what the process's own exit status would have been: 126 or 127
}

// Error returns the message.
func (e *Error) Error() string { return e.Message }

// Unwrap gives the error its code back, so that naru.CodeOf sees on both sides of the socket the same.
func (e *Error) Unwrap() error { return &naru.Error{Code: e.Code, Err: errors.New(e.Message)} }

// ToError translates err for the wire; nil stays nil.
func ToError(err error) *Error {
	if err == nil {
		return nil
	}
	out := &Error{Code: naru.CodeOf(err), Message: err.Error()}
	var exit interface{ ExitCode() int }
	var travelled *Error
	switch {
	case errors.As(err, &travelled):
		out.ExitCode = travelled.ExitCode
	case errors.As(err, &exit):
		out.ExitCode = exit.ExitCode()
	}
	return out
}

// Err is the error, or nil without the trap of an interface that holds a nil pointer.
func (e *Error) Err() error {
	if e == nil {
		return nil
	}
	return e
}

// statuses is the one place where codes and HTTP statuses meet; every code has a status of its own, so that the way
// back is as sure as the way there.
var statuses = map[naru.Code]int{
	naru.InvalidArgument:    http.StatusBadRequest,
	naru.PermissionDenied:   http.StatusForbidden,
	naru.NotFound:           http.StatusNotFound,
	naru.Conflict:           http.StatusConflict,
	naru.FailedPrecondition: http.StatusPreconditionFailed,
	naru.Failed:             http.StatusUnprocessableEntity,
	naru.Internal:           http.StatusInternalServerError,
	naru.Unimplemented:      http.StatusNotImplemented,
	naru.Unavailable:        http.StatusServiceUnavailable,
}

// Status is the HTTP status for a code; an unknown code is Internal's.
func Status(code naru.Code) int {
	if s, ok := statuses[code]; ok {
		return s
	}
	return http.StatusInternalServerError
}

// CodeOfStatus is the code for an HTTP status, for answers that carry no Error of their own.
func CodeOfStatus(status int) naru.Code {
	for code, s := range statuses {
		if s == status {
			return code
		}
	}
	return naru.Internal
}
