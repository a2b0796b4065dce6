// Command entries keeps what guests write: an append-only file of JSON lines in DATA_DIR. It is the only state of the
// guestbook, and safe to run twice at once for a while, as it does when a new version takes over.
package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"guestbook/internal/book"
	"guestbook/internal/serve"
)

func main() {
	dir := os.Getenv("DATA_DIR")
	if dir == "" {
		dir = "."
	}
	log, err := openLog(filepath.Join(dir, "entries.jsonl"))
	if err == nil {
		err = errors.Join(serve.Run(routes(log)), log.close())
	}
	if err != nil {
		slog.Error("entries ended", "error", err)
		os.Exit(1)
	}
}

func routes(log *log) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /entries", func(w http.ResponseWriter, r *http.Request) { list(w, log) })
	mux.HandleFunc("POST /entries", func(w http.ResponseWriter, r *http.Request) { add(w, r, log) })
	return mux
}

// shown is how many of the newest entries a page lists.
const shown = 50

func list(w http.ResponseWriter, log *log) {
	entries, err := log.newest(shown)
	if err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	answer(w, http.StatusOK, entries)
}

func add(w http.ResponseWriter, r *http.Request, log *log) {
	var draft book.Draft
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&draft); err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	draft, err := draft.Clean()
	if err != nil {
		fail(w, http.StatusUnprocessableEntity, err)
		return
	}
	entry := book.Entry{Draft: draft, At: time.Now().UTC()}
	if err := log.append(entry); err != nil {
		fail(w, http.StatusInternalServerError, err)
		return
	}
	answer(w, http.StatusCreated, entry)
}

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // a caller that went away hears nothing
}

func fail(w http.ResponseWriter, status int, err error) {
	if status >= http.StatusInternalServerError {
		slog.Error("request failed", "error", err)
	}
	http.Error(w, err.Error(), status)
}
