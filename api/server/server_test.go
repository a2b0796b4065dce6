package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"naru/api"
	"naru/api/client"
	"naru/api/server"
	"naru/delivery"
	"naru/naru"
)

var guestbook = naru.AppEnv{App: "guestbook", Environment: naru.Production}

func TestVersionTellsWhoAnswers(t *testing.T) {
	c, _ := start(t, &fake{})
	v, err := c.Version(t.Context())
	if err != nil || v.Version != "test" || v.API != api.Version || v.PID == 0 {
		t.Fatalf("%+v, %v", v, err)
	}
}

// raw sends a request as the bytes say and returns status and body.
func raw(t *testing.T, socket, method, path, header, body string) (int, string) {
	t.Helper()
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://naru"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if k, v, ok := strings.Cut(header, ": "); ok {
		r.Header.Set(k, v)
	}
	resp, err := hc.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(b))
}

func TestWrongRequestsAreRefusedWithTheReason(t *testing.T) {
	_, socket := start(t, &fake{})
	for name, tt := range map[string]struct {
		method, path, header, body string
		status                     int
		says                       string
	}{
		"unknown field":    {"POST", "/v1/apps/a/up", "", `{"spec":{},"sesion":"x"}`, 400, `unknown field \"sesion\"`},
		"no JSON":          {"POST", "/v1/apps/a/scale", "", `web=3`, 400, "invalid character"},
		"empty body":       {"POST", "/v1/apps/a/scale", "", ``, 400, "empty"},
		"two values":       {"POST", "/v1/apps/a/scale", "", `{"services":{"web":1}}{}`, 400, "follows"},
		"too long":         {"POST", "/v1/apps/a/scale", "", `{"services":{"` + strings.Repeat("x", 5<<20) + `":1}}`, 400, "longer than"},
		"negative scale":   {"POST", "/v1/apps/a/scale", "", `{"services":{"web":-1}}`, 400, "0 or more"},
		"app name":         {"GET", "/v1/apps/No_Label/instances", "", "", 400, "DNS label"},
		"environment name": {"GET", "/v1/apps/a/instances?environment=B!", "", "", 400, "DNS label"},
		"unknown path":     {"GET", "/v1/pods", "", "", 404, "the API has no GET /v1/pods"},
		"other version":    {"GET", "/v1/version", "Naru-Api-Version: 99", "", 412, "speaks API version 99"},
		"no upgrade":       {"POST", "/v1/session", "", "", 400, "upgraded to naru-session"},
		"tail":             {"GET", "/v1/apps/a/logs?tail=x", "", "", 400, "not a number"},
		"import type":      {"POST", "/v1/images/import", "", "x", 400, "application/x-tar"},
		"nothing to set":   {"PATCH", "/v1/apps/a/config", "", `{}`, 400, "nothing to set"},
		"no command":       {"POST", "/v1/containers/x/exec", "", `{"command":[]}`, 400, "no command"},
	} {
		t.Run(name, func(t *testing.T) {
			status, body := raw(t, socket, tt.method, tt.path, tt.header, tt.body)
			if status != tt.status || !strings.Contains(body, tt.says) || !strings.Contains(body, `"code":`) {
				t.Errorf("got %d %s\nwant %d with %q", status, body, tt.status, tt.says)
			}
		})
	}
}

func TestErrorsKeepCodeAndMessageOnTheWay(t *testing.T) {
	for _, code := range []naru.Code{naru.InvalidArgument, naru.NotFound, naru.Conflict, naru.FailedPrecondition, naru.Failed,
		naru.Unavailable, naru.PermissionDenied, naru.Unimplemented, naru.Internal} {
		c, _ := start(t, &fake{err: fmt.Errorf("look: %w", naru.Errorf(code, "reason"))})
		_, err := c.Apps(t.Context())
		if naru.CodeOf(err) != code || err.Error() != "look: reason" {
			t.Errorf("%s became %s: %v", code, naru.CodeOf(err), err)
		}
		if api.CodeOfStatus(api.Status(code)) != code {
			t.Errorf("%s has not a status of its own", code)
		}
	}
}

