package main

import (
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"naru/api"
	"naru/naru"
)

// logDriverFlags are those of container run that say how what it prints is kept. There is one way: naru's own files,
// which container logs reads and the daemon forwards.
type logDriverFlags struct {
	driver  string
	options []string
}

func (f *logDriverFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.driver, "log-driver", "", "a `driver`: json-file or local, which both mean naru's own files")
	fs.StringArrayVar(&f.options, "log-opt", nil, "how much of what it prints is kept, a `limit`: max-size=10m a file, max-file=3 files")
}

// apply reads the texts into the spec.
func (f *logDriverFlags) apply(spec *api.ContainerSpec) error {
	switch f.driver {
	case "", "json-file", "local":
	case "none":
		return naru.Errorf(naru.InvalidArgument, "--log-driver none: what a container prints is always kept, for attach and logs; keep little of it with --log-opt max-size=64k --log-opt max-file=1")
	default:
		return naru.Errorf(naru.InvalidArgument, "--log-driver %s: the daemon forwards what all containers print: naru server --log-forward", f.driver)
	}
	for _, option := range f.options {
		key, value, _ := strings.Cut(option, "=")
		var err error
		switch key {
		case "max-size":
			spec.Logs.FileBytes, err = parseBytes("--log-opt max-size", value)
		case "max-file":
			spec.Logs.Files, err = strconv.Atoi(value)
			if err != nil || spec.Logs.Files < 1 {
				err = naru.Errorf(naru.InvalidArgument, "--log-opt %s: write a number from 1", option)
			}
		default:
			err = naru.Errorf(naru.InvalidArgument, "--log-opt %s: it is max-size or max-file", option)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
