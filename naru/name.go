package naru

import "strings"

// AppName names an app: a DNS label (RFC 1123 section 2.1), because it becomes part of a host name.
type AppName string

// EnvironmentName names an environment of an app: a DNS label.
type EnvironmentName string

// Production is the environment that is meant when none is named.
const Production EnvironmentName = "production"

// ServiceName names a process type of an app: a DNS label, because other services find it under that name.
type ServiceName string

// VolumeName names a volume of an app.
type VolumeName string

// Digest is a content address, "sha256:" and 64 hex digits.
type Digest string

// Short is the digest's first twelve hex digits, for people.
func (d Digest) Short() string {
	const prefix = len("sha256:")
	if len(d) < prefix+12 {
		return string(d)
	}
	return string(d[prefix : prefix+12])
}

// AppEnv is an app in one of its environments: what has a config, releases, routes and instances of its own.
type AppEnv struct {
	App         AppName         `json:"app"`
	Environment EnvironmentName `json:"environment"`
}

// String is "app" in production and "app/environment" elsewhere.
func (ae AppEnv) String() string {
	if ae.Environment == Production {
		return string(ae.App)
	}
	return string(ae.App) + "/" + string(ae.Environment)
}

// Label is a DNS label for the pair, distinct for distinct pairs: "app" in production, "environment.app" read from the
// outside in would be two labels, so the parts are joined by "--", which Validate forbids inside either.
func (ae AppEnv) Label() string {
	if ae.Environment == Production {
		return string(ae.App)
	}
	return string(ae.App) + "--" + string(ae.Environment)
}

// Validate checks both names.
func (ae AppEnv) Validate() error {
	if err := validateLabel("app name", string(ae.App)); err != nil {
		return err
	}
	return validateLabel("environment name", string(ae.Environment))
}

// Validate checks that the name is a DNS label.
func (n ServiceName) Validate() error { return validateLabel("service name", string(n)) }

// isLabel is RFC 1123's label without "--". It is no regular expression: compiling one would be felt in each command.
func isLabel(s string) bool {
	if len(s) > 63 {
		return false
	}
	for part := range strings.SplitSeq(s, "-") {
		if part == "" || strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
			return false
		}
	}
	return true
}

func validateLabel(what, s string) error {
	if !isLabel(s) {
		return Errorf(InvalidArgument, "%s %q is not a DNS label: use 1 to 63 of a-z, 0-9 and single '-', starting and ending with a letter or digit", what, s)
	}
	return nil
}
