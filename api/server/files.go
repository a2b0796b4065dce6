package server

import (
	"context"
	"io"
	"net/http"

	"naru/api"
	"naru/naru"
)

// Files are those of containers, running or not.
type Files interface {
	StatFile(ctx context.Context, idOrName, path string) (api.FileInfo, error)
	// CopyOut writes a file or folder as a tar stream, under its own name.
	CopyOut(ctx context.Context, idOrName, path string, w io.Writer) error
	// Export writes the root filesystem as a tar stream, without what is mounted there.
	Export(ctx context.Context, idOrName string, w io.Writer) error
	// Changes lists what differs from the image.
	Changes(ctx context.Context, idOrName string) ([]api.FileChange, error)
	// CopyIn makes the files of a tar stream in a folder.
	CopyIn(ctx context.Context, idOrName, folder string, r io.Reader, keepOwners bool) error
}

func (s *Server) statFile(w http.ResponseWriter, r *http.Request) error {
	info, err := s.cfg.Files.StatFile(r.Context(), r.PathValue("id"), r.URL.Query().Get("path"))
	if err != nil {
		return err
	}
	return reply(w, info)
}

func (s *Server) copyOut(w http.ResponseWriter, r *http.Request) error {
	return sendTar(w, func(out io.Writer) error {
		return s.cfg.Files.CopyOut(r.Context(), r.PathValue("id"), r.URL.Query().Get("path"), out)
	})
}

func (s *Server) exportContainer(w http.ResponseWriter, r *http.Request) error {
	return sendTar(w, func(out io.Writer) error { return s.cfg.Files.Export(r.Context(), r.PathValue("id"), out) })
}

func (s *Server) containerChanges(w http.ResponseWriter, r *http.Request) error {
	changes, err := s.cfg.Files.Changes(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return list(w, changes)
}

func (s *Server) copyIn(w http.ResponseWriter, r *http.Request) error {
	if err := wantsTar(r); err != nil {
		return err
	}
	keep, err := queryBool(r, "owners")
	if err != nil {
		return err
	}
	if err := s.cfg.Files.CopyIn(r.Context(), r.PathValue("id"), r.URL.Query().Get("path"), r.Body, keep); err != nil {
		return err
	}
	return noContent(w)
}

func wantsTar(r *http.Request) error {
	if r.Header.Get("Content-Type") != api.TypeTar {
		return naru.Errorf(naru.InvalidArgument, "a body of type %s is wanted", api.TypeTar)
	}
	return nil
}

// sendTar answers with what write writes. An error before the first byte is an answer with its status; a later one
// breaks the connection off, so that half a stream is not taken for a whole one.
func sendTar(w http.ResponseWriter, write func(io.Writer) error) error {
	out := &lateHeader{w: w}
	err := write(out)
	if err != nil && out.begun {
		panic(http.ErrAbortHandler)
	}
	return err
}

// lateHeader sends the answer's header with the first byte of its body.
type lateHeader struct {
	w     http.ResponseWriter
	begun bool
}

func (l *lateHeader) Write(p []byte) (int, error) {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", api.TypeTar)
	}
	return l.w.Write(p)
}
