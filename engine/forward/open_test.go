package forward

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"naru/engine/logs"
	"naru/naru"
)

func TestDestinations(t *testing.T) {
	for destination, want := range map[string]string{
		"syslog+unix:///dev/log":             "unixgram /dev/log",
		"syslog+udp://log.example":           "udp log.example:514",
		"syslog+tcp://[::1]":                 "tcp [::1]:601",
		"syslog+tcp://127.0.0.1:5000/":       "tcp 127.0.0.1:5000",
		"syslog+tcp://log.example:":          "tcp log.example:601",
		"otlp+http://collector":              "http://collector:4318/v1/logs",
		"otlp+https://collector:443/in/logs": "https://collector:443/in/logs",
		"stdout":                             "lines",
	} {
		r, err := Open(destination, new(bytes.Buffer))
		if err != nil || describe(r) != want {
			t.Errorf("%s: %v, %v", destination, err, r)
		}
	}
	for _, wrong := range []string{"", "stderr", "syslog", "syslog://x", "syslog+unix://host/log", "syslog+tcp://", "syslog+tcp://h/path", "otlp://h", "otlp+http://", "otlp+http://user:secret@h", "otlp+http://h?q=1", "http://h", "%", "syslog+tcp://h:99999", "syslog+udp://h:0"} {
		if r, err := Open(wrong, nil); naru.CodeOf(err) != naru.InvalidArgument {
			t.Errorf("%q: %v, %v", wrong, r, err)
		}
	}
}

// FuzzOpen: a destination is refused, or it has an address that can be connected to.
func FuzzOpen(f *testing.F) {
	for _, s := range []string{"stdout", "syslog+unix:///dev/log", "syslog+udp://log.example", "syslog+tcp://[::1]:5", "otlp+https://collector:443/in/logs"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, destination string) {
		r, err := Open(destination, io.Discard)
		if err != nil {
			if naru.CodeOf(err) != naru.InvalidArgument {
				t.Errorf("%q: %v", destination, err)
			}
			return
		}
		address := ""
		switch r := r.(type) {
		case *syslog:
			if address = r.address; r.network == "unixgram" {
				return
			}
		case *otlp:
			u, err := url.Parse(r.url)
			if err != nil || u.Path == "" {
				t.Fatalf("%q posts to %q: %v", destination, r.url, err)
			}
			address = u.Host
		default:
			return
		}
		host, port, err := net.SplitHostPort(address)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || n == 0 || host == "" {
			t.Errorf("%q leads to %q: %v", destination, address, err)
		}
	})
}

func describe(r Receiver) string {
	switch r := r.(type) {
	case *syslog:
		return r.network + " " + r.address
	case *otlp:
		return r.url
	}
	return "lines"
}

func TestLinesOfJSON(t *testing.T) {
	var out bytes.Buffer
	r, err := Open("stdout", &out)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(1, 5).UTC()
	err = r.Send(t.Context(), Source{ID: "0123", Name: "web"}, []Message{
		{Time: at, Stream: logs.Stdout, Text: []byte("a \"line\"")}, {Time: at, Stream: logs.Stderr}, {Time: at, Stream: logs.Stdout, Text: []byte("\xff\n")},
		{Time: at, Stream: logs.Stderr, Dropped: 7},
	})
	want := `{"time":"1970-01-01T00:00:01.000000005Z","container":"web","id":"0123","stream":"stdout","text":"a \"line\""}
{"time":"1970-01-01T00:00:01.000000005Z","container":"web","id":"0123","stream":"stderr","text":""}
{"time":"1970-01-01T00:00:01.000000005Z","container":"web","id":"0123","stream":"stdout","bytes":"/wo="}
{"time":"1970-01-01T00:00:01.000000005Z","container":"web","id":"0123","stream":"stderr","text":"naru: 7 lines were dropped here","dropped":7}
`
	if diff := cmp.Diff(want, out.String()); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestWhenABusyReceiverWantsToBeAskedAgain(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "3": 3 * time.Second, "x": 0, "-1": 0, "99999": 0, "60000": longestRetryAfter,
		now.Add(20 * time.Second).Format(http.TimeFormat): 20 * time.Second, now.Add(-time.Hour).Format(http.TimeFormat): 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

// FuzzVerdict reads any answer of a collector: it never takes a batch for delivered that was not, and never waits for
// long.
func FuzzVerdict(f *testing.F) {
	f.Add(200, "", []byte(`{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"no"}}`))
	f.Add(200, "", []byte(`{"partialSuccess":{"rejectedLogRecords":-3}}`))
	f.Add(503, "120", []byte("busy"))
	f.Add(429, "Fri, 31 Dec 9999 23:59:59 GMT", []byte{})
	f.Fuzz(func(t *testing.T, status int, header string, body []byte) {
		resp := &http.Response{StatusCode: status, Header: http.Header{"Retry-After": {header}}, Request: &http.Request{URL: &url.URL{Host: "h"}}}
		err := verdict(resp, body, 5)
		if (status < 200 || status > 299) && err == nil {
			t.Fatal("a failure is taken for a success")
		}
		if d := after(err); d < 0 || d > longestRetryAfter {
			t.Fatalf("it waits %v", d)
		}
	})
}

func TestTheJSONOfACollector(t *testing.T) {
	b, err := json.Marshal(request(Source{ID: "1", Name: "a", Labels: map[string]string{"k": "v"}}, []Message{{Time: time.Unix(2, 3), Stream: logs.Stderr, Text: []byte("x")}}))
	want := `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"a"}},{"key":"container.id","value":{"stringValue":"1"}},` +
		`{"key":"container.name","value":{"stringValue":"a"}},{"key":"container.image.name","value":{"stringValue":""}},{"key":"container.label.k","value":{"stringValue":"v"}}]},` +
		`"scopeLogs":[{"scope":{"name":"naru"},"logRecords":[{"timeUnixNano":"2000000003","observedTimeUnixNano":"2000000003","body":{"stringValue":"x"},` +
		`"attributes":[{"key":"log.iostream","value":{"stringValue":"stderr"}}]}]}]}]}`
	if diff := cmp.Diff(want, string(b)); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
