package source

import (
	"cmp"
	"path"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"naru/naru"
)

// image says where a service's image comes from: a build, which outweighs the name that Compose would give it, or a
// reference.
func (c *converter) image(spec *naru.ServiceSpec, s types.ServiceConfig, ext extension) {
	if s.Build == nil {
		spec.Image = s.Image
		if ext.goPackage != "" {
			c.invalid(c.at(s.Name, extensionKey, "package"), "package names what to build from a Go module, but the service has no build")
		}
		return
	}
	context, ok := c.context(s)
	if !ok {
		return
	}
	dockerfile := path.Clean(s.Build.Dockerfile)
	named := c.docs.has("services", s.Name, "build", "dockerfile")
	switch {
	case path.IsAbs(dockerfile) || dockerfile == ".." || strings.HasPrefix(dockerfile, "../"):
		c.invalid(c.at(s.Name, "build", "dockerfile"), "dockerfile %s must lie below its build context %s", s.Build.Dockerfile, context)
	case c.folder.leadsOut(path.Join(context, dockerfile)):
		c.invalid(c.at(s.Name, "build"), "%s is a link out of the app folder", path.Join(context, dockerfile))
	case c.folder.isFile(path.Join(context, dockerfile)):
		spec.Build = c.dockerfileBuild(s, context, dockerfile, ext)
	case named:
		c.invalid(c.at(s.Name, "build", "dockerfile"), "dockerfile %s does not exist", path.Join(context, dockerfile))
	case c.folder.isFile(path.Join(context, "go.mod")):
		spec.Build = c.goBuild(s, context, ext)
	default:
		c.invalid(c.at(s.Name, "build"), "nothing to build in %s: it has neither a Dockerfile nor a go.mod", context)
	}
}

// context is the build's folder, relative to the app's.
func (c *converter) context(s types.ServiceConfig) (string, bool) {
	at := c.at(s.Name, "build", "context")
	context := s.Build.Context
	if strings.Contains(context, "://") || strings.HasPrefix(context, "git@") {
		c.unsupported(at, "naru builds from folders of the app only: check %s out below it", context)
		return "", false
	}
	rel, ok := c.folder.relative(context)
	if !ok {
		c.invalid(at, "build context %s lies outside the app folder", cmp.Or(rel, context))
		return "", false
	}
	if !c.folder.isDir(rel) {
		c.invalid(at, "build context %s is not a folder", rel)
		return "", false
	}
	return rel, true
}

func (c *converter) dockerfileBuild(s types.ServiceConfig, context, dockerfile string, ext extension) *naru.BuildSpec {
	if ext.goPackage != "" {
		c.invalid(c.at(s.Name, extensionKey, "package"), "package is for Go builds, but %s decides this one", path.Join(context, dockerfile))
	}
	return &naru.BuildSpec{
		Kind:       naru.BuildDockerfile,
		Context:    context,
		Dockerfile: dockerfile,
		Target:     s.Build.Target,
		Args:       environment(s.Build.Args),
	}
}

func (c *converter) goBuild(s types.ServiceConfig, context string, ext extension) *naru.BuildSpec {
	at := c.at(s.Name, "build")
	if s.Build.Target != "" || len(s.Build.Args) > 0 {
		c.invalid(at, "target and args are for Dockerfiles, and %s has none", context)
	}
	pkg, err := goPackage(c.folder, context, ext.goPackage, s.Name)
	if err != nil {
		c.invalid(at, "%s", err)
	}
	return &naru.BuildSpec{Kind: naru.BuildGo, Context: context, GoPackage: pkg}
}
