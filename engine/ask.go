package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"naru/naru"
)

// HealthAnswer is what came of asking a container once whether it is well.
type HealthAnswer struct {
	Start    time.Time `json:"start"`
	End      time.Time `json:"end"`
	ExitCode int       `json:"exit_code"` // 0: it is well; of a command its status, else 1; -1: no answer in time
	Output   string    `json:"output"`    // the beginning of what the command said, or why there is no good answer
}

// maxAnswer is how much of what a command says is kept.
const maxAnswer = 4 << 10

// Err is nil when the container is well, and says otherwise why not.
func (a HealthAnswer) Err() error {
	switch {
	case a.ExitCode == 0:
		return nil
	case a.Output == "":
		return fmt.Errorf("its health check exited with status %d", a.ExitCode)
	}
	return errors.New(strings.TrimSpace(a.Output))
}

// Ask asks a running container once how it is, within the check's timeout.
func (e *Engine) Ask(ctx context.Context, idOrName string, check naru.HealthCheck) HealthAnswer {
	asking, cancel := context.WithTimeout(ctx, check.Timeout)
	defer cancel()
	a := HealthAnswer{Start: time.Now()} // not in UTC, which would lose the time that nobody sets
	if len(check.Command) > 0 {
		a.ExitCode, a.Output = e.askCommand(asking, idOrName, check.Command)
	} else if err := e.askNetwork(asking, idOrName, check); err != nil {
		a.ExitCode, a.Output = 1, err.Error()
	}
	if a.ExitCode != 0 && errors.Is(asking.Err(), context.DeadlineExceeded) {
		a.ExitCode, a.Output = -1, strings.TrimSpace(fmt.Sprintf("no answer within %v\n%s", check.Timeout, a.Output))
	}
	a.End = time.Now()
	return a
}

// askCommand gives the command's status and output; of one that could not be executed the status that a shell would
// give, and why.
func (e *Engine) askCommand(ctx context.Context, idOrName string, command []string) (code int, output string) {
	said := &beginning{}
	code, err := e.Exec(ctx, idOrName, ExecSpec{Command: command}, Streams{Stdout: said, Stderr: said})
	switch {
	case err != nil && ctx.Err() != nil:
		return 1, said.String()
	case err != nil:
		return startExitCode(err), err.Error()
	}
	return code, said.String()
}

// beginning keeps the first of what is written to it.
type beginning struct{ bytes.Buffer }

// Write implements io.Writer; it takes everything.
func (b *beginning) Write(p []byte) (int, error) {
	b.Buffer.Write(p[:min(len(p), maxAnswer-b.Len())])
	return len(p), nil
}

// askNetwork asks by HTTP or, without a path, for no more than a connection.
func (e *Engine) askNetwork(ctx context.Context, idOrName string, check naru.HealthCheck) error {
	c, err := e.Get(ctx, idOrName)
	if err != nil {
		return err
	}
	addr, err := e.addrToAsk(ctx, c)
	if err != nil {
		return err
	}
	at := netip.AddrPortFrom(addr, check.Port)
	if check.HTTPPath == "" {
		return askTCP(ctx, at)
	}
	return askHTTP(ctx, at, check.HTTPPath)
}

// addrToAsk is where the host reaches what the container listens on.
func (e *Engine) addrToAsk(ctx context.Context, c Container) (netip.Addr, error) {
	if owner, shared := strings.CutPrefix(c.Spec.Network, containerNetwork); shared {
		var err error
		if c, err = e.Get(ctx, owner); err != nil {
			return netip.Addr{}, err
		}
	}
	switch {
	case c.Spec.Network == HostNetwork:
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	case !c.Addr.IsValid():
		return netip.Addr{}, fmt.Errorf("container %s has no address to ask at", c.Name)
	}
	return c.Addr, nil
}

func askTCP(ctx context.Context, at netip.AddrPort) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", at.String())
	if err != nil {
		return fmt.Errorf("nothing accepts connections on port %d: %w", at.Port(), err)
	}
	return conn.Close()
}

func askHTTP(ctx context.Context, at netip.AddrPort, path string) error {
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true}, // each question opens a connection, as a new user would
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+path, nil)
	if err != nil {
		return fmt.Errorf("ask %s: %w", path, err)
	}
	req.Header.Set("User-Agent", "naru-health")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	if err := resp.Body.Close(); err != nil {
		return fmt.Errorf("read the answer of %s: %w", path, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 399 {
		return fmt.Errorf("GET %s answered %s", path, resp.Status)
	}
	return nil
}
