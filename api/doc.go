// Package api holds what crosses the socket between naru's daemon and its clients: the paths, the JSON of requests and
// answers, the frames of a terminal session, and the translation of error codes to HTTP statuses, which happens here and
// nowhere else. api/server answers with it and api/client asks with it; the nouns are package naru's wherever it has them.
//
// Requests are HTTP/1.1 with JSON bodies; unknown fields are refused. A request that takes a while answers with lines of
// JSON (Event, LogEntry), one a line as things happen. Exec, attach and the build session upgrade the connection: from
// there on it carries Frames, or BuildKit's session protocol.
package api

// Version is the version of this protocol. Both sides send it in VersionHeader; a request of another version is
// refused, because a daemon and a CLI of different age would otherwise misunderstand each other in silence.
const Version = "1"

// VersionHeader carries Version, in requests and answers.
const VersionHeader = "Naru-Api-Version"

// The protocols that a connection can be upgraded to.
const (
	UpgradeFrames  = "naru-frames"  // Frames both ways
	UpgradeSession = "naru-session" // a BuildKit session: gRPC, the daemon being the client of it
)

// Content types of answers.
const (
	TypeJSON  = "application/json"
	TypeLines = "application/x-ndjson" // one JSON value a line
	TypeTar   = "application/x-tar"    // an image archive, in a request
)
