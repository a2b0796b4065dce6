package ociruntime

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"naru/naru"
)

// firstHooks run on the host before the container's root is its own.
func firstHooks(h *specs.Hooks) []specs.Hook {
	if h == nil {
		return nil
	}
	//lint:ignore SA1019 dockerd connects its networks with it
	return slices.Concat(h.Prestart, h.CreateRuntime)
}

func validateHooks(h *specs.Hooks) error {
	if h == nil {
		return nil
	}
	for stage, hooks := range map[string][]specs.Hook{
		"prestart and createRuntime": firstHooks(h), "createContainer": h.CreateContainer,
		"startContainer": h.StartContainer, "poststart": h.Poststart, "poststop": h.Poststop,
	} {
		for _, hook := range hooks {
			if !filepath.IsAbs(hook.Path) {
				return naru.Errorf(naru.InvalidArgument, "spec field hooks.%s: path %q is not absolute", stage, hook.Path)
			}
			if hook.Timeout != nil && *hook.Timeout <= 0 {
				return naru.Errorf(naru.InvalidArgument, "spec field hooks.%s: timeout %d is not greater than zero", stage, *hook.Timeout)
			}
		}
	}
	return nil
}

// hookState is what a hook in the container reads on its standard input.
func (c *record) hookState(pid int, status specs.ContainerState) ([]byte, error) {
	s := c.state(status)
	s.Pid = pid
	return json.Marshal(s)
}

// notifyState is what who listens for the notifications of the seccomp filter of a process reads with their descriptor.
func (c *record) notifyState(pid int) ([]byte, error) {
	status := specs.StateRunning
	if c.PID == 0 {
		c.PID, status = pid, specs.StateCreating
	}
	return json.Marshal(specs.ContainerProcessState{Version: specs.Version, Fds: []string{specs.SeccompFdName}, Pid: pid,
		Metadata: c.Spec.Linux.Seccomp.ListenerMetadata, State: c.state(status)})
}

// run runs hooks on the host, in their order, and stops at the first that fails.
func (c *record) run(ctx context.Context, status specs.ContainerState, hooks []specs.Hook) error {
	state, err := json.Marshal(c.state(status))
	if err != nil {
		return err
	}
	for _, h := range hooks {
		if err := runHook(ctx, h, state); err != nil {
			return fmt.Errorf("hook %s: %w", h.Path, err)
		}
	}
	return nil
}

// hookPatience is how long a hook's output is waited for when it has ended and left somebody behind who holds it.
const hookPatience = time.Second

func runHook(ctx context.Context, h specs.Hook, state []byte) error {
	if h.Timeout != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(*h.Timeout)*time.Second)
		defer cancel()
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, h.Path)
	if len(h.Args) > 0 {
		cmd.Args = h.Args
	}
	cmd.Env = append([]string{}, h.Env...) // none is none, not ours
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(state), &out, &out
	cmd.WaitDelay = hookPatience
	err := cmd.Run()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %s", context.Cause(ctx), bytes.TrimSpace(out.Bytes()))
	}
	return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out.Bytes()))
}

// poststop runs the last hooks: what fails is told, and the others still run.
func (r *Runtime) poststop(ctx context.Context, c *record) {
	if c.Spec.Hooks == nil {
		return
	}
	for _, h := range c.Spec.Hooks.Poststop {
		r.warn(c.run(context.WithoutCancel(ctx), specs.StateStopped, []specs.Hook{h}))
	}
}
