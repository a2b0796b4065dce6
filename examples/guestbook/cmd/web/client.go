package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"guestbook/internal/book"
)

// client speaks to the service that keeps the entries.
type client struct{ url string }

// patience is how long a page waits for the book.
const patience = 5 * time.Second

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
	request, err := http.NewRequestWithContext(ctx, method, c.url+"/entries", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s entries: %w", method, err)
	}
	response, err := http.DefaultClient.Do(request)
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
