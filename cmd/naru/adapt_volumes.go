//go:build !front

package main

import (
	"context"
	"io"
	"strings"

	"naru/api"
	"naru/delivery/release"
	"naru/engine"
	"naru/naru"
)

// volumes are the engine's as the API shows them. Those of apps are told by the apps there are.
type volumes struct {
	e        *engine.Engine
	releases *release.Releases
}

// List implements server.Volumes.
func (v volumes) List(ctx context.Context) ([]api.Volume, error) {
	list, err := v.e.Volumes(ctx)
	out := make([]api.Volume, len(list))
	for i, one := range list {
		out[i] = apiVolume(one)
	}
	return out, err
}

// Get implements server.Volumes.
func (v volumes) Get(ctx context.Context, name string) (api.Volume, error) {
	one, err := v.e.Volume(ctx, name)
	return apiVolume(one), err
}

// Create implements server.Volumes.
func (v volumes) Create(ctx context.Context, name string, limit naru.DiskLimit) (api.Volume, error) {
	one, err := v.e.CreateVolume(ctx, name, limit)
	return apiVolume(one), err
}

// Remove implements server.Volumes.
func (v volumes) Remove(ctx context.Context, name string) error {
	if _, err := v.e.Volume(ctx, name); err != nil {
		return err
	}
	return v.e.RemoveVolume(name)
}

// Export implements server.Volumes.
func (v volumes) Export(ctx context.Context, name string, w io.Writer) error {
	return v.e.ExportVolume(ctx, name, w)
}

// Import implements server.Volumes.
func (v volumes) Import(ctx context.Context, name string, r io.Reader) error {
	return v.e.ImportVolume(ctx, name, r)
}

// Prune implements server.Volumes. An app that is down has no containers and keeps its data all the same.
func (v volumes) Prune(ctx context.Context) ([]string, error) {
	apps, err := v.releases.AppEnvs(ctx)
	if err != nil {
		return nil, err
	}
	list, err := v.e.Volumes(ctx)
	if err != nil {
		return nil, err
	}
	var removed []string
	for _, one := range list {
		if len(one.UsedBy) > 0 || ofApp(one.Name, apps) {
			continue
		}
		switch err := v.e.RemoveVolume(one.Name); {
		case naru.CodeOf(err) == naru.FailedPrecondition: // a container took it meanwhile
		case err != nil:
			return removed, err
		default:
			removed = append(removed, one.Name)
		}
	}
	return removed, nil
}

func ofApp(volume string, apps []naru.AppEnv) bool {
	for _, ae := range apps {
		if strings.HasPrefix(volume, ae.Label()+"_") {
			return true
		}
	}
	return false
}

func apiVolume(v engine.Volume) api.Volume {
	return api.Volume{Name: v.Name, Path: v.Path, Limit: v.Limit, CreatedAt: v.CreatedAt, UsedBy: v.UsedBy}
}
