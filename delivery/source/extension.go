package source

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/compose-spec/compose-go/v2/types"

	"naru/naru"
)

// extensionKey is where a service says what Compose has no words for.
const extensionKey = "x-naru"

// extension is what a service says under x-naru.
type extension struct {
	port       uint16
	scale      *int
	goPackage  string
	saysRoutes bool // even that it has none: `routes: []`
	routes     []naru.RouteSpec
	health     *naru.HealthCheck
	rollout    naru.RolloutSpec
}

func extensionRule() rule {
	return rule{keys: map[string]rule{
		"port":    {},
		"scale":   {},
		"package": {},
		"route":   {},
		"routes":  {},
		"health":  {keys: map[string]rule{"http": {}, "command": {}, "interval": {}, "timeout": {}, "retries": {}, "start_period": {}}},
		"rollout": {keys: map[string]rule{
			"strategy":      {},
			"steps":         {keys: map[string]rule{"weight": {}, "pause": {}}},
			"ready_timeout": {},
		}},
	}}
}

// extension reads a service's x-naru, merged and interpolated by compose-go as the rest of the file.
func (c *converter) extension(s types.ServiceConfig) extension {
	v := value{c: c, raw: s.Extensions[extensionKey], path: []string{"services", s.Name, extensionKey}}
	if !v.isMapping() {
		return extension{}
	}
	ext := extension{goPackage: v.get("package").text()}
	if p := v.get("port"); p.said() {
		ext.port = uint16(p.integer(1, 65535))
	}
	if n := v.get("scale"); n.said() {
		ext.scale = new(n.integer(0, maxScale))
	}
	ext.routes, ext.saysRoutes = readRoutes(v)
	ext.health = readHealth(v.get("health"))
	ext.rollout = readRollout(v.get("rollout"))
	return ext
}

// maxScale is more instances than a machine has room for: a number beyond it is a slip of the finger.
const maxScale = 1000

func readRoutes(v value) ([]naru.RouteSpec, bool) {
	one, many := v.get("route"), v.get("routes")
	if one.said() && many.said() {
		many.invalid("say either route or routes")
		return nil, true
	}
	var routes []naru.RouteSpec
	said := one
	if many.said() {
		said = many
	}
	for _, item := range said.items() {
		if route, err := parseRoute(item.text()); err != nil {
			item.invalid("%s", err)
		} else {
			routes = append(routes, route)
		}
	}
	slices.SortFunc(routes, compareRoutes)
	return routes, said.said()
}

func compareRoutes(a, b naru.RouteSpec) int {
	return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Path, b.Path))
}

func readHealth(v value) *naru.HealthCheck {
	if !v.isMapping() {
		return nil
	}
	h := &naru.HealthCheck{
		HTTPPath:    v.get("http").text(),
		Interval:    v.get("interval").duration(healthInterval),
		Timeout:     v.get("timeout").duration(healthTimeout),
		Retries:     healthRetries,
		StartPeriod: v.get("start_period").duration(0),
	}
	if n := v.get("retries"); n.said() {
		h.Retries = n.integer(1, 1000)
	}
	for _, word := range v.get("command").items() {
		h.Command = append(h.Command, word.text())
	}
	if (h.HTTPPath == "") == (len(h.Command) == 0) {
		v.invalid("health needs either http, a path, or command, a list of words")
	} else if h.HTTPPath != "" && h.HTTPPath[0] != '/' {
		v.get("http").invalid("%q is not a path: it must begin with /", h.HTTPPath)
	}
	return h
}

func readRollout(v value) naru.RolloutSpec {
	if !v.isMapping() {
		return naru.RolloutSpec{}
	}
	r := naru.RolloutSpec{
		Strategy:     naru.Strategy(v.get("strategy").text()),
		ReadyTimeout: v.get("ready_timeout").duration(0),
	}
	for _, step := range v.get("steps").items() {
		if !step.isMapping() {
			continue
		}
		r.Steps = append(r.Steps, naru.CanaryStep{Weight: step.get("weight").integer(1, 99), Pause: step.get("pause").duration(0)})
	}
	checkRollout(v, r)
	return r
}

func checkRollout(v value, r naru.RolloutSpec) {
	switch {
	case !slices.Contains([]naru.Strategy{"", naru.BlueGreen, naru.Canary, naru.Recreate}, r.Strategy):
		v.get("strategy").invalid("unknown strategy %q: use blue-green, canary or recreate", r.Strategy)
	case r.Strategy == naru.Canary && len(r.Steps) == 0:
		v.invalid("a canary needs steps, as in `steps: [{weight: 10, pause: 1m}, {weight: 50, pause: 5m}]`")
	case r.Strategy != naru.Canary && len(r.Steps) > 0:
		v.get("steps").invalid("steps are for `strategy: canary`")
	}
	for i := 1; i < len(r.Steps); i++ {
		if r.Steps[i].Weight != 0 && r.Steps[i].Weight <= r.Steps[i-1].Weight {
			v.get("steps").item(i).invalid("weights must grow: %d follows %d", r.Steps[i].Weight, r.Steps[i-1].Weight)
		}
	}
}

// value is a place under x-naru and what stands there; nil raw when nothing does.
type value struct {
	c    *converter
	raw  any
	path []string
}

func (v value) said() bool { return v.raw != nil }

func (v value) invalid(format string, args ...any) {
	v.c.invalid(v.c.docs.at(v.path...), format, args...)
}

func (v value) below(step string, raw any) value {
	return value{v.c, raw, append(slices.Clone(v.path), step)}
}

// isMapping reports whether something is said that can be asked for entries; anything else but a mapping is a mistake.
func (v value) isMapping() bool {
	_, ok := v.raw.(map[string]any)
	if !ok && v.said() {
		v.invalid("must be a mapping")
	}
	return ok
}

// get is the entry of a mapping, or nothing.
func (v value) get(key string) value {
	m, _ := v.raw.(map[string]any)
	return v.below(key, m[key])
}

func (v value) item(i int) value { return v.below(strconv.Itoa(i), v.raw.([]any)[i]) }

// items are those of a list; a single value is a list of one.
func (v value) items() []value {
	list, ok := v.raw.([]any)
	if !ok && v.said() {
		return []value{v}
	}
	out := make([]value, len(list))
	for i := range list {
		out[i] = v.item(i)
	}
	return out
}

func (v value) text() string {
	switch raw := v.raw.(type) {
	case nil:
		return ""
	case map[string]any, []any:
		v.invalid("must be a text")
		return ""
	default:
		return fmt.Sprint(raw) // a number or a truth value, unquoted
	}
}

// integer takes a text too, as a variable leaves one behind.
func (v value) integer(low, high int) int {
	n, ok := v.raw.(int)
	if text, isText := v.raw.(string); isText {
		parsed, err := strconv.Atoi(text)
		n, ok = parsed, err == nil
	}
	if !ok || n < low || n > high {
		v.invalid("must be a whole number from %d to %d", low, high)
		return 0
	}
	return n
}

func (v value) duration(byDefault time.Duration) time.Duration {
	if !v.said() {
		return byDefault
	}
	d, err := time.ParseDuration(v.text())
	if err != nil || d <= 0 {
		v.invalid("must be a duration, as in 500ms, 30s or 5m")
		return byDefault
	}
	return d
}
