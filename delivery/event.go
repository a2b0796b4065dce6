package delivery

import (
	"time"

	"naru/naru"
)

// Event is one thing that happened on the way of a change; exactly one of its fields is set. Events are values for
// people and programs to watch, never the truth: that is in the tables.
type Event struct {
	Build   *BuildProgress `json:"build,omitempty"`
	Image   *ImageChosen   `json:"image,omitempty"`
	Release *ReleaseMinted `json:"release,omitempty"`
	Rollout *naru.Rollout  `json:"rollout,omitempty"` // each time its state or step changed
	Scaled  *Scaled        `json:"scaled,omitempty"`
	Done    *Result        `json:"done,omitempty"` // the last event of a change that succeeded
}

// BuildProgress tells of one step of a build.
type BuildProgress struct {
	Services []naru.ServiceName `json:"services"` // that the image is for
	Step     string             `json:"step"`     // identifies the step within the build
	Name     string             `json:"name,omitempty"`
	State    StepState          `json:"state,omitempty"` // empty: only output
	Took     time.Duration      `json:"took,omitempty"`
	Output   []byte             `json:"output,omitempty"`
	Error    string             `json:"error,omitempty"`
}

// StepState is where a step of a build stands.
type StepState string

// The states of a step.
const (
	StepStarted StepState = "started"
	StepCached  StepState = "cached" // nothing to do: its result was there
	StepDone    StepState = "done"
	StepFailed  StepState = "failed"
)

// ImageChosen tells which image a service will run.
type ImageChosen struct {
	Service naru.ServiceName `json:"service"`
	Digest  naru.Digest      `json:"digest"`
	Built   bool             `json:"built"` // made from the folder, not found by its name
}

// ReleaseMinted tells of the release that a change led to.
type ReleaseMinted struct {
	Number  naru.ReleaseNumber `json:"number"`
	Reason  string             `json:"reason"`
	Rolling bool               `json:"rolling"` // false: it serves already
}

// Scaled tells how far a service is on its way to a number of instances.
type Scaled struct {
	Service naru.ServiceName `json:"service"`
	Ready   int              `json:"ready"`
	Wanted  int              `json:"wanted"`
}

// Change is what a request changed.
type Change string

// The changes.
const (
	ChangeRelease Change = "release" // another release serves
	ChangeScale   Change = "scale"
	ChangeConfig  Change = "config" // of an app that is not up: it waits for the next release
	ChangeDown    Change = "down"
)

// Result is how a change ended.
type Result struct {
	Change    Change             `json:"change"`
	Release   naru.ReleaseNumber `json:"release"`
	Unchanged bool               `json:"unchanged,omitempty"` // there was nothing to do
	Detached  bool               `json:"detached,omitempty"`  // the rollout goes on without the caller
	URLs      []string           `json:"urls,omitempty"`
}
