package builder

import (
	"strings"
	"time"

	"github.com/moby/buildkit/client"

	"naru/naru"
)

// Progress is news of a build: what changed since the last. It is plain data, so that it can travel as JSON.
type Progress struct {
	Build     naru.BuildID `json:"build"`
	Steps     []StepNews   `json:"steps,omitempty"`
	Transfers []Transfer   `json:"transfers,omitempty"`
	Logs      []LogChunk   `json:"logs,omitempty"`
	Warnings  []Warning    `json:"warnings,omitempty"`
}

// StepNews is where a step of the build stands. A step comes again whenever that changes.
type StepNews struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Inputs    []string  `json:"inputs,omitempty"` // ids of the steps that it needs
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
	Cached    bool      `json:"cached,omitempty"`
	Error     string    `json:"error,omitempty"`
}

// Transfer is how far a part of a step is, such as the files of the folder or a layer from a registry.
type Transfer struct {
	Step      string    `json:"step"`
	ID        string    `json:"id"`
	Name      string    `json:"name,omitempty"`
	Current   int64     `json:"current"`
	Total     int64     `json:"total,omitempty"`
	At        time.Time `json:"at"`
	StartedAt time.Time `json:"started_at,omitzero"`
	EndedAt   time.Time `json:"ended_at,omitzero"`
}

// LogChunk is output of a step, not cut at lines.
type LogChunk struct {
	Step   string    `json:"step"`
	Stream int       `json:"stream"` // 1 stdout, 2 stderr
	Data   []byte    `json:"data"`
	At     time.Time `json:"at"`
}

// Warning is advice on a Dockerfile.
type Warning struct {
	Step    string `json:"step"`
	Message string `json:"message"`
	URL     string `json:"url,omitempty"`
}

func progressOf(id naru.BuildID, s *client.SolveStatus) Progress {
	p := Progress{Build: id}
	for _, v := range s.Vertexes {
		p.Steps = append(p.Steps, stepNews(v))
	}
	for _, t := range s.Statuses {
		p.Transfers = append(p.Transfers, Transfer{Step: string(t.Vertex), ID: plainTransfer(t.ID), Name: t.Name,
			Current: t.Current, Total: t.Total, At: t.Timestamp, StartedAt: timeOf(t.Started), EndedAt: timeOf(t.Completed)})
	}
	for _, l := range s.Logs {
		p.Logs = append(p.Logs, LogChunk{Step: string(l.Vertex), Stream: l.Stream, Data: l.Data, At: l.Timestamp})
	}
	for _, w := range s.Warnings {
		p.Warnings = append(p.Warnings, Warning{Step: string(w.Vertex), Message: string(w.Short), URL: w.URL})
	}
	return p
}

func stepNews(v *client.Vertex) StepNews {
	n := StepNews{ID: string(v.Digest), Name: v.Name, StartedAt: timeOf(v.Started), EndedAt: timeOf(v.Completed), Cached: v.Cached, Error: v.Error}
	for _, in := range v.Inputs {
		n.Inputs = append(n.Inputs, string(in))
	}
	return n
}

// plainTransfer takes the encoded path out of "transferring PATH-context:".
func plainTransfer(id string) string {
	const verb = "transferring "
	name, ok := strings.CutPrefix(id, verb)
	if !ok {
		return id
	}
	if f, err := parseFolder(strings.TrimSuffix(name, ":")); err == nil {
		return verb + f.role + ":"
	}
	return id
}

func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}
