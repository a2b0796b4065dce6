package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"

	"naru/engine/forward"
	"naru/engine/rootless"
	"naru/naru"
)

// serverFlags are the daemon's.
type serverFlags struct {
	data, run, http, domain, logFormat, logLevel string
	subnet                                       netip.Prefix
	subnetText                                   string
	forward                                      []string
}

const serverLong = `Run the daemon: it keeps what it is told in --data, listens for commands on RUN/naru.sock and for users' requests on
--http, and runs containers.

An ordinary user can run one too, for itself: in a user namespace, where it is root, with the further ids of /etc/subuid
where newuidmap is installed, and a network of its own, connected by slirp4netns or pasta where one of them is installed.

Containers, their logs and the listening sockets live on when the daemon ends, is updated or dies; the next one takes
them over. Daemons with different --data, --run, --subnet and --http can run side by side.

What containers print is kept on disk, and with --log-forward handed on from there, so that a receiver that is slow or away
holds up nobody: stdout (lines of JSON on the daemon's standard output), syslog+unix:///dev/log, syslog+udp://HOST[:514],
syslog+tcp://HOST[:601] (RFC 5424), otlp+http://HOST[:4318] or otlp+https://HOST[:4318] (OpenTelemetry). Every line arrives
at least once, and lines that left the disk before they could be sent are told as a number. A syslog acknowledges nothing:
what one that dies had received and not read is lost, and UDP loses what nobody listens for.

SIGTERM and Ctrl-C end it in order; a second one ends it at once. SIGUSR1 makes it write where its goroutines stand to
RUN/goroutines: what to look at when it hangs, or grows.`

func (c *cli) serverCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "server", Short: "Run the daemon", Long: serverLong, Args: between(0, 0),
		Example: "  sudo naru server\n  sudo naru server --data /srv/naru --run /run/naru-test --http :8080 --subnet 10.88.0.0/16",
	}
	f := &serverFlags{}
	fs := cmd.Flags()
	fs.StringVar(&f.data, "data", rootless.DataDir("/var/lib/naru"), "`folder` of what must not be lost")
	fs.StringVar(&f.run, "run", rootless.RunDir(defaultRunDir), "`folder` of sockets")
	fs.StringVar(&f.http, "http", defaultHTTP(), "`address` for users' requests")
	fs.StringVar(&f.subnetText, "subnet", "10.87.0.0/16", "`addresses` for containers")
	fs.StringVar(&f.domain, "domain", "localhost", "apps without a host of their own answer at APP.`DOMAIN`")
	fs.StringVar(&f.logFormat, "log-format", "text", "`text` or json")
	fs.StringVar(&f.logLevel, "log-level", "info", "`level`: debug, info, warn or error")
	fs.StringArrayVar(&f.forward, "log-forward", nil, "hand on what containers print to a `destination`; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		logger, err := f.check(c.err)
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		defer context.AfterFunc(ctx, stop)() // from then on a signal ends the program at once
		if os.Geteuid() != 0 {
			return serveAsUser(ctx, *f, logger)
		}
		return serve(ctx, *f, logger)
	}
	return cmd
}

// check completes the flags, and refuses what cannot work before anything is touched.
func (f *serverFlags) check(logs io.Writer) (*slog.Logger, error) {
	var err error
	if f.subnet, err = netip.ParsePrefix(f.subnetText); err != nil || !f.subnet.Addr().Is4() || f.subnet.Bits() > 22 {
		return nil, naru.Errorf(naru.InvalidArgument, "--subnet %q: write an IPv4 network of at least 1,024 addresses, such as 10.87.0.0/16", f.subnetText)
	}
	if _, _, err := parseListen(f.http); err != nil {
		return nil, err
	}
	for _, destination := range f.forward {
		if _, err := forward.Open(destination, io.Discard); err != nil {
			return nil, err
		}
	}
	logger, err := newLogger(logs, f.logFormat, f.logLevel)
	if err != nil {
		return nil, err
	}
	return logger, nil
}

func newLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, naru.Errorf(naru.InvalidArgument, "--log-level %q: use debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, naru.Errorf(naru.InvalidArgument, "--log-format %q: use text or json", format)
}

// parseListen splits an address like ":80"; no host is every address.
func parseListen(address string) (netip.Addr, uint16, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return netip.Addr{}, 0, naru.Errorf(naru.InvalidArgument, "--http %q: write an address such as :80 or 127.0.0.1:8080", address)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return netip.Addr{}, 0, naru.Errorf(naru.InvalidArgument, "--http %q: %q is not a port", address, port)
	}
	if host == "" {
		return netip.Addr{}, uint16(n), nil
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}, 0, naru.Errorf(naru.InvalidArgument, "--http %q: %q is not an IP address", address, host)
	}
	return ip, uint16(n), nil
}

// closing runs a cleanup whose error has no other place to go.
func closing(log *slog.Logger, doing string, f func() error) {
	if err := f(); err != nil {
		log.Error(doing, "err", err)
	}
}
