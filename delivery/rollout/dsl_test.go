package rollout_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"naru/delivery/rollout"
	"naru/naru"
	"naru/target"
)

// story is a situation in words, and back. The words:
//
//	release v2 [config=1] [lost]   a release of the app shop; its services follow, one a line, indented:
//	  web image=b scale=2 route=/ needs=db,cache canary=10/30s,50/1m timeout=30s [grace=5s] [recreate]
//	rollout v1 v2 shifting [step=1] [age=5s]     from, to (v0: none), state, time since its step began
//	awake age=2s                   since when the daemon runs; always, unless said
//	scale web=3                    asked for by hand
//	see web/v1 2/2 [removing] [stopping=1] [failure="…"] [log="…"]     a set, named by a release that has it,
//	                               ready/wanted, and how many instances of it are on their way out
//	send web v1=90 v2=10, shop.localhost/ -> web          the traffic as it is; "send nothing"
type story struct {
	rollout.Situation
	t        testing.TB
	releases map[string]*naru.Release
	last     *naru.Release
	lost     map[naru.ReleaseNumber]bool
}

var epoch = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

var shop = naru.AppEnv{App: "shop", Environment: naru.Production}

func readStory(t testing.TB, text string) *story {
	s := &story{t: t, releases: map[string]*naru.Release{}, lost: map[naru.ReleaseNumber]bool{}}
	s.Domain, s.Scales, s.Now = "localhost", map[naru.ServiceName]int{}, epoch
	for line := range strings.Lines(text) {
		s.read(strings.TrimRight(line, "\n"))
	}
	for _, r := range s.releases {
		if r != s.From && r != s.To && !s.lost[r.Number] {
			s.Left = append(s.Left, *r)
		}
	}
	slices.SortFunc(s.Observed.Sets, func(a, b target.SetStatus) int { return cmp.Compare(a.Key, b.Key) })
	return s
}

func (s *story) read(line string) {
	words, pairs := s.split(line)
	switch {
	case len(words) == 0 || strings.HasPrefix(line, "#"):
	case strings.HasPrefix(line, " "):
		s.last.Services = append(s.last.Services, s.service(words, pairs))
	case words[0] == "release":
		s.last = &naru.Release{AppEnv: shop, Number: s.number(words[1]), ConfigVersion: s.int(pairs["config"])}
		s.releases[words[1]], s.lost[s.last.Number] = s.last, slices.Contains(words, "lost")
	case words[0] == "rollout":
		s.rollout(words, pairs)
	case words[0] == "awake":
		s.Awake = epoch.Add(-s.duration(pairs["age"]))
	case words[0] == "scale":
		for name, n := range pairs {
			s.Scales[naru.ServiceName(name)] = s.int(n)
		}
	case words[0] == "see":
		s.see(words, pairs)
	case words[0] == "send":
		s.Observed.Traffic = s.traffic(strings.TrimPrefix(line, "send "))
	default:
		s.t.Fatalf("cannot read %q", line)
	}
}

// split takes a line apart: words, and name=value pairs, whose values may be quoted.
func (s *story) split(line string) (words []string, pairs map[string]string) {
	pairs = map[string]string{}
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		word, rest, _ := strings.Cut(line, " ")
		name, value, isPair := strings.Cut(word, "=")
		if isPair && strings.HasPrefix(value, `"`) {
			quoted, err := strconv.QuotedPrefix(line[len(name)+1:])
			s.check(err)
			value, err = strconv.Unquote(quoted)
			s.check(err)
			rest = line[len(name)+1+len(quoted):]
		}
		if isPair {
			pairs[name] = value
		} else {
			words = append(words, word)
		}
		line = rest
	}
	return words, pairs
}

func (s *story) check(err error) {
	if err != nil {
		s.t.Helper()
		s.t.Fatal(err)
	}
}

func (s *story) int(text string) int {
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	s.check(err)
	return n
}

func (s *story) number(v string) naru.ReleaseNumber {
	return naru.ReleaseNumber(s.int(strings.TrimPrefix(v, "v")))
}

func (s *story) duration(text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	s.check(err)
	return d
}

func (s *story) service(words []string, pairs map[string]string) naru.ReleasedService {
	svc := naru.ReleasedService{ImageDigest: naru.Digest("sha256:" + pairs["image"])}
	svc.Name, svc.Scale = naru.ServiceName(words[0]), s.int(cmp.Or(pairs["scale"], "1"))
	if path, ok := pairs["route"]; ok {
		svc.Routes = []naru.RouteSpec{{Path: path}}
	}
	for _, need := range strings.FieldsFunc(pairs["needs"], comma) {
		svc.DependsOn = append(svc.DependsOn, naru.ServiceName(need))
	}
	if slices.Contains(words, "recreate") {
		svc.Rollout.Strategy = naru.Recreate
	}
	svc.StopGrace = s.duration(pairs["grace"])
	svc.Rollout.ReadyTimeout = s.duration(pairs["timeout"])
	for _, step := range strings.FieldsFunc(pairs["canary"], comma) {
		weight, pause, _ := strings.Cut(step, "/")
		svc.Rollout.Strategy = naru.Canary
		svc.Rollout.Steps = append(svc.Rollout.Steps, naru.CanaryStep{Weight: s.int(weight), Pause: s.duration(pause)})
	}
	return svc
}

