package builder

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/identity"

	"naru/naru"
)

// Request asks for the image of one service.
type Request struct {
	naru.AppEnv
	Service   naru.ServiceSpec
	SessionID string // of the session that serves the app's folder
}

// ImageName is the name under which the image store keeps the newest image of a service.
func ImageName(ae naru.AppEnv, service naru.ServiceName) string {
	return fmt.Sprintf("naru.local/%s/%s:%s", ae.App, service, ae.Environment)
}

// sessionTimeout is how long a build waits for its session to connect.
const sessionTimeout = 5 * time.Second

// Build makes the image of a service and returns its manifest's digest; the image has the name ImageName until the next
// build of the service. events, when not nil, is called with news, one call at a time and none after Build returned. The
// error of a failed build is for the user: it says where, what and with which output.
func (b *Builder) Build(ctx context.Context, req Request, events func(Progress)) (naru.Digest, error) {
	b.running.Add(1)
	defer b.running.Done()
	if req.Service.Build == nil {
		return "", naru.Errorf(naru.InvalidArgument, "service %s has nothing to build", req.Service.Name)
	}
	row, err := insertBuild(ctx, b.cfg.Store, req.AppEnv, req.Service.Name, time.Now())
	if err != nil {
		return "", err
	}
	w := newWatch(row.ID, events)
	d, err := b.build(ctx, req, w)
	if err != nil {
		err = fmt.Errorf("build %s: %w", req.Service.Name, err)
	}
	return d, errors.Join(err, endBuild(ctx, b.cfg.Store, row, d, err, time.Now()))
}

func (b *Builder) build(ctx context.Context, req Request, w *watch) (naru.Digest, error) {
	if err := b.awaitSession(ctx, req.SessionID); err != nil {
		return "", err
	}
	solve, err := b.recipe(ctx, req, w)
	if err != nil {
		return "", err
	}
	resp, err := b.solve(quiet(ctx), solve, w)
	if err != nil {
		return "", explain(ctx, req, err, w)
	}
	return naru.Digest(resp.ExporterResponse[exptypes.ExporterImageDigestKey]), nil
}

func (b *Builder) awaitSession(ctx context.Context, id string) error {
	waiting, cancel := context.WithTimeout(ctx, sessionTimeout)
	defer cancel()
	if _, err := b.sessions.Get(waiting, id, false); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return naru.Errorf(naru.FailedPrecondition, "nobody serves the files: session %q is not connected", id)
	}
	return nil
}

// recipe says to BuildKit what the build spec says.
func (b *Builder) recipe(ctx context.Context, req Request, w *watch) (*controlapi.SolveRequest, error) {
	var solve *controlapi.SolveRequest
	var err error
	switch spec := *req.Service.Build; spec.Kind {
	case naru.BuildDockerfile:
		solve, err = dockerfileRecipe(spec, req.SessionID)
	case naru.BuildGo:
		solve, err = b.goRecipe(ctx, spec, req.SessionID, w)
	default:
		err = naru.Errorf(naru.InvalidArgument, "unknown kind of build %q", spec.Kind)
	}
	if err != nil {
		return nil, err
	}
	solve.Ref = identity.NewID()
	solve.Session = req.SessionID
	solve.Frontend = "dockerfile.v0"
	solve.Internal = true // no history, which would keep the blobs of every build
	solve.FrontendAttrs["image-resolve-mode"] = "local"
	solve.FrontendAttrs["cmdline"] = "builtin" // without it a "# syntax=" line makes BuildKit pull another frontend
	solve.Exporters = []*controlapi.Exporter{{Type: client.ExporterImage, Attrs: map[string]string{
		string(exptypes.OptKeyName):             ImageName(req.AppEnv, req.Service.Name),
		string(exptypes.OptKeyLayerCompression): "uncompressed", // it stays on this machine
		string(exptypes.OptKeyOCITypes):         "true",
	}}}
	return solve, nil
}

func dockerfileRecipe(spec naru.BuildSpec, sessionID string) (*controlapi.SolveRequest, error) {
	file := spec.Dockerfile
	if file == "" {
		file = "Dockerfile"
	}
	dir := path.Dir(path.Join(spec.Context, file))
	for _, p := range []string{path.Clean(spec.Context), dir} {
		if !filepath.IsLocal(p) {
			return nil, naru.Errorf(naru.InvalidArgument, "%s lies outside of the app's folder, from which all is built", p)
		}
	}
	attrs := map[string]string{
		"filename":                   path.Base(file),
		"local-sessionid:context":    folderName(path.Clean(spec.Context)) + ":" + sessionID,
		"local-sessionid:dockerfile": folderName(dir) + ":" + sessionID,
	}
	if spec.Target != "" {
		attrs["target"] = spec.Target
	}
	for k, v := range spec.Args {
		attrs["build-arg:"+k] = v
	}
	return &controlapi.SolveRequest{FrontendAttrs: attrs}, nil
}

// dockerfilePath is the Dockerfile's path relative to the app's folder, for messages.
func dockerfilePath(spec naru.BuildSpec) string {
	file := spec.Dockerfile
	if file == "" {
		file = "Dockerfile"
	}
	return path.Join(spec.Context, file)
}

// stepTitle is a step's name without BuildKit's "[stage 2/3] ".
func stepTitle(name string) string {
	if strings.HasPrefix(name, "[") {
		if _, after, ok := strings.Cut(name, "] "); ok {
			return after
		}
	}
	return name
}
