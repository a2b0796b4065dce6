package api

import "naru/delivery"

// Event is one line of the answer to a request that changes an app. The last line has Done, or Error.
type Event struct {
	delivery.Event
	Error *Error `json:"error,omitempty"`
}