func comma(r rune) bool { return r == ',' }

func (s *story) rollout(words []string, pairs map[string]string) {
	s.From, s.To = s.releases[words[1]], s.releases[words[2]]
	s.Rollout = naru.Rollout{ID: 1, AppEnv: shop, From: s.number(words[1]), To: s.number(words[2]),
		State: naru.RolloutState(words[3]), Step: s.int(pairs["step"]), StepSince: epoch.Add(-s.duration(pairs["age"]))}
}

// key is the set that "web/v1" names.
func (s *story) key(label string) naru.SetKey {
	name, version, _ := strings.Cut(label, "/")
	rel := s.releases[version]
	if rel != nil {
		for _, svc := range rel.Services {
			if svc.Name == naru.ServiceName(name) {
				return svc.SetKey(rel.ConfigVersion)
			}
		}
	}
	s.t.Fatalf("there is no set %q", label)
	return ""
}

// label names a set by the oldest release that has it.
func (s *story) label(key naru.SetKey) string {
	for _, version := range slices.Sorted(maps.Keys(s.releases)) {
		rel := s.releases[version]
		for _, svc := range rel.Services {
			if svc.SetKey(rel.ConfigVersion) == key {
				return string(svc.Name) + "/" + version
			}
		}
	}
	return string(key)
}

func (s *story) see(words []string, pairs map[string]string) {
	name, version, _ := strings.Cut(words[1], "/")
	ready, wanted, _ := strings.Cut(words[2], "/")
	st := target.SetStatus{Key: s.key(words[1]), Service: naru.ServiceName(name), Release: s.number(version),
		Ready: s.int(ready), Wanted: s.int(wanted), Removing: slices.Contains(words, "removing"), Failure: pairs["failure"]}
	if n := s.int(pairs["stopping"]); n > 0 {
		st.Instances = make([]naru.Instance, st.Wanted+n)
	}
	if log, ok := pairs["log"]; ok {
		st.LogLines = strings.Split(log, "\n")
	}
	s.Observed.Sets = append(s.Observed.Sets, st)
}

func (s *story) traffic(text string) target.Traffic {
	t := target.Traffic{Services: map[naru.ServiceName][]target.Weight{}}
	if text == "nothing" {
		return t
	}
	for part := range strings.SplitSeq(text, ", ") {
		if url, service, ok := strings.Cut(part, " -> "); ok {
			slash := strings.Index(url, "/")
			t.Routes = append(t.Routes, target.RouteRule{Host: url[:slash], Path: url[slash:], Service: naru.ServiceName(service)})
			continue
		}
		words := strings.Fields(part)
		for _, w := range words[1:] {
			version, weight, _ := strings.Cut(w, "=")
			name := naru.ServiceName(words[0])
			t.Services[name] = append(t.Services[name], target.Weight{Set: s.key(words[0] + "/" + version),
				Release: s.number(version), Weight: s.int(weight)})
		}
	}
	return t
}

// print is a plan in words.
func (s *story) print(ops []rollout.Op) string {
	out := ""
	for _, op := range ops {
		switch op := op.(type) {
		case rollout.ApplySet:
			out += fmt.Sprintf("apply %s x%d\n", s.label(op.Key), op.Instances)
		case rollout.RemoveSet:
			out += fmt.Sprintf("remove %s\n", s.label(op.Key))
		case rollout.SetTraffic:
			out += "send " + printTraffic(op.Traffic) + "\n"
		case rollout.Advance:
			out += op.String() + "\n"
			for _, l := range op.LogLines {
				out += "  | " + l + "\n"
			}
		}
	}
	if out == "" {
		return "wait\n"
	}
	return out
}

func printTraffic(t target.Traffic) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(t.Services)) {
		part := string(name)
		for _, w := range t.Services[name] {
			part += fmt.Sprintf(" %s=%d", w.Release, w.Weight)
		}
		parts = append(parts, part)
	}
	for _, r := range t.Routes {
		parts = append(parts, fmt.Sprintf("%s%s -> %s", r.Host, r.Path, r.Service))
	}
	return cmp.Or(strings.Join(parts, ", "), "nothing")
}
