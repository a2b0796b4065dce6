package builder

import (
	"strings"
	"testing"
	"time"

	"naru/naru"
)

func TestFailures(t *testing.T) {
	w := newWorld(t)
	w.busybox(t)
	for name, c := range map[string]struct {
		dockerfile string
		spec       naru.BuildSpec
		code       naru.Code
		want       []string
	}{
		"failing step": {"FROM busybox\n\nRUN seq 30 && false\n", naru.BuildSpec{}, naru.Failed,
			[]string{"Dockerfile:3: RUN seq 30 && false: exit status 1, last output:", "\n  11\n", "\n  30"}},
		"silent step":         {"FROM busybox\nRUN false\n", naru.BuildSpec{}, naru.Failed, []string{"exit status 1, without output"}},
		"unknown instruction": {"FROM busybox\nRUNN x\n", naru.BuildSpec{}, naru.InvalidArgument, []string{"Dockerfile:2: ", "unknown instruction: RUNN", "did you mean RUN"}},
		"missing file":        {"FROM busybox\nCOPY nosuch /x\n", naru.BuildSpec{}, naru.InvalidArgument, []string{`web: COPY nosuch /x: "/nosuch": not found`}},
		"unknown stage":       {"FROM busybox AS a\n", naru.BuildSpec{Target: "b"}, naru.InvalidArgument, []string{`target stage "b" could not be found`}},
		"unknown user":        {"FROM busybox\nUSER nosuch\nRUN true\n", naru.BuildSpec{}, naru.InvalidArgument, []string{"Dockerfile:3: RUN true", "USER nosuch"}},
		"unknown image":       {"FROM localhost:1/nosuch\n", naru.BuildSpec{}, naru.NotFound, []string{"Dockerfile:1: image localhost:1/nosuch:latest is neither on this machine nor can it be fetched", "imported"}},
		"frontend by syntax line is not pulled": {"# syntax=localhost:1/frontend\nFROM nosuch.invalid/x\n", naru.BuildSpec{}, naru.NotFound,
			[]string{"Dockerfile:2: image nosuch.invalid/x:latest is neither"}},
		"empty":              {"", naru.BuildSpec{}, naru.InvalidArgument, []string{"Dockerfile", "empty"}},
		"missing Dockerfile": {"FROM busybox\n", naru.BuildSpec{Dockerfile: "deploy/Other"}, naru.InvalidArgument, []string{"there is no deploy/Other"}},
		"missing folder":     {"FROM busybox\n", naru.BuildSpec{Context: "nosuch"}, naru.InvalidArgument, []string{`there is no folder "nosuch"`}},
		"outside":            {"FROM busybox\n", naru.BuildSpec{Context: ".."}, naru.InvalidArgument, []string{"outside of the app's folder"}},
		"host network":       {"FROM busybox\nRUN --network=host true\n", naru.BuildSpec{}, naru.InvalidArgument, []string{"network.host is not allowed"}},
	} {
		t.Run(name, func(t *testing.T) {
			w.write(t, "Dockerfile", c.dockerfile)
			w.write(t, "deploy/README", "")
			_, err := w.build(t.Context(), request("web", c.spec), nil)
			if err == nil {
				t.Fatal("no error")
			}
			t.Logf("%s: %v", naru.CodeOf(err), err)
			if naru.CodeOf(err) != c.code {
				t.Errorf("code %s, want %s", naru.CodeOf(err), c.code)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in the error", want)
				}
			}
			if strings.Contains(err.Error(), "\n  10\n") {
				t.Error("more than 20 lines of output")
			}
			list := w.builds(t, request("web", c.spec).AppEnv)
			if list[0].State != naru.BuildFailed || list[0].Error != err.Error() || list[0].EndedAt.IsZero() {
				t.Errorf("rows %+v", list)
			}
		})
	}
}

func TestBuildWithoutSession(t *testing.T) {
	w := newWorld(t)
	req := request("web", naru.BuildSpec{})
	req.SessionID = "nosuch"
	t0 := time.Now()
	_, err := w.Build(t.Context(), req, nil)
	if naru.CodeOf(err) != naru.FailedPrecondition {
		t.Errorf("after %v: %v", time.Since(t0), err)
	}
}
