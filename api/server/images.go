package server

import (
	"context"
	"io"
	"net/http"

	"naru/api"
	"naru/naru"
)

// Images are the engine's.
type Images interface {
	List(ctx context.Context) ([]api.Image, error)
	Get(ctx context.Context, nameOrDigest string) (api.Image, error)
	// Pull fetches an image from its registry.
	Pull(ctx context.Context, name string) (api.Image, error)
	// Tag gives an image one more name, and takes that from any that has it.
	Tag(ctx context.Context, nameOrDigest, name string) error
	Import(ctx context.Context, archive io.Reader, name string) ([]api.Image, error)
	Remove(ctx context.Context, nameOrDigest string) error
}

func (s *Server) listImages(w http.ResponseWriter, r *http.Request) error {
	images, err := s.cfg.Images.List(r.Context())
	if err != nil {
		return err
	}
	return list(w, images)
}

func (s *Server) getImage(w http.ResponseWriter, r *http.Request) error {
	image, err := s.cfg.Images.Get(r.Context(), r.PathValue("name"))
	if err != nil {
		return err
	}
	return reply(w, image)
}

func (s *Server) pullImage(w http.ResponseWriter, r *http.Request) error {
	name := r.URL.Query().Get("name")
	if name == "" {
		return naru.Errorf(naru.InvalidArgument, "pull wants the name of an image: ?name=")
	}
	image, err := s.cfg.Images.Pull(r.Context(), name)
	if err != nil {
		return err
	}
	return reply(w, image)
}

func (s *Server) tagImage(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	if err := s.cfg.Images.Tag(r.Context(), q.Get("image"), q.Get("name")); err != nil {
		return err
	}
	return noContent(w)
}

func (s *Server) removeImage(w http.ResponseWriter, r *http.Request) error {
	if err := s.cfg.Images.Remove(r.Context(), r.PathValue("name")); err != nil {
		return err
	}
	return noContent(w)
}

// importImage reads the archive from the body, which is as long as an image is: the disk bounds it, not this.
func (s *Server) importImage(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Content-Type") != api.TypeTar {
		return naru.Errorf(naru.InvalidArgument, "import wants a body of type %s", api.TypeTar)
	}
	images, err := s.cfg.Images.Import(r.Context(), r.Body, r.URL.Query().Get("name"))
	if err != nil {
		return err
	}
	return list(w, images)
}
