package source

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/compose-spec/compose-go/v2/template"
	"github.com/compose-spec/compose-go/v2/types"

	"naru/naru"
)

// variables are what ${NAME} in an app file stands for: the .env file beside it, and over that what the caller gives.
func variables(f *folder, opts Options) (types.Mapping, error) {
	given := make(types.Mapping, len(opts.Environment))
	for _, pair := range opts.Environment {
		if name, value, ok := strings.Cut(pair, "="); ok && name != "" {
			given[name] = value
		}
	}
	if !f.isFile(".env") {
		return given, nil
	}
	content, err := f.read(".env")
	if err != nil {
		return nil, err
	}
	fromFile, err := dotenv.ParseWithLookup(bytes.NewReader(content), given.Resolve)
	if err != nil {
		return nil, naru.Errorf(naru.InvalidArgument, "read .env: %w", err)
	}
	return given.Merge(fromFile), nil
}

// substitutes reports why the variables of a text cannot be put in.
func substitutes(text string, lookup template.Mapping) error {
	_, err := template.SubstituteWithOptions(text, lookup, template.WithoutLogging, template.WithReplacementFunction(
		func(substring string, lookup template.Mapping, cfg *template.Config) (string, error) {
			value, applied, err := template.DefaultReplacementAppliedFunc(substring, lookup, cfg)
			if err == nil && !applied {
				err = fmt.Errorf("%s is not set: set it in .env, or give a default: ${%s:-default}", substring, strings.Trim(substring, "${}"))
			}
			return value, err
		}))
	var invalid *template.InvalidTemplateError
	if errors.As(err, &invalid) {
		return fmt.Errorf("%q is not a variable: write ${NAME}, or $$ for a dollar sign", text)
	}
	return err
}
