package testkit

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"naru/naru"
)

// JSON runs a command of the command line with --json and reads what it prints into v.
func (d *Daemon) JSON(v any, args ...string) {
	d.t.Helper()
	out := d.OK(append(args, "--json")...)
	if err := json.Unmarshal([]byte(out), v); err != nil {
		d.t.Fatalf("naru %s --json: %v in:\n%s", strings.Join(args, " "), err, out)
	}
}

// App is what `naru apps --json` says of one.
type App struct {
	naru.AppEnv
	Release naru.ReleaseNumber `json:"release"`
	Rollout naru.RolloutState  `json:"rollout"`
	Ready   int                `json:"ready"`
	Wanted  int                `json:"wanted"`
	URLs    []string           `json:"urls"`
}

// Apps are all apps, up or down.
func (d *Daemon) Apps() []App {
	d.t.Helper()
	var apps []App
	d.JSON(&apps, "apps")
	return apps
}

// Releases are an app's, the newest first.
func (d *Daemon) Releases(app string) []naru.Release {
	d.t.Helper()
	var releases []naru.Release
	d.JSON(&releases, "releases", "-a", app)
	return releases
}

// Container is what `naru container ls --json` says of one.
type Container struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	State     string     `json:"state"`
	PID       int        `json:"pid"`
	Addr      netip.Addr `json:"addr"`
	ExitCode  int        `json:"exit_code"`
	OOMKilled bool       `json:"oom_killed"`
	Error     string     `json:"error"` // why it could not be started
}

// Containers are all containers, running or not.
func (d *Daemon) Containers() []Container {
	d.t.Helper()
	var containers []Container
	d.JSON(&containers, "container", "ls", "--all")
	return containers
}

// Instances are those of one service of an app, or of all for service "".
func (d *Daemon) Instances(app string, service naru.ServiceName) []naru.Instance {
	d.t.Helper()
	var all, wanted []naru.Instance
	d.JSON(&all, "ps", app)
	for _, i := range all {
		if service == "" || i.Service == service {
			wanted = append(wanted, i)
		}
	}
	return wanted
}

// Ready waits until exactly n instances of the service are there and ready, and returns them.
func (d *Daemon) Ready(app string, service naru.ServiceName, n int) []naru.Instance {
	d.t.Helper()
	var got []naru.Instance
	Eventually(d.t, startTimeout, fmt.Sprintf("%d ready instances of %s %s", n, app, service), func() error {
		got = d.Instances(app, service)
		return allReady(got, n)
	})
	return got
}

func allReady(instances []naru.Instance, n int) error {
	if len(instances) != n {
		return fmt.Errorf("there are %d: %+v", len(instances), instances)
	}
	for _, i := range instances {
		if i.State != naru.InstanceReady {
			return fmt.Errorf("instance %s is %s (%s)", i.ID, i.State, i.Reason)
		}
	}
	return nil
}

// Dials reports whether a TCP connection to the address can be made.
func Dials(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}