func TestUpPassesEventsAndTheirEnd(t *testing.T) {
	spec := naru.AppSpec{App: "guestbook", Services: []naru.ServiceSpec{{Name: "web", Image: "x", Scale: 1}}}
	done := delivery.Event{Done: &delivery.Result{Release: 3, URLs: []string{"http://guestbook.localhost"}}}
	f := &fake{events: []delivery.Event{{Release: &delivery.ReleaseMinted{Number: 3, Rolling: true}}, done}}
	c, _ := start(t, f)
	var got []delivery.Event
	err := c.Up(t.Context(), guestbook, api.UpRequest{Spec: spec}, func(e delivery.Event) { got = append(got, e) })
	if err != nil || len(got) != 2 || got[1].Done.Release != 3 || f.up.Reason != "up" || f.up.Spec.Services[0].Name != "web" {
		t.Fatalf("events %+v, up %+v, err %v", got, f.up, err)
	}
}

func TestUpFailsBeforeAndAfterTheFirstEvent(t *testing.T) {
	boom := naru.Errorf(naru.Failed, "release v3 failed")
	for _, events := range [][]delivery.Event{nil, {{Release: &delivery.ReleaseMinted{Number: 3}}}} {
		c, _ := start(t, &fake{events: events, eventsErr: boom})
		n := 0
		err := c.Up(t.Context(), guestbook, api.UpRequest{}, func(delivery.Event) { n++ })
		if naru.CodeOf(err) != naru.Failed || err.Error() != boom.Error() || n != len(events) {
			t.Errorf("after %d events: %v", n, err)
		}
	}
}

func TestAStreamCutShortIsTheDaemonGone(t *testing.T) {
	c, _ := start(t, &fake{events: []delivery.Event{{Release: &delivery.ReleaseMinted{Number: 3}}}})
	err := c.Up(t.Context(), guestbook, api.UpRequest{}, func(delivery.Event) {})
	if naru.CodeOf(err) != naru.Unavailable {
		t.Fatalf("got %v", err)
	}
}

func TestNoDaemon(t *testing.T) {
	c, err := client.New(t.TempDir() + "/naru.sock")
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Apps(t.Context())
	var u *client.Unreachable
	if !errors.As(err, &u) || !strings.Contains(err.Error(), "naru server") {
		t.Fatalf("got %v", err)
	}
	_, err = c.Session(t.Context())
	if !errors.As(err, &u) {
		t.Fatalf("got %v", err)
	}
}

func TestHosts(t *testing.T) {
	for host, ok := range map[string]bool{"unix:///run/naru/naru.sock": true, "/run/naru.sock": true, "http://10.0.0.1:7070": true,
		"http://naru": false, "tcp://1.2.3.4:5": false, "naru.sock": false, "": false, "unix://relative": false} {
		if _, err := client.New(host); (err == nil) != ok {
			t.Errorf("%q: %v", host, err)
		}
	}
}

// echo copies standard input to standard output, says bye on standard error, and exits with 7.
func echo(_ context.Context, st server.Streams) (int, error) {
	if _, err := io.Copy(st.Stdout, st.Stdin); err != nil {
		return 0, err
	}
	_, err := io.WriteString(st.Stderr, "bye")
	return 7, err
}

func TestExecCarriesStreamsAndExitStatus(t *testing.T) {
	f := &fake{exec: func(ctx context.Context, _ api.ExecRequest, st server.Streams) (int, error) { return echo(ctx, st) },
		instances: func() []naru.Instance {
			return []naru.Instance{{ID: "1", Service: "web", State: naru.InstanceReady}}
		}}
	c, _ := start(t, f)
	in := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // several frames
	var out, errOut bytes.Buffer
	code, err := c.Exec(t.Context(), guestbook, api.ExecRequest{Service: "web", Command: []string{"cat"}},
		client.Streams{Stdin: bytes.NewReader(in), Stdout: &out, Stderr: &errOut})
	if err != nil || code != 7 || !bytes.Equal(out.Bytes(), in) || errOut.String() != "bye" {
		t.Fatalf("code %d, err %v, %d bytes of %d, stderr %q", code, err, out.Len(), len(in), errOut.String())
	}
	if _, err := c.Exec(t.Context(), guestbook, api.ExecRequest{Service: "db", Command: []string{"x"}}, client.Streams{}); naru.CodeOf(err) != naru.NotFound {
		t.Fatalf("a service that does not run: %v", err)
	}
}

