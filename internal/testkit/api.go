package testkit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"naru/naru"
)

// API asks the daemon without a process for each question, as programs do that ask many. It may be used by many
// goroutines, and none of its methods ends the test: the daemon may be killed under them.
type API struct{ client *http.Client }

// API returns a client of the daemon's socket, whichever daemon listens there when it is asked.
func (d *Daemon) API() API {
	socket := filepath.Join(d.Run, "naru.sock")
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return API{&http.Client{Timeout: callTimeout, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Refusal is an answer of the daemon that says no. Any other error of a call means that the daemon did not answer: what
// was asked may have been done or not.
type Refusal struct {
	Status  int
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (r *Refusal) Error() string { return fmt.Sprintf("%s (%d %s)", r.Message, r.Status, r.Code) }

// Refused returns the daemon's own answer when err is one.
func Refused(err error) (*Refusal, bool) {
	var r *Refusal
	return r, errors.As(err, &r)
}

// Call sends in, unless it is nil, and reads the answer into out, unless that is nil.
func (a API) Call(ctx context.Context, method, path string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://naru"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if in == nil {
		request.Body, request.ContentLength = nil, 0
	}
	response, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	if response.StatusCode >= 400 {
		refusal := &Refusal{Status: response.StatusCode}
		if err := json.Unmarshal(answer, refusal); err != nil {
			refusal.Message = string(answer)
		}
		return fmt.Errorf("%s %s: %w", method, path, refusal)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s %s: %w in %q", method, path, err, answer)
	}
	return nil
}

func ask[T any](ctx context.Context, a API, method, path string, in any) (T, error) {
	var answer T
	err := a.Call(ctx, method, path, in, &answer)
	return answer, err
}

// ContainerSpec is what a test asks of a container.
type ContainerSpec struct {
	Name       string               `json:"name,omitempty"`
	Image      string               `json:"image"`
	Command    []string             `json:"command,omitempty"`
	Network    string               `json:"network,omitempty"`
	Ports      []naru.PublishedPort `json:"ports,omitempty"`
	Limits     naru.Limits          `json:"limits,omitzero"`
	StopGrace  time.Duration        `json:"stop_grace,omitempty"`
	AutoRemove bool                 `json:"auto_remove,omitempty"`
	Restart    string               `json:"restart,omitempty"` // as docker's
}

// RunContainer creates and starts a container.
func (a API) RunContainer(ctx context.Context, spec ContainerSpec) (Container, error) {
	return ask[Container](ctx, a, http.MethodPost, "/v1/containers/run", map[string]any{"spec": spec})
}

// Container asks for one.
func (a API) Container(ctx context.Context, idOrName string) (Container, error) {
	return ask[Container](ctx, a, http.MethodGet, "/v1/containers/"+idOrName, nil)
}

// Containers asks for all, running or not.
func (a API) Containers(ctx context.Context) ([]Container, error) {
	return ask[[]Container](ctx, a, http.MethodGet, "/v1/containers?all=true", nil)
}

// StopContainer ends the container's process with its stop signal.
func (a API) StopContainer(ctx context.Context, idOrName string) error {
	return a.Call(ctx, http.MethodPost, "/v1/containers/"+idOrName+"/stop", nil, nil)
}

// RemoveContainer deletes the container, by force when it runs.
func (a API) RemoveContainer(ctx context.Context, idOrName string, force bool) error {
	return a.Call(ctx, http.MethodDelete, fmt.Sprintf("/v1/containers/%s?force=%t", idOrName, force), nil, nil)
}
