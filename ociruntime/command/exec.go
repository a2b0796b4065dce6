package command

import (
	"context"
	"encoding/json"
	"os"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/cobra"

	"naru/naru"
	"naru/ociruntime"
)

// exitExec is what runc's exec exits with when there is no process.
const exitExec = 255

// execFlags are those of oci exec.
type execFlags struct {
	ociruntime.ExecOptions
	preserve   int
	file       string
	cwd, user  string
	env, caps  []string
	groups     []string
	tty        bool
	noNewPrivs bool
	apparmor   string
	label      string
	cgroup     string
}

func (c *face) execCommand(f *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "exec [FLAGS] ID [COMMAND...]", Short: "Run one more process in a container", Args: between(1, -1)}
	e := &execFlags{}
	e.register(cmd)
	cmd.RunE = c.run(f, exitExec, func(ctx context.Context, r *ociruntime.Runtime, args []string) (status int, err error) {
		if e.cgroup != "" {
			return 0, naru.Errorf(naru.Unimplemented, "--cgroup is not supported")
		}
		o := e.ExecOptions
		o.ID = args[0]
		if o.Stdio, err = stdio(e.preserve); err != nil {
			return 0, err
		}
		if !o.Detach {
			o.Signals = passedOn()
		}
		o.Process = func(own *specs.Process) (*specs.Process, error) { return e.process(own, args[1:], cmd) }
		return r.Exec(ctx, o)
	})
	return cmd
}

func (e *execFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SetInterspersed(false) // flags after ID belong to the command
	fs.StringVarP(&e.file, "process", "p", "", "`FILE` with the process as JSON; the other flags then count only where it is silent")
	fs.StringVar(&e.cwd, "cwd", "", "working directory")
	fs.StringArrayVarP(&e.env, "env", "e", nil, "more environment: `NAME=VALUE`")
	fs.BoolVarP(&e.tty, "tty", "t", false, "with a terminal")
	fs.StringVarP(&e.user, "user", "u", "", "`UID[:GID]`")
	fs.StringSliceVarP(&e.groups, "additional-gids", "g", nil, "more groups")
	fs.StringArrayVarP(&e.caps, "cap", "c", nil, "one more capability")
	fs.BoolVar(&e.noNewPrivs, "no-new-privs", false, "set no_new_privs")
	fs.BoolVarP(&e.Detach, "detach", "d", false, "leave it running")
	fs.StringVar(&e.PIDFile, "pid-file", "", "`FILE` to write the process's id to")
	fs.StringVar(&e.ConsoleSocket, "console-socket", "", "`SOCKET` to send the terminal to")
	fs.IntVar(&e.preserve, "preserve-fds", 0, "`NUMBER` of descriptors from 3 on that the process gets")
	fs.BoolVar(&e.IgnorePaused, "ignore-paused", false, "also in a paused container, where it waits")
	fs.StringVar(&e.apparmor, "apparmor", "", "AppArmor `PROFILE` of the process")
	fs.StringVar(&e.label, "process-label", "", "SELinux `LABEL` of the process")
	fs.StringVar(&e.cgroup, "cgroup", "", "refused: a process is in the container's cgroup")
}

// process makes the process of a file, or of the container's own and the flags.
func (e *execFlags) process(own *specs.Process, args []string, cmd *cobra.Command) (*specs.Process, error) {
	if e.file != "" {
		b, err := os.ReadFile(e.file)
		if err != nil {
			return nil, naru.Errorf(naru.InvalidArgument, "read the process: %w", err)
		}
		p := &specs.Process{}
		if err := json.Unmarshal(b, p); err != nil {
			return nil, naru.Errorf(naru.InvalidArgument, "%s: not a process: %w", e.file, err)
		}
		return p, nil
	}
	if len(args) == 0 {
		return nil, naru.Errorf(naru.InvalidArgument, "a command is missing: %s", cmd.UseLine())
	}
	own.Args, own.Terminal, own.Env = args, e.tty, append(own.Env[:len(own.Env):len(own.Env)], e.env...)
	own.NoNewPrivileges = own.NoNewPrivileges || e.noNewPrivs
	if e.cwd != "" {
		own.Cwd = e.cwd
	}
	if e.apparmor != "" {
		own.ApparmorProfile = e.apparmor
	}
	if e.label != "" {
		own.SelinuxLabel = e.label
	}
	own.Capabilities = addCaps(own.Capabilities, e.caps)
	return own, e.identity(&own.User)
}

func (e *execFlags) identity(u *specs.User) error {
	number := func(s string, into *uint32) error {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return naru.Errorf(naru.InvalidArgument, "%q is no number of a user or group", s)
		}
		*into = uint32(n)
		return nil
	}
	uid, gid, both := strings.Cut(e.user, ":")
	if e.user != "" {
		if err := number(uid, &u.UID); err != nil {
			return err
		}
	}
	if both {
		if err := number(gid, &u.GID); err != nil {
			return err
		}
	}
	for _, g := range e.groups {
		var n uint32
		if err := number(g, &n); err != nil {
			return err
		}
		u.AdditionalGids = append(u.AdditionalGids, n)
	}
	return nil
}

// addCaps gives a process more capabilities, in every set that runc gives them in.
func addCaps(has *specs.LinuxCapabilities, more []string) *specs.LinuxCapabilities {
	if len(more) == 0 {
		return has
	}
	all := specs.LinuxCapabilities{}
	if has != nil {
		all = *has
	}
	for _, set := range []*[]string{&all.Bounding, &all.Effective, &all.Permitted} {
		*set = append((*set)[:len(*set):len(*set)], more...)
	}
	return &all
}
