package forward

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// otlp posts batches to an OpenTelemetry collector: OTLP/HTTP, in the JSON encoding of opentelemetry-proto's
// ExportLogsServiceRequest.
type otlp struct {
	url    string
	client *http.Client
}

func newOTLP(url string) *otlp {
	return &otlp{url: url, client: &http.Client{Timeout: sendTimeout}}
}

// Send implements Receiver. Only what the collector calls malformed or too large is given up: whatever else it says may
// be about the collector, and the lines wait on disk.
func (o *otlp) Send(ctx context.Context, from Source, batch []Message) error {
	body, err := json.Marshal(request(from, batch))
	if err != nil {
		return &Refused{Messages: len(batch), Err: fmt.Errorf("encode logs: %w", err)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("send logs: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := o.client.Do(req)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	_ = resp.Body.Close() // all that matters is read
	if err != nil {
		return fmt.Errorf("read the answer of %s: %w", o.url, err)
	}
	return verdict(resp, answer, len(batch))
}

// verdict is what an answer means for a batch.
func verdict(resp *http.Response, answer []byte, messages int) error {
	err := fmt.Errorf("POST %s answered %s", resp.Request.URL, resp.Status)
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return partial(answer)
	case resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusRequestEntityTooLarge:
		return &Refused{Messages: messages, Err: err}
	}
	return &Busy{After: retryAfter(resp.Header.Get("Retry-After"), time.Now()), Err: err}
}

// partial is a Refused when the collector took a batch but for some messages.
func partial(answer []byte) error {
	var r struct {
		PartialSuccess struct {
			Rejected json.Number `json:"rejectedLogRecords"`
			Message  string      `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
	if json.Unmarshal(answer, &r) != nil {
		return nil // it need not say anything
	}
	n, err := strconv.Atoi(r.PartialSuccess.Rejected.String())
	if err != nil || n <= 0 {
		return nil
	}
	return &Refused{Messages: n, Err: fmt.Errorf("the collector rejects %d records: %s", n, r.PartialSuccess.Message)}
}

// longestRetryAfter bounds what a receiver can ask for.
const longestRetryAfter = 5 * time.Minute

// retryAfter reads the header: seconds, or a date; zero when it says nothing.
func retryAfter(text string, now time.Time) time.Duration {
	var d time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 16); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), longestRetryAfter)
}

// The JSON encoding, as far as it is used.
type (
	otlpRequest struct {
		ResourceLogs []resourceLogs `json:"resourceLogs"`
	}
	resourceLogs struct {
		Resource  resource    `json:"resource"`
		ScopeLogs []scopeLogs `json:"scopeLogs"`
	}
	resource struct {
		Attributes []keyValue `json:"attributes"`
	}
	scopeLogs struct {
		Scope      scope       `json:"scope"`
		LogRecords []logRecord `json:"logRecords"`
	}
	scope struct {
		Name string `json:"name"`
	}
	logRecord struct {
		Time       int64      `json:"timeUnixNano,string"`
		Observed   int64      `json:"observedTimeUnixNano,string"`
		Body       anyValue   `json:"body"`
		Attributes []keyValue `json:"attributes"`
	}
	keyValue struct {
		Key   string   `json:"key"`
		Value anyValue `json:"value"`
	}
	anyValue struct {
		String *string `json:"stringValue,omitempty"`
		Int    *uint64 `json:"intValue,omitempty,string"`
		Bytes  []byte  `json:"bytesValue,omitempty"`
	}
)

// request names attributes by OpenTelemetry's semantic conventions, where there is a name.
func request(from Source, batch []Message) otlpRequest {
	r := resource{Attributes: []keyValue{
		{"service.name", textValue(from.Name)}, {"container.id", textValue(from.ID)},
		{"container.name", textValue(from.Name)}, {"container.image.name", textValue(from.Image)},
	}}
	for _, key := range slices.Sorted(maps.Keys(from.Labels)) {
		r.Attributes = append(r.Attributes, keyValue{"container.label." + key, textValue(from.Labels[key])})
	}
	records := make([]logRecord, len(batch))
	for i, m := range batch {
		records[i] = record(m)
	}
	return otlpRequest{[]resourceLogs{{Resource: r, ScopeLogs: []scopeLogs{{Scope: scope{"naru"}, LogRecords: records}}}}}
}

func record(m Message) logRecord {
	r := logRecord{Time: m.Time.UnixNano(), Observed: m.Time.UnixNano(), Body: bytesValue(m.text())}
	r.Attributes = []keyValue{{"log.iostream", textValue(m.Stream.String())}}
	if m.Dropped > 0 {
		r.Attributes = []keyValue{{"naru.dropped_lines", anyValue{Int: &m.Dropped}}}
	}
	return r
}

func textValue(s string) anyValue { return anyValue{String: &s} }

// bytesValue is text where it can be.
func bytesValue(b []byte) anyValue {
	if utf8.Valid(b) {
		return textValue(string(b))
	}
	return anyValue{Bytes: b}
}
