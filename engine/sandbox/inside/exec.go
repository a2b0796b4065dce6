package inside

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// tryEach tries a program's places until run does not fail, like execvp: a place without it is passed over, and of
// the other errors the first is told.
func tryEach(name string, env []string, run func(file string) error) error {
	if strings.Contains(name, "/") {
		return run(name)
	}
	first := error(unix.ENOENT)
	for dir := range strings.SplitSeq(searchPath(env), ":") {
		if dir == "" {
			dir = "."
		}
		err := run(dir + "/" + name)
		switch {
		case err == nil:
			return nil
		case !missing(err) && errors.Is(first, unix.ENOENT):
			first = err
		}
	}
	return first
}

func missing(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR)
}

func searchPath(env []string) string {
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			return v
		}
	}
	return defaultPath
}
