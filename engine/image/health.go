package image

import (
	"slices"

	docker "github.com/moby/docker-image-spec/specs-go/v1"

	"naru/naru"
)

// healthOf is the check that a Dockerfile's HEALTHCHECK left in an image's config, nil when there is none. Fields that
// the Dockerfile left out are zero. A test whose first word nobody knows asks nothing, as with docker.
func healthOf(c docker.DockerOCIImageConfigExt) *naru.HealthCheck {
	h := c.Healthcheck
	if h == nil || len(h.Test) < 2 {
		return nil
	}
	check := &naru.HealthCheck{Interval: h.Interval, Timeout: h.Timeout, Retries: h.Retries, StartPeriod: h.StartPeriod, StartInterval: h.StartInterval}
	switch h.Test[0] {
	case "CMD":
		check.Command = h.Test[1:]
	case "CMD-SHELL":
		check.Command = append(slices.Clone(shellOf(c)), h.Test[1])
	default:
		return nil
	}
	return check
}

// shellOf is what a Dockerfile's SHELL says, or what it is without one.
func shellOf(c docker.DockerOCIImageConfigExt) []string {
	if len(c.Shell) > 0 {
		return c.Shell
	}
	return []string{"/bin/sh", "-c"}
}