// notFound is an error with the exit code of a program that is not there.
type notFound struct{ error }

func (notFound) ExitCode() int   { return 127 }
func (e notFound) Unwrap() error { return e.error }

func TestRunContainerFailures(t *testing.T) {
	cause := fmt.Errorf("start: %w", notFound{naru.Errorf(naru.Failed, `exec "foo": no such file`)})
	f := &fake{startErr: cause, attached: func(context.Context, server.Streams) (int, error) { return 0, cause }}
	c, _ := start(t, f)
	_, err := c.RunContainer(t.Context(), api.ContainerRun{Spec: api.ContainerSpec{Image: "missing"}}, client.Streams{})
	if naru.CodeOf(err) != naru.NotFound {
		t.Errorf("image: %v", err)
	}
	spec := api.ContainerSpec{Image: "busybox", AutoRemove: true}
	_, err = c.RunContainer(t.Context(), api.ContainerRun{Spec: spec}, client.Streams{})
	var answered *api.Error
	if !errors.As(err, &answered) || answered.ExitCode != 127 || answered.Code != naru.Failed {
		t.Errorf("program: %#v", err)
	}
	if _, err = c.StartContainer(t.Context(), spec); !errors.As(err, &answered) || answered.ExitCode != 127 {
		t.Errorf("program, detached: %#v", err)
	}
}

func TestSignalsAndSizesReachAContainer(t *testing.T) {
	f := &fake{signals: make(chan string, 1)}
	sizes := make(chan api.Size, 1)
	f.attached = func(ctx context.Context, st server.Streams) (int, error) {
		first, second := <-st.Resize, api.Size{}
		for second = range st.Resize {
			break
		}
		sizes <- second
		<-f.signals
		return int(first.Rows), nil
	}
	c, _ := start(t, f)
	resize, signals := make(chan api.Size), make(chan string)
	go func() {
		resize <- api.Size{Rows: 40, Columns: 100}
		if got := <-sizes; got.Rows != 40 {
			t.Errorf("size %+v", got)
		}
		signals <- "SIGINT"
	}()
	code, err := c.RunContainer(t.Context(), api.ContainerRun{Size: &api.Size{Rows: 24, Columns: 80}},
		client.Streams{Stdout: io.Discard, Stderr: io.Discard, Resize: resize, Signals: signals})
	if err != nil || code != 24 {
		t.Fatalf("%d, %v", code, err)
	}
}

