package server

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"naru/api"
	"naru/naru"
)

// maxBody bounds a JSON request. App specs are the largest; a thousand services fit.
const maxBody = 4 << 20

// decode reads the request's body, which must be one JSON value with no field that T lacks.
func decode[T any](w http.ResponseWriter, r *http.Request) (T, error) {
	var v T
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, bodyError(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return v, naru.Errorf(naru.InvalidArgument, "request body: something follows the JSON value")
	}
	return v, nil
}

func bodyError(err error) error {
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &big):
		return naru.Errorf(naru.InvalidArgument, "request body: longer than %d bytes", big.Limit)
	case errors.Is(err, io.EOF):
		return naru.Errorf(naru.InvalidArgument, "request body: empty, a JSON value is wanted")
	}
	return naru.Errorf(naru.InvalidArgument, "request body: %s", strings.TrimPrefix(err.Error(), "json: "))
}

func reply(w http.ResponseWriter, v any) error {
	writeJSON(w, http.StatusOK, v)
	return nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", api.TypeJSON)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // only fails when the client is gone
}

// list replies with items as a JSON array, never null.
func list[T any](w http.ResponseWriter, items []T) error {
	if items == nil {
		items = []T{}
	}
	return reply(w, items)
}

// lines answers with JSON values, one a line, each sent at once.
type lines struct {
	mu  sync.Mutex
	w   http.ResponseWriter
	enc *json.Encoder
}

func newLines(w http.ResponseWriter) *lines {
	w.Header().Set("Content-Type", api.TypeLines)
	return &lines{w: w, enc: json.NewEncoder(w)}
}

// send writes one line. A client that is gone shows in the request's context, so there is no error to act on.
func (l *lines) send(v any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.enc.Encode(v) == nil {
		l.flush()
	}
}

func (l *lines) flush() { _ = http.NewResponseController(l.w).Flush() } // as send: the context tells

// appEnv reads {app} and ?environment=.
func appEnv(r *http.Request) (naru.AppEnv, error) {
	ae := naru.AppEnv{App: naru.AppName(r.PathValue("app")), Environment: naru.Production}
	if e := r.URL.Query().Get("environment"); e != "" {
		ae.Environment = naru.EnvironmentName(e)
	}
	return ae, ae.Validate()
}

// logOptions reads the query of a logs request.
func logOptions(r *http.Request) (api.LogOptions, error) {
	q := r.URL.Query()
	o := api.LogOptions{Service: naru.ServiceName(q.Get("service")), Tail: -1}
	var err error
	if o.Follow, err = queryBool(r, "follow"); err != nil {
		return o, err
	}
	if v := q.Get("tail"); v != "" {
		if o.Tail, err = strconv.Atoi(v); err != nil {
			return o, naru.Errorf(naru.InvalidArgument, "tail=%q is not a number", v)
		}
	}
	if o.Since, err = queryTime(r, "since"); err != nil {
		return o, err
	}
	o.Until, err = queryTime(r, "until")
	return o, err
}

// queryTime is zero when nothing is said.
func queryTime(r *http.Request, name string) (time.Time, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil {
		return t, naru.Errorf(naru.InvalidArgument, "%s=%q is not a time as RFC 3339 writes it", name, v)
	}
	return t, nil
}

func queryBool(r *http.Request, name string) (bool, error) {
	v := r.URL.Query().Get(name)
	if v == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, naru.Errorf(naru.InvalidArgument, "%s=%q is neither true nor false", name, v)
	}
	return b, nil
}
