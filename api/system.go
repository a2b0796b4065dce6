package api

import "time"

// EngineEvent is a change that has happened in the engine; kinds and actions are named as docker's.
type EngineEvent struct {
	Time       time.Time         `json:"time"`
	Kind       string            `json:"kind"`
	Action     string            `json:"action"`
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

// Finding is something that belongs to nothing.
type Finding struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

// FsckReport answers POST /v1/system/fsck.
type FsckReport struct {
	Found    []Finding `json:"found"`
	Repaired bool      `json:"repaired,omitempty"` // what was found is gone
}

// DiskUse is what the things of one kind take on disk.
type DiskUse struct {
	Kind   string `json:"kind"`
	Count  int    `json:"count"`
	Active int    `json:"active"` // in use
	Bytes  int64  `json:"bytes"`
}
