// Command web shows the guestbook. It keeps nothing: it reads and writes entries through the service at ENTRIES_URL.
package main

import (
	_ "embed"
	"html/template"
	"log/slog"
	"net/http"
	"os"

	"guestbook/internal/serve"
)

//go:embed page.html
var pageHTML string

func main() {
	url := os.Getenv("ENTRIES_URL")
	if url == "" {
		url = "http://entries:8080"
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	if err := serve.Run(newGuestbook(url, host).routes()); err != nil {
		slog.Error("web ended", "error", err)
		os.Exit(1)
	}
}

func newGuestbook(entriesURL, instance string) *guestbook {
	return &guestbook{
		entries:  newClient(entriesURL),
		page:     template.Must(template.New("page").Funcs(helpers).Parse(pageHTML)),
		instance: instance,
	}
}

func (g *guestbook) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", g.show)
	mux.HandleFunc("POST /{$}", g.write)
	return g.signed(mux)
}

// signed names in every answer the version and the instance that gave it.
func (g *guestbook) signed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Guestbook-Version", version)
		w.Header().Set("X-Guestbook-Instance", g.instance)
		next.ServeHTTP(w, r)
	})
}
