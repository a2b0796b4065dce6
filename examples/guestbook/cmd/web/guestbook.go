package main

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"guestbook/internal/book"
)

// guestbook answers with the page.
type guestbook struct {
	entries  client
	page     *template.Template
	instance string
}

// view is what the page shows.
type view struct {
	Entries           []book.Entry
	Draft             book.Draft
	Problem           string
	Version, Instance string
	MaxName, MaxText  int
	Now               time.Time
}

func (g *guestbook) show(w http.ResponseWriter, r *http.Request) {
	g.render(w, r, http.StatusOK, book.Draft{}, "")
}

// write keeps what the form sent and goes back to the list, so that a reload does not send it again.
func (g *guestbook) write(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<16)
	draft, err := book.Draft{Name: r.PostFormValue("name"), Text: r.PostFormValue("text")}.Clean()
	if err != nil {
		g.render(w, r, http.StatusUnprocessableEntity, draft, sentence(err))
		return
	}
	if err := g.entries.add(r.Context(), draft); err != nil {
		slog.Error("add entry", "error", err)
		g.render(w, r, http.StatusBadGateway, draft, "The book cannot be written in just now. Your words are still here: try again.")
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (g *guestbook) render(w http.ResponseWriter, r *http.Request, status int, draft book.Draft, problem string) {
	entries, err := g.entries.list(r.Context())
	if err != nil {
		slog.Error("list entries", "error", err)
		if status == http.StatusOK {
			status, problem = http.StatusBadGateway, "The book cannot be read just now."
		}
	}
	v := view{entries, draft, problem, version, g.instance, book.MaxName, book.MaxText, time.Now()}
	var out bytes.Buffer // whole before the first byte goes out, so that a failure is not half a page
	if err := g.page.Execute(&out, v); err != nil {
		slog.Error("render page", "error", err)
		http.Error(w, "the page cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // a guest who left needs no page
}

// helpers are the functions of the page.
var helpers = template.FuncMap{"initial": initial, "hue": hue, "ago": ago}

// initial is the letter in a guest's circle.
func initial(name string) string {
	r, _ := utf8.DecodeRuneInString(name)
	return strings.ToUpper(string(r))
}

// hue is the colour of a guest's circle: the same name has the same.
func hue(name string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // never fails
	return int(h.Sum32() % 360)
}

func ago(now, then time.Time) string {
	switch d := now.Sub(then); {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case now.Year() == then.Year():
		return then.Format("2 January, 15:04")
	default:
		return then.Format("2 January 2006")
	}
}

// sentence makes an error's words one.
func sentence(err error) string {
	s := err.Error()
	return strings.ToUpper(s[:1]) + s[1:] + "."
}
