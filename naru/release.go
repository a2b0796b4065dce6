package naru

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"time"
)

// ReleaseNumber counts the releases of an app in an environment from 1; people write it v1.
type ReleaseNumber int

// String is "v" and the number.
func (n ReleaseNumber) String() string { return "v" + strconv.Itoa(int(n)) }

// Config is one version of an app's settings in an environment. Versions count from 1; version 0 is the empty config
// that every app begins with. Values may be secrets: they go to processes and nowhere else.
type Config struct {
	Version   int               `json:"version"`
	Variables map[string]string `json:"variables"`
	CreatedAt time.Time         `json:"created_at"`
}

// Release is immutable: the images, the config version and the specs that ran, or will run, together.
type Release struct {
	AppEnv
	Number        ReleaseNumber     `json:"number"`
	Services      []ReleasedService `json:"services"` // sorted by name
	ConfigVersion int               `json:"config_version"`
	Reason        string            `json:"reason"` // what minted it, for people: "up", "config set X", "rollback to v3"
	CreatedAt     time.Time         `json:"created_at"`
}

// ReleasedService is a service's spec with the image that it resolved to.
type ReleasedService struct {
	ServiceSpec
	ImageDigest Digest `json:"image_digest"`
}

// SameContent reports whether two releases would run the same things, whatever their numbers.
func (r Release) SameContent(o Release) bool {
	return r.AppEnv == o.AppEnv && r.ConfigVersion == o.ConfigVersion &&
		digestJSON(r.Services) == digestJSON(o.Services)
}

// SetKey identifies what an instance of this service runs: instances with equal keys are interchangeable, so that a
// release that leaves a service as it was keeps that service's instances. Scale, routes and rollout strategy are
// not part of it: they do not change the process.
func (s ReleasedService) SetKey(configVersion int) SetKey {
	s.Scale, s.Routes, s.Rollout = 0, nil, RolloutSpec{}
	d := digestJSON(struct {
		Service ReleasedService
		Config  int
	}{s, configVersion})
	return SetKey(string(s.Name) + "-" + d[:12])
}

// SetKey names a set of interchangeable instances within an AppEnv: the service's name and twelve hex digits.
type SetKey string

// digestJSON is the hex SHA-256 of v's JSON, in which encoding/json sorts map keys.
func digestJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("naru: a noun does not marshal: " + err.Error()) // plain data always marshals
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
