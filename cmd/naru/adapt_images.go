//go:build !front

package main

import (
	"context"
	"io"
	"maps"
	"slices"

	"naru/api"
	"naru/engine/image"
)

// images is the image store as the API shows it.
type images struct{ s *image.Store }

// List implements server.Images; the configs are left out.
func (a images) List(ctx context.Context) ([]api.Image, error) {
	list, err := a.s.List(ctx)
	return apiImages(list), err
}

// Get implements server.Images.
func (a images) Get(ctx context.Context, nameOrDigest string) (api.Image, error) {
	img, err := a.s.Get(ctx, nameOrDigest)
	out := apiImage(img)
	out.Config = &api.ImageConfig{
		Entrypoint: img.Config.Entrypoint, Command: img.Config.Cmd, Env: img.Config.Env, User: img.Config.User,
		WorkingDir: img.Config.WorkingDir, StopSignal: img.Config.StopSignal,
		ExposedPorts: slices.Sorted(maps.Keys(img.Config.ExposedPorts)),
		Volumes:      slices.Sorted(maps.Keys(img.Config.Volumes)),
	}
	return out, err
}

// Pull implements server.Images.
func (a images) Pull(ctx context.Context, name string) (api.Image, error) {
	img, err := a.s.Pull(ctx, name)
	return apiImage(img), err
}

// Tag implements server.Images.
func (a images) Tag(ctx context.Context, nameOrDigest, name string) error {
	img, err := a.s.Get(ctx, nameOrDigest)
	if err != nil {
		return err
	}
	return a.s.Tag(ctx, img.Digest, name)
}

// Import implements server.Images.
func (a images) Import(ctx context.Context, archive io.Reader, name string) ([]api.Image, error) {
	list, err := a.s.Import(ctx, archive, name)
	return apiImages(list), err
}

// Remove implements server.Images.
func (a images) Remove(ctx context.Context, nameOrDigest string) error {
	return a.s.Remove(ctx, nameOrDigest)
}

func apiImages(list []image.Image) []api.Image {
	out := make([]api.Image, len(list))
	for i, img := range list {
		out[i] = apiImage(img)
	}
	return out
}

func apiImage(img image.Image) api.Image {
	return api.Image{Digest: img.Digest, Names: img.Names, Size: img.Size, CreatedAt: img.CreatedAt}
}
