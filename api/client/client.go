// Package client is the asking side of the API: it finds the daemon (a unix socket, or an address that NARU_HOST
// names), sends requests and hands the answers on as package api's and package naru's values. It owns a connection for
// as long as a call takes and keeps nothing.
package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"

	"naru/api"
	"naru/naru"
)

// Client asks one daemon.
type Client struct {
	network, address string
	http             *http.Client
}

// New makes a client for a host: unix:///path, http://host:port, or a bare /path of a socket.
func New(host string) (*Client, error) {
	network, address, err := parseHost(host)
	if err != nil {
		return nil, err
	}
	c := &Client{network: network, address: address}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
		DisableKeepAlives: true, // a CLI asks once or twice and ends
	}}
	return c, nil
}

func parseHost(host string) (network, address string, err error) {
	if strings.HasPrefix(host, "/") {
		return "unix", host, nil
	}
	u, err := url.Parse(host)
	if err == nil {
		switch {
		case u.Scheme == "unix" && u.Host == "" && strings.HasPrefix(u.Path, "/"):
			return "unix", u.Path, nil
		case u.Scheme == "http" && u.Port() != "" && strings.Trim(u.Path, "/") == "":
			return "tcp", u.Host, nil
		}
	}
	return "", "", naru.Errorf(naru.InvalidArgument, "host %q: use unix:///path/of/naru.sock or http://host:port", host)
}

// Unreachable is the error of a call that no daemon answered; its code is Unavailable.
type Unreachable struct{ err error }

// Error says why, and what to do.
func (u *Unreachable) Error() string { return u.err.Error() }

// Unwrap returns the cause.
func (u *Unreachable) Unwrap() error { return u.err }

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, c.network, c.address)
	if err == nil || ctx.Err() != nil {
		return conn, err
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, &Unreachable{naru.Errorf(naru.PermissionDenied, "you may not talk to the naru daemon at %s: use sudo, or join the group that owns the socket", c.address)}
	}
	return nil, &Unreachable{naru.Errorf(naru.Unavailable, "no naru daemon answers at %s: start it with `naru server` as root, or name another with --host or NARU_HOST (%w)", c.address, cause(err))}
}

// cause is what the kernel said, without the address that the message names already.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// request makes one; a body is JSON unless it is a reader.
func request(ctx context.Context, method, path string, query url.Values, body any) (*http.Request, error) {
	u := url.URL{Scheme: "http", Host: "naru", Path: path, RawQuery: query.Encode()}
	content, kind, err := encode(body)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), content)
	if err != nil {
		return nil, fmt.Errorf("make a request: %w", err)
	}
	r.Header.Set(api.VersionHeader, api.Version)
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	return r, nil
}

func encode(body any) (io.Reader, string, error) {
	switch b := body.(type) {
	case nil:
		return nil, "", nil
	case io.Reader:
		return b, api.TypeTar, nil
	}
	b, err := json.Marshal(body)
	if err != nil {
		return nil, "", fmt.Errorf("encode a request: %w", err)
	}
	return bytes.NewReader(b), api.TypeJSON, nil
}

// do sends a request and returns the answer, whose body the caller closes, or the error that the daemon answered.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	r, err := request(ctx, method, path, query, body)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, plain(err)
	}
	if resp.StatusCode/100 != 2 {
		return nil, answeredError(resp)
	}
	return resp, nil
}

// plain takes off what http.Client puts around an error: a method and a URL that the user never wrote.
func plain(err error) error {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var u *Unreachable
	if errors.As(err, &u) {
		return u
	}
	return lost(err)
}

// lost makes a broken connection an error that says what broke.
func lost(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return naru.Errorf(naru.Unavailable, "the naru daemon went away in the middle of an answer: %w", err)
}

// maxErrorBody bounds what is read of an answer that should be an api.Error.
const maxErrorBody = 1 << 20

func answeredError(resp *http.Response) error {
	defer func() { _ = resp.Body.Close() }() // only read from
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		return lost(err)
	}
	var e api.Error
	if json.Unmarshal(b, &e) != nil || e.Message == "" {
		return naru.Errorf(api.CodeOfStatus(resp.StatusCode), "the daemon answered %s, which is not naru's API: is something else listening there?", resp.Status)
	}
	return &e
}

// call sends a request and decodes its answer.
func call[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any) (v T, err error) {
	resp, err := c.do(ctx, method, path, query, body)
	if err != nil {
		return v, err
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	if err := json.NewDecoder(resp.Body).Decode(&v); err != nil {
		return v, lost(err)
	}
	return v, nil
}

// send sends a request whose answer has no body.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, body any) error {
	resp, err := c.do(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// each sends a request and calls f for every JSON line of the answer, until f returns an error.
func each[T any](ctx context.Context, c *Client, method, path string, query url.Values, body any, f func(T) error) error {
	resp, err := c.do(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	for d := json.NewDecoder(bufio.NewReader(resp.Body)); ; {
		var v T
		switch err := d.Decode(&v); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return lost(err)
		}
		if err := f(v); err != nil {
			return err
		}
	}
}
