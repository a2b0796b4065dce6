package builder

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/errdefs"

	"naru/engine/image"
	"naru/naru"
)

// explain turns BuildKit's error into one for the user: with its place in the Dockerfile, what happened, and a code.
func explain(ctx context.Context, req Request, err error, w *watch) error {
	if ctx.Err() != nil {
		return fmt.Errorf("it was stopped: %w", context.Cause(ctx))
	}
	where := place(req, err)
	var exit *gateway.ExitError
	if errors.As(err, &exit) {
		return stepFailed(where, err, exit.ExitCode, w)
	}
	var coded *naru.Error
	if errors.As(err, &coded) {
		return fmt.Errorf("%s%s: %w", where, stepName(err, w), coded)
	}
	if ref, ok := unresolved(err); ok {
		return naru.Errorf(naru.NotFound, "%simage %s is neither on this machine nor can it be fetched; "+
			"one that is saved in a file can be imported under this name: %w", where, image.Familiar(ref), rootCause(err))
	}
	if where == "" {
		where = nameOf(err, w)
	}
	return naru.Errorf(codeOf(req, err), "%s%s", where, plain(req, err))
}

// nameOf is "COPY a b: " for a step that failed before it ran; BuildKit knows no line for it.
func nameOf(err error, w *watch) string {
	var vertex *errdefs.VertexError
	if !errors.As(err, &vertex) || w.names[vertex.Digest] == "" || strings.HasPrefix(w.names[vertex.Digest], "[internal]") {
		return ""
	}
	return stepTitle(w.names[vertex.Digest]) + ": "
}

// stepFailed is the error for a RUN step that ended with a status.
func stepFailed(where string, err error, status uint32, w *watch) error {
	var vertex *errdefs.VertexError
	var out strings.Builder
	if errors.As(err, &vertex) {
		for _, l := range w.tails[vertex.Digest].lines() {
			fmt.Fprintf(&out, "\n  %s", strings.TrimRight(string(l), "\r"))
		}
	}
	if out.Len() == 0 {
		return naru.Errorf(naru.Failed, "%s%s: exit status %d, without output", where, stepName(err, w), status)
	}
	return naru.Errorf(naru.Failed, "%s%s: exit status %d, last output:%s", where, stepName(err, w), status, out.String())
}

func stepName(err error, w *watch) string {
	var vertex *errdefs.VertexError
	if errors.As(err, &vertex) && w.names[vertex.Digest] != "" {
		return stepTitle(w.names[vertex.Digest])
	}
	return "build step"
}

// place is "Dockerfile:3: ", or "" when the error has no place that the user could look at.
func place(req Request, err error) string {
	if req.Service.Build.Kind != naru.BuildDockerfile {
		return ""
	}
	for _, s := range errdefs.Sources(err) {
		if len(s.Ranges) > 0 {
			return fmt.Sprintf("%s:%d: ", dockerfilePath(*req.Service.Build), s.Ranges[0].Start.Line)
		}
	}
	return ""
}

var unresolvedImage = regexp.MustCompile(`failed to resolve source metadata for (\S+?):? `)

// unresolved finds the name of a base image that could not be found; BuildKit has it only in the message.
func unresolved(err error) (string, bool) {
	m := unresolvedImage.FindStringSubmatch(err.Error() + " ")
	if m == nil {
		return "", false
	}
	return m[1], true
}

func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// codeOf tells a mistake in what the user sent, which has a place in their file, from a defect.
func codeOf(req Request, err error) naru.Code {
	m := err.Error()
	switch {
	case len(errdefs.Sources(err)) > 0 && req.Service.Build.Kind == naru.BuildDockerfile,
		strings.Contains(m, "failed to read dockerfile"), strings.Contains(m, "no access allowed to dir"),
		strings.Contains(m, "target stage"), strings.Contains(m, "the Dockerfile cannot be empty"),
		strings.Contains(m, "dockerfile parse error"), strings.Contains(m, "failed to calculate checksum"),
		strings.Contains(m, "is not allowed"):
		return naru.InvalidArgument
	}
	return naru.Internal
}

// checksum matches how BuildKit says that it looked at the files of a COPY.
var checksum = regexp.MustCompile(`(failed to compute cache key: )?failed to calculate checksum of ref \S+ `)

// plain rewords the messages that would only make sense to someone who knows BuildKit.
func plain(req Request, err error) string {
	m := err.Error()
	spec := *req.Service.Build
	switch {
	case strings.Contains(m, "failed to read dockerfile") && strings.Contains(m, "no such file"):
		return fmt.Sprintf("there is no %s", dockerfilePath(spec))
	case strings.Contains(m, "no access allowed to dir"):
		return fmt.Sprintf("there is no folder %q within the app's folder", spec.Context)
	case strings.Contains(m, "is not allowed"): // network.host, security.insecure
		return strings.TrimPrefix(m, "failed to load LLB: ") + " in builds on naru"
	}
	m = checksum.ReplaceAllString(m, "")
	for _, noise := range []string{"failed to solve: ", "failed to solve with frontend dockerfile.v0: ", "failed to create LLB definition: "} {
		m = strings.ReplaceAll(m, noise, "")
	}
	return m
}
