package image

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"

	"naru/naru"
)

// dialTimeout is how long a registry may take to accept a connection. Short, because a machine without a way to the
// registry should say so rather than hang.
const dialTimeout = 10 * time.Second

// registryHosts reaches registries by HTTPS, and those on loopback by HTTP.
func registryHosts() docker.RegistryHosts {
	t := docker.DefaultHTTPTransport(nil)
	t.DialContext = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	client := &http.Client{Transport: t}
	return docker.ConfigureDefaultRegistries(
		docker.WithClient(client),
		docker.WithPlainHTTP(docker.MatchLocalhost),
		docker.WithAuthorizer(docker.NewDockerAuthorizer(docker.WithAuthClient(client))),
	)
}

// RegistryHosts says how registries are reached.
func (s *Store) RegistryHosts() docker.RegistryHosts { return s.hosts }

// Pull fetches an image for this machine's platform from its registry and unpacks it. It asks the registry even when
// the name is known here.
func (s *Store) Pull(ctx context.Context, ref string) (Image, error) {
	ctx = inNamespace(ctx)
	full, err := Normalize(ref)
	if err != nil {
		return Image{}, err
	}
	var img Image
	err = s.leased(ctx, func(ctx context.Context) error {
		target, err := s.fetch(ctx, full)
		if err != nil {
			return err
		}
		list, err := s.settle(ctx, []namedTarget{target})
		if err == nil {
			img = list[0]
		}
		return err
	})
	if err != nil {
		return Image{}, fmt.Errorf("pull image %s: %w", Familiar(full), err)
	}
	return img, nil
}

// fetch stores the blobs of the image that a registry has under the full name.
func (s *Store) fetch(ctx context.Context, full string) (namedTarget, error) {
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: s.hosts})
	name, desc, err := resolver.Resolve(ctx, full)
	if err != nil {
		return namedTarget{}, unreachable(full, err)
	}
	fetcher, err := resolver.Fetcher(ctx, name)
	if err != nil {
		return namedTarget{}, unreachable(full, err)
	}
	here := platforms.Default()
	children := images.LimitManifests(images.FilterPlatforms(images.ChildrenHandler(s.content), here), here, 1)
	handler := images.Handlers(remotes.FetchHandler(s.content, fetcher), children)
	if err := images.Dispatch(ctx, handler, nil, desc); err != nil {
		return namedTarget{}, unreachable(full, err)
	}
	return namedTarget{full, desc}, nil
}

// unreachable says in plain words why a registry did not give an image.
func unreachable(full string, err error) error {
	domain := "its registry"
	if named, perr := reference.ParseNormalizedNamed(full); perr == nil {
		domain = reference.Domain(named)
	}
	var network net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errdefs.IsNotFound(err):
		return naru.Errorf(naru.NotFound, "%s has no such image, or shows it only to those who log in: %w", domain, err)
	case errors.As(err, &network):
		return naru.Errorf(naru.Unavailable, "%s cannot be reached; an image saved elsewhere can be imported: %w", domain, err)
	}
	return naru.Errorf(naru.Unavailable, "%s refused: %w", domain, err)
}
