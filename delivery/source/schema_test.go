package source

import (
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/schema"
)

// TestEveryComposeKeyIsDecided holds the rules against compose-go's schema: a key that the specification gains must be
// honoured or refused with a cure before naru calls it unknown.
func TestEveryComposeKeyIsDecided(t *testing.T) {
	rules := map[string]rule{
		"":                            fileRule(),
		"services.*":                  serviceRule(),
		"services.*.build":            buildRule(),
		"services.*.deploy":           deployRule(),
		"services.*.depends_on.*":     *dependencyRule(),
		"services.*.healthcheck":      healthcheckRule(),
		"services.*.ports.[]":         portRule(),
		"services.*.volumes.[]":       mountRule(),
		"volumes.*":                   volumeRule(),
		"services.*.volumes.[].tmpfs": mountRule().keys["tmpfs"],
	}
	decided := 0
	for _, path := range schema.AttributePaths() {
		parent, key := "", string(path)
		if i := strings.LastIndex(key, "."); i >= 0 {
			parent, key = key[:i], key[i+1:]
		}
		r, ok := rules[parent]
		if !ok || key == "*" || key == "[]" {
			continue
		}
		decided++
		if !r.known()[key] {
			t.Errorf("%s is neither honoured nor refused", path)
		}
	}
	if decided < 150 {
		t.Errorf("only %d keys were compared: do the paths of compose-go look different now?", decided)
	}
}

func TestNothingIsBothHonouredAndRefused(t *testing.T) {
	for name, r := range map[string]rule{"file": fileRule(), "service": serviceRule(), "build": buildRule(), "deploy": deployRule()} {
		for key := range r.keys {
			if _, both := r.refused[key]; both {
				t.Errorf("%s: %s", name, key)
			}
		}
	}
}
