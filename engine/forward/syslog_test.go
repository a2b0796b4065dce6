package forward_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"naru/engine/logs"
	"naru/internal/testkit"
)

// form is a message of RFC 5424 as ours are.
var form = regexp.MustCompile(`^<(30|27)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z \S+ web 0123456789ab (stdout|stderr) - (?s:(.*))$`)

// reader takes messages off streams by their octet counts.
type reader struct {
	heard
	t        *testing.T
	listener net.Listener
	serving  sync.WaitGroup

	connMu sync.Mutex
	conns  []net.Conn
}

// listen takes an address, or a free one when it is empty.
func listen(t *testing.T, address string) *reader {
	t.Helper()
	if address == "" {
		address = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, listener: l}
	r.serving.Go(r.accept)
	return r
}

func (r *reader) accept() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.connMu.Lock()
		r.conns = append(r.conns, conn)
		r.connMu.Unlock()
		r.serving.Go(func() {
			if err := r.serve(conn); err != nil {
				r.t.Error(err)
			}
		})
	}
}

func (r *reader) close() {
	_ = r.listener.Close()
	r.connMu.Lock()
	for _, conn := range r.conns {
		_ = conn.Close()
	}
	r.connMu.Unlock()
	r.serving.Wait()
}

func (r *reader) serve(conn net.Conn) error {
	in := bufio.NewReader(conn)
	for {
		var size int
		if _, err := fmt.Fscanf(in, "%d ", &size); err != nil {
			return nil // the other side hung up
		}
		message := make([]byte, size)
		if _, err := io.ReadFull(in, message); err != nil {
			return nil
		}
		parts := form.FindSubmatch(message)
		if parts == nil {
			return fmt.Errorf("not a message: %q", message)
		}
		r.add([]string{string(parts[3])}, 0)
	}
}

func TestSyslogOverAStream(t *testing.T) {
	c, to := newContainer(t, logs.Limits{}), listen(t, "")
	defer to.close()
	c.say(1200)
	c.write(logs.Stderr, "\n")
	c.write(logs.Stderr, strings.Repeat("x", 20_000)+"\n")
	end := c.follow(open(t, "syslog+tcp://"+to.listener.Addr().String()))
	to.until(t, "everything", func(lines []string, _ int) bool { return len(lines) == 1200+1+3 })
	_ = end()
	if to.lines[1200] != "" || to.lines[1201]+to.lines[1202]+to.lines[1203] != strings.Repeat("x", 20_000) {
		t.Errorf("the last are %.20q", to.lines[1200:])
	}
	to.all(t, 1200)
}

// TestASyslogThatIsAwayGetsEverythingLater: the lines wait, and the loop finds it again.
func TestASyslogThatIsAwayGetsEverythingLater(t *testing.T) {
	c, before := newContainer(t, logs.Limits{}), listen(t, "")
	address := before.listener.Addr().String()
	end := c.follow(open(t, "syslog+tcp://"+address))
	c.say(100)
	before.all(t, 100)
	before.close()
	c.say(500)
	after := listen(t, address)
	after.until(t, "the 500 of the meantime", func(lines []string, _ int) bool { return len(lines) >= 500 && lines[len(lines)-1] == "line 599" })
	_ = end()
	after.close()
}

// TestARealSyslog lets Debian's rsyslog receive by each transport, be killed and come back.
func TestARealSyslog(t *testing.T) {
	root, program := testkit.Debian(t, "rsyslog"), testkit.Debian(t, "rsyslog/usr/sbin/rsyslogd")
	for _, transport := range []string{"tcp", "udp", "unix"} {
		t.Run(transport, func(t *testing.T) {
			d := &rsyslog{t: t, root: root, program: program, dir: t.TempDir()}
			destination := d.configure(transport)
			kill := d.start()
			c := newContainer(t, logs.Limits{})
			c.say(100)
			end := c.follow(open(t, destination))
			d.written(100)
			kill()
			if transport != "udp" { // which nobody can tell from one that listens
				c.say(100)
			}
			kill = d.start()
			c.say(100)
			d.written(c.lines)
			_ = end()
			kill()
		})
	}
}

type rsyslog struct {
	t                  *testing.T
	root, program, dir string
}

func (d *rsyslog) out() string { return filepath.Join(d.dir, "out") }

// configure writes the daemon's file and returns where it listens.
func (d *rsyslog) configure(transport string) (destination string) {
	input := fmt.Sprintf(`module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket=%q UseSpecialParser="off" ParseHostname="on")`, filepath.Join(d.dir, "log"))
	destination = "syslog+unix://" + filepath.Join(d.dir, "log")
	if transport != "unix" {
		port := freePort(d.t)
		input = fmt.Sprintf("module(load=\"im%[1]s\")\ninput(type=\"im%[1]s\" address=\"127.0.0.1\" port=\"%[2]d\")", transport, port)
		destination = fmt.Sprintf("syslog+%s://127.0.0.1:%d", transport, port)
	}
	config := input + fmt.Sprintf(`
template(name="all" type="string" string="%%app-name%% %%procid%% %%msgid%% %%syslogseverity-text%% %%msg%%\n")
*.* action(type="omfile" file=%q template="all" flushOnTXEnd="on")
`, d.out())
	if err := os.WriteFile(filepath.Join(d.dir, "conf"), []byte(config), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return destination
}

func freePort(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func (d *rsyslog) start() (kill func()) {
	d.t.Helper()
	lib, err := filepath.Glob(filepath.Join(d.root, "usr/lib/*/rsyslog"))
	if err != nil || len(lib) != 1 {
		d.t.Fatalf("its modules: %v, %v", lib, err)
	}
	cmd := exec.Command(d.program, "-n", "-f", filepath.Join(d.dir, "conf"), "-i", filepath.Join(d.dir, "pid"), "-M", lib[0])
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+filepath.Dir(lib[0]))
	cmd.Stdout, cmd.Stderr = d.t.Output(), d.t.Output()
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove(filepath.Join(d.dir, "pid"))
	}
}

// written waits until the file holds every line from 0 to n-1.
func (d *rsyslog) written(n int) {
	d.t.Helper()
	var got heard
	got.until(d.t, fmt.Sprintf("%d lines in rsyslog's file", n), func([]string, int) bool {
		text, _ := os.ReadFile(d.out())
		seen := map[string]bool{}
		for line := range strings.Lines(string(text)) {
			seen[line] = true
		}
		for i := range n {
			if !seen[fmt.Sprintf("web 0123456789ab stdout info line %d\n", i)] {
				return false
			}
		}
		return true
	})
}
