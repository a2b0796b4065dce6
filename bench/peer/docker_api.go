package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
)

// unixClient sends HTTP requests over a socket.
func unixClient(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
}

// call sends one request to dockerd and decodes its answer, unless answer is nil.
func (d *Docker) call(ctx context.Context, method, path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := d.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() // only read from
	if text, err = io.ReadAll(response.Body); err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("dockerd answered %s %s with %s: %s", method, path, response.Status, text)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}

// Start starts a container by two requests to the API, which is what docker run sends, and returns its id when it runs.
func (d *Docker) Start(ctx context.Context, spec Spec) (string, error) {
	type binding struct{ HostPort string }
	exposed, bound := map[string]struct{}{}, map[string][]binding{}
	for _, port := range spec.Ports {
		name := fmt.Sprintf("%d/tcp", port)
		exposed[name], bound[name] = struct{}{}, []binding{{strconv.Itoa(int(port))}}
	}
	var made struct{ ID string }
	err := d.call(ctx, http.MethodPost, "/containers/create", map[string]any{"Image": spec.Image, "Cmd": spec.Command,
		"ExposedPorts": exposed, "HostConfig": map[string]any{"PortBindings": bound}}, &made)
	if err != nil {
		return "", err
	}
	return made.ID, d.call(ctx, http.MethodPost, "/containers/"+made.ID+"/start", nil, nil)
}

// Remove removes a container by a request to the API, whether it runs or not.
func (d *Docker) Remove(ctx context.Context, id string) error {
	return d.call(ctx, http.MethodDelete, "/containers/"+id+"?force=1&v=1", nil, nil)
}

// Processes are the first processes of all containers that run.
func (d *Docker) Processes(ctx context.Context) ([]int, error) {
	ids, err := d.ids(ctx, false)
	if err != nil {
		return nil, err
	}
	pids := make([]int, len(ids))
	for i, id := range ids {
		var c struct{ State struct{ Pid int } }
		if err := d.call(ctx, http.MethodGet, "/containers/"+id+"/json", nil, &c); err != nil {
			return nil, err
		}
		pids[i] = c.State.Pid
	}
	return pids, nil
}

// ids are those of what runs, or of all containers.
func (d *Docker) ids(ctx context.Context, all bool) ([]string, error) {
	var containers []struct{ ID string }
	err := d.call(ctx, http.MethodGet, fmt.Sprintf("/containers/json?all=%t", all), nil, &containers)
	ids := make([]string, len(containers))
	for i, c := range containers {
		ids[i] = c.ID
	}
	return ids, err
}