func TestAClientThatLeavesEndsItsExec(t *testing.T) {
	began, ended := make(chan struct{}), make(chan struct{})
	c, _ := start(t, &fake{exec: func(ctx context.Context, _ api.ExecRequest, _ server.Streams) (int, error) {
		close(began)
		<-ctx.Done()
		close(ended)
		return 0, ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-began
		cancel()
	}()
	if _, err := c.ExecContainer(ctx, "x", api.ExecRequest{Command: []string{"sleep"}}, client.Streams{}); err == nil {
		t.Error("no error")
	}
	<-ended
}

func TestInputThatNobodyReadsDoesNotHoldUpTheEnd(t *testing.T) {
	c, _ := start(t, &fake{exec: func(context.Context, api.ExecRequest, server.Streams) (int, error) { return 3, nil }})
	code, err := c.ExecContainer(t.Context(), "x", api.ExecRequest{Command: []string{"true"}},
		client.Streams{Stdin: endless{}, Stdout: io.Discard, Stderr: io.Discard})
	if code != 3 || err != nil {
		t.Fatalf("%d, %v", code, err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestSessionIsABareConnection(t *testing.T) {
	c, _ := start(t, &fake{})
	conn, err := c.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(conn, b); err != nil || string(b) != "hello" {
		t.Fatalf("%q, %v", b, err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestServerEndsWithStreamsOpen(t *testing.T) {
	f := &fake{followed: make(chan string, 1)}
	c, _ := start(t, f)
	conn, err := c.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // after the server: it must not wait for this
	failed := make(chan error, 1)
	go func() {
		failed <- c.ContainerLogs(t.Context(), "x", api.LogOptions{Follow: true}, func(api.LogEntry) error { return nil })
	}()
	<-f.followed
	t.Cleanup(func() { <-failed })
}

func at(second int) time.Time { return time.Unix(int64(second), 0).UTC() }

func TestLogsOfAnAppAreMergedByTime(t *testing.T) {
	f := &fake{
		instances: func() []naru.Instance {
			return []naru.Instance{{ID: "1", Service: "web"}, {ID: "2", Service: "worker"}, {ID: "3", Service: "db"}}
		},
		logs: map[string][]api.LogEntry{
			"1": {{Time: at(1), Data: []byte("a")}, {Time: at(4), Data: []byte("d")}},
			"2": {{Time: at(2), Data: []byte("b")}, {Time: at(3), Data: []byte("c")}, {Time: at(5), Data: []byte("e")}},
		},
	}
	c, _ := start(t, f)
	for service, want := range map[naru.ServiceName]string{"": "a@web b@worker c@worker d@web e@worker", "web": "a@web d@web", "none": ""} {
		var got []string
		err := c.AppLogs(t.Context(), guestbook, api.LogOptions{Tail: -1, Service: service}, func(e api.LogEntry) error {
			got = append(got, string(e.Data)+"@"+string(e.Service))
			return nil
		})
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%q: %v, %v", service, got, err)
		}
	}
}

func TestFollowingAnAppFindsNewInstances(t *testing.T) {
	f := &fake{watch: make(chan struct{}, 1), followed: make(chan string, 2),
		logs: map[string][]api.LogEntry{"1": {{Data: []byte("old")}}, "2": {{Data: []byte("new")}}}}
	now := make(chan []naru.Instance, 1)
	f.instances = func() []naru.Instance { is := <-now; now <- is; return is }
	now <- []naru.Instance{{ID: "1", Service: "web"}}
	c, _ := start(t, f)
	stop := errors.New("seen")
	err := c.AppLogs(t.Context(), guestbook, api.LogOptions{Follow: true}, func(e api.LogEntry) error {
		if string(e.Data) == "new" {
			return stop
		}
		<-now
		now <- []naru.Instance{{ID: "1", Service: "web"}, {ID: "2", Service: "web"}}
		f.watch <- struct{}{}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
}

func TestContainersAndImages(t *testing.T) {
	f := &fake{}
	c, _ := start(t, f)
	running, err := c.Containers(t.Context(), false)
	all, err2 := c.Containers(t.Context(), true)
	if err := errors.Join(err, err2); err != nil || len(running) != 1 || len(all) != 2 {
		t.Fatalf("%v %v %v", running, all, err)
	}
	one, err := c.Container(t.Context(), "a")
	if err != nil || len(one.Health.Answers) != 1 || running[0].Health.Status != "healthy" || running[0].Health.Answers != nil {
		t.Fatalf("one tells %+v (%v), a list %+v: want all of it, and in a list what counts", one.Health, err, running[0].Health)
	}
	imported, err := c.ImportImage(t.Context(), strings.NewReader("tar"), "busybox")
	if err != nil || imported[0].Names[0] != "busybox" || string(f.tar) != "tar" {
		t.Fatalf("%v %q %v", imported, f.tar, err)
	}
	image, err := c.Image(t.Context(), "registry.example/a/b:1")
	if err != nil || image.Names[0] != "registry.example/a/b:1" {
		t.Fatalf("%v %v", image, err)
	}
	if list, err := c.ImageList(t.Context()); err != nil || list == nil {
		t.Fatalf("an empty list is null: %v", err)
	}
	if err := errors.Join(c.RemoveImage(t.Context(), "x"), c.RemoveContainer(t.Context(), "x", true), c.StopContainer(t.Context(), "x", new(time.Second))); err != nil {
		t.Fatal(err)
	}
}
