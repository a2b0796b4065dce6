// Package target is the contract between delivery, which decides what should run, and a place where it runs: this
// machine (target/machine) or a cluster. It receives sets of instances and the traffic among them, owns nothing but
// the words, and hands back observations. target/suite is the contract as tests, target/memory the smallest target.
//
// # What every target promises
//
// Returns at once. Apply, Remove and SetTraffic record a wish and return; the target's own loop fulfils it. They
// never wait for an instance, an image or a request.
//
// Durable once returned. A wish survives the death of the process and a power cut as soon as its call returned nil. A
// call that returned an error may have been recorded or not: the caller asks again or observes.
//
// Idempotent. The same call twice in a row is the same as once, so that a caller who died may repeat what it did last.
//
// In order. The wishes for one AppEnv take effect in the order in which their calls returned: a set removed after
// SetTraffic moved its traffic away is not stopped before the traffic has really moved. Wishes for different AppEnvs
// do not wait for each other.
//
// Reads its own writes. Observe after a call shows the recorded wish (Wanted, Removing, Traffic), though rarely its
// fulfilment.
//
// Refuses clearly. A wish that can never be fulfilled as it stands is refused with an error of code InvalidArgument,
// Conflict (a published port that somebody holds; the message says who), Unimplemented, FailedPrecondition or
// NotFound, and nothing is recorded; what is found out later becomes SetStatus.Failure. Every other error is passing:
// the caller tries again.
package target

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"naru/naru"
)

// Target is a place where releases run. All methods may be called at any time from any goroutine.
type Target interface {
	// Apply makes the set exist with s.Instances instances, and keeps it so: an instance that dies is replaced, with
	// backoff when it keeps dying. For a Key that is there already only Instances is looked at: its instances, its
	// Release and its Variables stay what they are (equal keys mean equal processes). A set that is being removed is
	// wanted again; instances of it that are already stopping go on stopping and are replaced. Zero Instances is a set
	// without instances, which is ready. Instances that are too many drain before they stop, as in Remove.
	Apply(ctx context.Context, s Set) error

	// Remove drains the set's instances (no new request reaches them, those under way are finished, within the
	// service's StopGrace), stops them (stop signal, StopGrace, SIGKILL) and forgets the set, which is then gone from
	// Observe. To remove a set that is not there is no error. A weight that still names the set counts as a set without
	// instances.
	Remove(ctx context.Context, ae naru.AppEnv, key naru.SetKey) error

	// SetTraffic replaces all traffic of the AppEnv in one swap: no request, lookup or connection sees a part of it.
	// Routes, published ports and the names under which services find each other all follow the weights, and only to
	// instances that are ready. A set that has not been applied counts as one without instances. A zero Traffic takes
	// everything away.
	SetTraffic(ctx context.Context, ae naru.AppEnv, t Traffic) error

	// Observe tells what is there now. An AppEnv that the target never heard of has a zero Observation.
	Observe(ctx context.Context, ae naru.AppEnv) (Observation, error)

	// Watch returns a channel that gets a value when Observe of some AppEnv may say something new, and the function
	// that ends the watch. A value is a hint to observe, not a count; the caller must also observe now and then.
	Watch() (hint <-chan struct{}, stop func())
}

// Set is a number of interchangeable instances of one service.
type Set struct {
	naru.AppEnv
	Key       naru.SetKey          `json:"key"`
	Release   naru.ReleaseNumber   `json:"release"` // the first that wanted the set
	Service   naru.ReleasedService `json:"service"`
	Variables Variables            `json:"variables,omitempty"` // the whole environment beyond the image's own
	Instances int                  `json:"instances"`
}

// String names the set; without it, the embedded AppEnv's would speak.
func (s Set) String() string { return s.AppEnv.String() + " " + string(s.Key) }

// Variables are the environment that a set's processes get, config and Compose's joined. Values may be secrets: they
// print as their names alone.
type Variables map[string]string

// String lists the names.
func (v Variables) String() string {
	return "[" + strings.Join(slices.Sorted(maps.Keys(v)), " ") + "]"
}

// Format prints the names whatever the verb, so that no %v or %#v of a Set shows a secret.
func (v Variables) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(v.String())) }

// LogValue logs the names.
func (v Variables) LogValue() slog.Value { return slog.StringValue(v.String()) }

// Traffic says who gets the requests of an AppEnv.
type Traffic struct {
	Services map[naru.ServiceName][]Weight `json:"services,omitempty"` // a service without an entry gets none
	Routes   []RouteRule                   `json:"routes,omitempty"`   // from outside; sorted by host, then path
}

// Weight is a set's share of its service's traffic: Weight over the sum of the weights of the service's sets that have
// a ready instance.
type Weight struct {
	Set     naru.SetKey        `json:"set"`
	Release naru.ReleaseNumber `json:"release"` // that the traffic is counted for
	Weight  int                `json:"weight"`  // above 0
}

// RouteRule leads requests of a host and path prefix to a service.
type RouteRule struct {
	Host    string           `json:"host"`
	Path    string           `json:"path"` // prefix on segment borders; "/" matches all
	Service naru.ServiceName `json:"service"`
}

// Equal reports whether both lead every request to the same place.
func (t Traffic) Equal(o Traffic) bool {
	return slices.Equal(t.Routes, o.Routes) && maps.EqualFunc(t.Services, o.Services, slices.Equal)
}

// Weighs reports whether some traffic is meant for the set.
func (t Traffic) Weighs(key naru.SetKey) bool {
	for _, weights := range t.Services {
		if slices.ContainsFunc(weights, func(w Weight) bool { return w.Set == key }) {
			return true
		}
	}
	return false
}

// Observation is what a target knows of an AppEnv at one moment.
type Observation struct {
	Sets    []SetStatus `json:"sets"`    // sorted by key
	Traffic Traffic     `json:"traffic"` // as last set
}

// Set finds a set by key.
func (o Observation) Set(key naru.SetKey) (SetStatus, bool) {
	i := slices.IndexFunc(o.Sets, func(s SetStatus) bool { return s.Key == key })
	if i < 0 {
		return SetStatus{}, false
	}
	return o.Sets[i], true
}

// LogTail is how many lines of output explain a failure.
const LogTail = 20

// SetStatus is how a set stands.
type SetStatus struct {
	Key       naru.SetKey        `json:"key"`
	Service   naru.ServiceName   `json:"service"`
	Release   naru.ReleaseNumber `json:"release"` // of the Apply that made it
	Wanted    int                `json:"wanted"`  // instances, as last applied; 0 while Removing
	Ready     int                `json:"ready"`   // instances that may get traffic; may exceed Wanted while scaling down
	Removing  bool               `json:"removing,omitempty"`
	Instances []naru.Instance    `json:"instances,omitempty"` // sorted by id; stopping ones too

	// Failure says, for people, why the set cannot become ready: its image is missing, an instance that was never ready
	// exits again and again, its health check never passes. The target goes on trying; Failure is cleared when it
	// succeeds. Slowness alone is no failure: how long to wait is the caller's to decide. A set that was ready
	// once and now has trouble is not failed but has fewer Ready.
	Failure string `json:"failure,omitempty"`

	// LogLines is the last output, at most LogTail lines, oldest first, of the instance that failed last, or else of
	// one that is not ready; empty when nothing was printed, and always empty while the set IsReady.
	LogLines []string `json:"log_lines,omitempty"`
}

// IsReady reports whether the set has at least the instances that were asked for, all fit for traffic.
func (s SetStatus) IsReady() bool { return !s.Removing && s.Failure == "" && s.Ready >= s.Wanted }
