package builder

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	controlapi "github.com/moby/buildkit/api/services/control"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"

	"naru/naru"
)

// goSettings are the settings of the go command that a build takes over from the host, when the host has one. They say
// where modules come from, and are arguments of the compiling step only: nothing of them gets into the image.
var goSettings = []string{"GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GONOPROXY", "GOINSECURE", "GOFLAGS"}

// goRecipe compiles a Go module into an image that holds the program, the roots of trust, the time zones and a /tmp.
func (b *Builder) goRecipe(ctx context.Context, spec naru.BuildSpec, sessionID string, w *watch) (*controlapi.SolveRequest, error) {
	context := path.Clean(spec.Context)
	if !filepath.IsLocal(context) {
		return nil, naru.Errorf(naru.InvalidArgument, "%s lies outside of the app's folder, from which all is built", context)
	}
	base, err := b.goBase.get(ctx, b.cfg.Images, w)
	if err != nil {
		return nil, fmt.Errorf("find a Go toolchain: %w", err)
	}
	w.rename = func(name string) string { return goStepName(name, spec) }
	args := maps.Clone(base.settings)
	maps.Copy(args, spec.Args)
	file, err := goDockerfile(base.image, spec.GoPackage, slices.Sorted(maps.Keys(args)))
	if err != nil {
		return nil, err
	}
	def, err := scratchFile(ctx, "Dockerfile", file)
	if err != nil {
		return nil, fmt.Errorf("make Go build definition: %w", err)
	}
	attrs := map[string]string{"local-sessionid:context": sourceMark + folderName(context) + ":" + sessionID}
	for k, v := range args {
		attrs["build-arg:"+k] = v
	}
	return &controlapi.SolveRequest{FrontendAttrs: attrs, FrontendInputs: map[string]*pb.Definition{"dockerfile": def}}, nil
}

// What may stand in a Dockerfile of ours without a meaning of its own there.
var (
	goPackageName = regexp.MustCompile(`^[A-Za-z0-9._/~@+-]+$`)
	argName       = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// goDockerfile is the Dockerfile for a Go build. The toolchain's image may have no shell, so the compiling step is in
// exec form. The parts of the image that never change come first, so that a change of the program changes one layer.
func goDockerfile(base, target string, args []string) (string, error) {
	if target == "" {
		target = "."
	}
	if !goPackageName.MatchString(target) || strings.HasPrefix(target, "-") {
		return "", naru.Errorf(naru.InvalidArgument, "%q is not a Go package", target)
	}
	argv, err := json.Marshal([]string{"/usr/local/go/bin/go", "build", "-C", "/src", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", "/app", target})
	if err != nil {
		return "", err
	}
	var f strings.Builder
	fmt.Fprintf(&f, "FROM %s AS toolchain\nFROM toolchain AS build\n", base)
	f.WriteString("ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOROOT=/usr/local/go HOME=/root GOPATH=/go GOMODCACHE=/go/pkg/mod GOCACHE=/root/.cache/go-build\n")
	for _, a := range args {
		if !argName.MatchString(a) {
			return "", naru.Errorf(naru.InvalidArgument, "%q is not the name of a build argument", a)
		}
		fmt.Fprintf(&f, "ARG %s\n", a)
	}
	// The source is bound rather than copied: it needs no layer of its own.
	fmt.Fprintf(&f, "RUN --mount=type=bind,target=/src --mount=type=cache,id=naru-gocache,target=/root/.cache/go-build "+
		"--mount=type=cache,id=naru-gomodcache,target=/go/pkg/mod --mount=type=tmpfs,target=/tmp %s\n", argv)
	f.WriteString("FROM scratch\n" +
		"COPY --from=toolchain /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/\n" +
		"COPY --from=toolchain /usr/local/go/lib/time/zoneinfo.zip /usr/share/zoneinfo.zip\n" +
		"COPY --from=toolchain --parents /tmp /\n" +
		"ENV ZONEINFO=/usr/share/zoneinfo.zip\n" +
		"COPY --from=build /app /app\n" +
		"ENTRYPOINT [\"/app\"]\n")
	return f.String(), nil
}

// goStepName names the compiling step like the command that people type.
func goStepName(name string, spec naru.BuildSpec) string {
	before, _, ok := strings.Cut(name, "RUN --mount=")
	if !ok {
		return name
	}
	return strings.TrimSpace(before + "go build " + spec.GoPackage)
}

// scratchFile is a folder with one file, for BuildKit.
func scratchFile(ctx context.Context, name, content string) (*pb.Definition, error) {
	def, err := llb.Scratch().File(llb.Mkfile(name, 0o644, []byte(content)), llb.WithCustomName("[internal] Go build definition")).Marshal(ctx)
	if err != nil {
		return nil, err
	}
	return def.ToPB(), nil
}
