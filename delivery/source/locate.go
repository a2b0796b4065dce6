package source

import (
	"regexp"
	"strings"

	"github.com/compose-spec/compose-go/v2/errdefs"

	"naru/naru"
)

var (
	dottedPath   = regexp.MustCompile(`\b(?:services|volumes)(?:\.[\w-]+|\[\d+\])+`)
	namedService = regexp.MustCompile(`\bservice "([^"]+)"`)
	namedCycle   = regexp.MustCompile(`dependency cycle detected: ([\w-]+)`)
	indexed      = regexp.MustCompile(`\[(\d+)\]`)
)

// locate gives an error of compose-go the place it speaks of. Its messages name a path (services.web.ports.0) or a
// service; where one names neither, the place is the top of the file.
func (ds documents) locate(f *folder, err error) error {
	text := strings.TrimSuffix(err.Error(), ": "+errdefs.ErrInvalid.Error())
	for _, doc := range ds {
		text = strings.TrimPrefix(text, "validating "+f.path+"/"+doc.file+": ")
	}
	text = strings.ReplaceAll(text, f.path+"/", "")
	text = strings.TrimPrefix(strings.ReplaceAll(text, "must be a array", "must be a list"), "error while interpolating ")
	return naru.Errorf(naru.InvalidArgument, "%s: %s", ds.at(mentioned(text)...), text)
}

// mentioned is the path that a message speaks of.
func mentioned(text string) []string {
	if path := dottedPath.FindString(text); path != "" {
		return strings.Split(indexed.ReplaceAllString(path, ".$1"), ".")
	}
	if service := namedService.FindStringSubmatch(text); service != nil {
		return []string{"services", service[1]}
	}
	if service := namedCycle.FindStringSubmatch(text); service != nil {
		return []string{"services", service[1], "depends_on"}
	}
	return []string{"services"}
}
