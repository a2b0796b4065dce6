package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"naru/api/client"
	"naru/engine/archive"
	"naru/naru"
)

func (c *cli) containerCopyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cp CONTAINER:PATH PATH|- | PATH|- CONTAINER:PATH", Short: "Copy files out of a container, or into it", Args: between(2, 2),
		Long: `Copy files out of a container, or into it, whether it runs or not. What is copied to a folder gets its own name in it, and
what to a name that is not there yet gets that name; of a folder with /. at its end it is what is in it. A single - is a
tar stream on our standard input or output.

Files get the owner of who copies: you outside, root inside; with -a they keep their own.`,
		Example: "  naru container cp web:/var/log/nginx ./logs\n  naru container cp site/. web:/usr/share/nginx/html\n  naru container cp web:/etc - | tar -t",
	}
	keep := cmd.Flags().BoolP("archive", "a", false, "keep owners")
	cmd.Flags().BoolP("quiet", "q", false, "as docker's; nothing is said without it either")
	cmd.RunE = c.run(func(ctx context.Context, args []string) error {
		cl, err := c.client()
		if err != nil {
			return err
		}
		from, fromContainer := parsePlace(args[0])
		to, toContainer := parsePlace(args[1])
		switch {
		case fromContainer && !toContainer:
			return c.copyOut(ctx, cl, from, to.path, *keep)
		case toContainer && !fromContainer:
			return c.copyIn(ctx, cl, from.path, to, *keep)
		}
		return naru.Errorf(naru.InvalidArgument, "one of the two places must be in a container, CONTAINER:PATH, and the other not")
	})
	return cmd
}

// place is a path, in a container when that has a name.
type place struct{ container, path string }

// parsePlace takes what has a colon for a container's, unless a slash or a dot says before it that it is a path.
func parsePlace(s string) (place, bool) {
	name, inside, ok := strings.Cut(s, ":")
	if !ok || name == "" || strings.ContainsAny(name[:1], "./") || strings.Contains(name, "/") {
		return place{path: s}, false
	}
	return place{name, inside}, true
}

func (c *cli) copyOut(ctx context.Context, cl *client.Client, from place, to string, keep bool) error {
	stream, err := cl.CopyOut(ctx, from.container, from.path)
	if err != nil {
		return err
	}
	defer func() { _ = stream.Close() }() // only read from
	if to == "-" {
		_, err := io.Copy(c.out, stream)
		return err
	}
	into, o, err := landing(from.path, to)
	if err != nil {
		return err
	}
	if !keep {
		o.Owner = &archive.Owner{UID: os.Getuid(), GID: os.Getgid()}
	}
	root, err := os.OpenRoot(into)
	if err != nil {
		return naru.Errorf(naru.InvalidArgument, "%w", err)
	}
	defer func() { _ = root.Close() }() // a folder; its files are closed
	return archive.Unpack(stream, root, o)
}

// landing says into which folder of ours the stream of a path goes, and under which name.
func landing(from, to string) (string, archive.Options, error) {
	top := path.Base(path.Clean("/" + from))
	if top == "/" || strings.HasSuffix(from, "/.") {
		top = "."
	}
	info, err := os.Stat(to)
	switch {
	case err == nil && info.IsDir():
		return to, archive.Options{}, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", archive.Options{}, naru.Errorf(naru.InvalidArgument, "%w", err)
	case strings.HasSuffix(to, "/"):
		return "", archive.Options{}, naru.Errorf(naru.InvalidArgument, "there is no folder %s", to)
	}
	return filepath.Dir(to), archive.Options{From: top, As: filepath.Base(to)}, nil
}

func (c *cli) copyIn(ctx context.Context, cl *client.Client, from string, to place, keep bool) error {
	if from == "-" {
		return cl.CopyIn(ctx, to.container, to.path, c.in, keep)
	}
	dir, name := filepath.Split(filepath.Clean(from))
	if strings.HasSuffix(from, "/.") || name == "." || name == ".." || name == "" {
		dir, name = from, "."
	}
	into, as, err := goal(ctx, cl, name, to)
	if err != nil {
		return err
	}
	if dir == "" {
		dir = "."
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return naru.Errorf(naru.InvalidArgument, "%w", err)
	}
	defer func() { _ = root.Close() }() // a folder, for reading
	if _, err := root.Lstat(name); err != nil {
		return naru.Errorf(naru.InvalidArgument, "%s: there is no such file", from)
	}
	r, w := io.Pipe()
	var packing sync.WaitGroup
	packing.Go(func() { _ = w.CloseWithError(archive.Pack(w, root, name, as, archive.Options{})) })
	err = cl.CopyIn(ctx, to.container, into, r, keep)
	_ = r.Close() // lets Pack go when the daemon has refused; never fails
	packing.Wait()
	return err
}

// goal says into which folder of the container a file of ours goes, and under which name.
func goal(ctx context.Context, cl *client.Client, name string, to place) (into, as string, err error) {
	info, err := cl.StatFile(ctx, to.container, to.path)
	missing := naru.CodeOf(err) == naru.NotFound && strings.Contains(err.Error(), to.path)
	switch {
	case err == nil && info.Mode.IsDir():
		return to.path, name, nil
	case err != nil && !missing:
		return "", "", err
	case missing && strings.HasSuffix(to.path, "/"):
		return "", "", naru.Errorf(naru.NotFound, "the container has no folder %s", to.path)
	}
	return path.Dir(to.path), path.Base(to.path), nil
}
