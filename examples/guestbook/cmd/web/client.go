package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"guestbook/internal/book"
)

// client speaks to the service that keeps the entries. It makes a connection for each request: an instance that is
// replaced closes its idle ones, and a new entry that met the close would be lost.
type client struct {
	url  string
	http *http.Client
}

func newClient(url string) client {
	return client{url, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
}

// patience is how long a page waits for the book, and pause how long until it tries again to reach it.
const (
	patience = 5 * time.Second
	pause    = 50 * time.Millisecond
)

func (c client) list(ctx context.Context) ([]book.Entry, error) {
	var entries []book.Entry
	err := c.do(ctx, http.MethodGet, nil, http.StatusOK, &entries)
	return entries, err
}

func (c client) add(ctx context.Context, d book.Draft) error {
	return c.do(ctx, http.MethodPost, d, http.StatusCreated, nil)
}

func (c client) do(ctx context.Context, method string, in any, want int, out any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("%s entries: %w", method, err)
	}
	response, err := c.reach(ctx, method, body)
	if err != nil {
		return err // it says method and URL
	}
	defer response.Body.Close()
	if response.StatusCode != want {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 512))
		return fmt.Errorf("%s entries: %s: %s", method, response.Status, bytes.TrimSpace(text))
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(response.Body).Decode(out); err != nil {
		return fmt.Errorf("%s entries: read the answer: %w", method, err)
	}
	return nil
}

// reach sends a request. When there is no connection, nothing was said, and it tries again while ctx lasts.
func (c client) reach(ctx context.Context, method string, body []byte) (*http.Response, error) {
	for {
		request, err := http.NewRequestWithContext(ctx, method, c.url+"/entries", bytes.NewReader(body))
		if err != nil {
			return nil, fmt.Errorf("%s entries: %w", method, err)
		}
		response, err := c.http.Do(request)
		var op *net.OpError
		if err == nil || !errors.As(err, &op) || op.Op != "dial" {
			return response, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(pause):
		}
	}
}
