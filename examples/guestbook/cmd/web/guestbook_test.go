package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"guestbook/internal/book"
)

// TestSign writes in a book and reads it back, in a page that keeps what guests write from being markup.
func TestSign(t *testing.T) {
	var kept []book.Entry
	entries := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			var e book.Entry
			if err := json.NewDecoder(r.Body).Decode(&e.Draft); err != nil {
				t.Error(err)
			}
			kept = append(kept, e)
			w.WriteHeader(http.StatusCreated)
			return
		}
		_ = json.NewEncoder(w).Encode(kept)
	}))
	defer entries.Close()
	web := httptest.NewServer(newGuestbook(entries.URL, "here").routes())
	defer web.Close()

	for text, status := range map[string]int{"<script>hello</script>": 200, "  ": 422, strings.Repeat("x", 281): 422} {
		resp, err := http.PostForm(web.URL, url.Values{"name": {"<b>"}, "text": {text}})
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != status {
			t.Errorf("%.30q: %s, want %d", text, resp.Status, status)
		}
	}
	resp, err := http.Get(web.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(page), "&lt;script&gt;hello") || strings.Contains(string(page), "<script>") || strings.Contains(string(page), "<b><") {
		t.Errorf("page: %v\n%s", err, page)
	}
	if h := resp.Header; h.Get("X-Guestbook-Version") != version || h.Get("X-Guestbook-Instance") != "here" {
		t.Errorf("header %v", h)
	}
}

func TestAgo(t *testing.T) {
	now := time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)
	for before, want := range map[time.Duration]string{
		time.Second: "just now", 61 * time.Second: "1 min ago", 59 * time.Minute: "59 min ago",
		2 * time.Hour: "4 May, 10:00", 365 * 24 * time.Hour: "4 May 2025",
	} {
		if got := ago(now, now.Add(-before)); got != want {
			t.Errorf("%s before: %q, want %q", before, got, want)
		}
	}
}
