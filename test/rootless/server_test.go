package rootless

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"naru/internal/testkit"
)

// startTimeout bounds how long a daemon may take until it answers; emulated machines are slow.
const startTimeout = 60 * time.Second

// daemon is a `naru server` of the user's.
type daemon struct {
	*person
	cmd    *exec.Cmd
	log    string
	cgroup string // it is started in, "" where it is anyway
}

// serve starts a daemon and waits until it answers. It ends with the test, which looks whether it left something.
func (p *person) serve() *daemon { return p.serveIn("") }

func (p *person) serveIn(cgroup string) *daemon {
	p.Helper()
	d := &daemon{person: p, log: filepath.Join(filepath.Dir(p.dir), "log"), cgroup: cgroup}
	d.start()
	p.Cleanup(func() {
		if p.Failed() {
			b, _ := os.ReadFile(d.log)
			p.Logf("the daemon's log:\n%s", b)
		}
	})
	p.Cleanup(d.stop)
	return d
}

func (d *daemon) start() {
	d.Helper()
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	d.check(err)
	defer log.Close()
	d.cmd = d.command("naru", "server")
	if d.cgroup != "" {
		d.cmd = d.within(d.cgroup, d.cmd)
	}
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.check(d.cmd.Start())
	testkit.Eventually(d, startTimeout, "the daemon answers", func() error {
		if out, status := d.run("naru", "apps"); status != 0 {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
}

// stop removes every container and ends the daemon in good order.
func (d *daemon) stop() {
	d.Helper()
	for _, id := range strings.Fields(d.ok("naru", "container", "ls", "-aq")) {
		d.ok("naru", "container", "rm", "--force", id)
	}
	if out := d.ok("naru", "system", "fsck"); strings.Contains(out, "found") {
		d.Errorf("fsck: %s", out)
	}
	d.check(d.cmd.Process.Signal(syscall.SIGTERM))
	if err := d.cmd.Wait(); err != nil {
		d.Errorf("the daemon ended with %v", err)
	}
}

// importBusybox gives the daemon an image.
func (d *daemon) importBusybox() {
	d.Helper()
	file := d.path("busybox.tar")
	d.check(os.WriteFile(file, testkit.BusyboxRootfs(d), 0o644))
	d.ok("naru", "image", "import", file, "busybox")
}

// The world outside the user's machine, and the machine's address in it.
const (
	worldAddress   = "198.51.100.1"
	machineAddress = "198.51.100.2"
)

// world is what the machine is connected with: a network in which a web server says hello.
type world struct {
	testing.TB
	holder *exec.Cmd
}

func (p *person) connectToWorld() *world {
	p.Helper()
	site := filepath.Join(filepath.Dir(p.dir), "site")
	p.check(os.Mkdir(site, 0o755), os.WriteFile(filepath.Join(site, "index.html"), []byte("hello from the world"), 0o644))
	w := &world{TB: p, holder: exec.Command("unshare", "--net", "sh", "-c", "ip link set lo up; echo up; exec busybox httpd -f -p 80 -h "+site)}
	out, err := w.holder.StdoutPipe()
	p.check(err, w.holder.Start())
	p.Cleanup(func() {
		p.check(w.holder.Process.Kill())
		_ = w.holder.Wait() // killed
	})
	if _, err := out.Read(make([]byte, 3)); err != nil {
		p.Fatal(err)
	}
	for _, line := range []string{
		fmt.Sprintf("nsenter -n -t %d ip link add uplink type veth peer name machine netns %d", p.holder.Process.Pid, w.holder.Process.Pid),
		fmt.Sprintf("nsenter -n -t %d ip addr add %s/24 dev machine", w.holder.Process.Pid, worldAddress),
		fmt.Sprintf("nsenter -n -t %d ip link set machine up", w.holder.Process.Pid),
		fmt.Sprintf("nsenter -n -t %d ip addr add %s/24 dev uplink", p.holder.Process.Pid, machineAddress),
		fmt.Sprintf("nsenter -n -t %d ip link set uplink up", p.holder.Process.Pid),
		fmt.Sprintf("nsenter -n -t %d ip route add default via %s", p.holder.Process.Pid, worldAddress),
	} {
		words := strings.Fields(line)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			p.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	return w
}

// run runs a program of busybox in the world.
func (w *world) run(args ...string) string {
	w.Helper()
	args = append([]string{"-n", "-t", fmt.Sprint(w.holder.Process.Pid), "busybox"}, args...)
	out, _ := exec.Command("nsenter", args...).CombinedOutput() // what it says is looked at
	return strings.TrimSpace(string(out))
}

// says waits until a program in the world says something.
func (w *world) says(want string, args ...string) {
	w.Helper()
	testkit.Eventually(w, 20*time.Second, strings.Join(args, " ")+" says "+want, func() error {
		if got := w.run(args...); got != want {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
}

const webServer = "mkdir /www; hostname >/www/index.html; exec httpd -f -p 80 -h /www"

// TestContainers lives with containers as an ordinary user: they run, reach the world and are reached, and are stopped.
func TestContainers(t *testing.T) {
	for _, helper := range [][2]string{{"slirp4netns", "pasta"}, {"pasta", "slirp4netns"}} {
		t.Run(helper[0], func(t *testing.T) {
			testkit.RequireCommand(t, helper[0])
			p := newPerson(t, true, helper[1])
			w := p.connectToWorld()
			d := p.serve()
			d.importBusybox()
			d.containers(t, w)
		})
	}
}

func (d *daemon) containers(t *testing.T, w *world) {
	if got := d.ok("naru", "container", "run", "--rm", "busybox", "sh", "-c", "id -u; mount | grep -c overlay"); got != "0\n1" {
		t.Errorf("run: %s", got)
	}
	if got := d.ok("naru", "container", "run", "--rm", "--user", "1000:1000", "busybox", "id", "-u"); got != "1000" {
		t.Errorf("another user: %s", got)
	}
	if got := d.ok("naru", "container", "run", "--rm", "busybox", "wget", "-qO-", "http://"+worldAddress+"/"); got != "hello from the world" {
		t.Errorf("the world from a container: %s", got)
	}
	d.ok("naru", "container", "run", "-d", "--name", "web", "--hostname", "web", "-p", "18080:80", "-v", "data:/data", "busybox",
		"sh", "-c", "echo kept >/data/file; "+webServer)
	w.says("web", "wget", "-qO-", "http://"+machineAddress+":18080/")
	if got := d.ok("naru", "container", "run", "--rm", "busybox", "wget", "-qO-", "http://web/"); got != "web" {
		t.Errorf("a container by its name: %s", got)
	}
	if got := d.ok("naru", "container", "exec", "web", "cat", "/data/file"); got != "kept" {
		t.Errorf("exec: %s", got)
	}
	if got := d.ok("naru", "container", "top", "web"); !strings.Contains(got, "httpd") {
		t.Errorf("top: %s", got)
	}
	d.refused("taken by", "naru", "container", "run", "--rm", "-p", "18080:80", "busybox", "true")
	d.refused("below 1024", "naru", "container", "run", "--rm", "-p", "80:80", "busybox", "true")
	d.refused("without a cgroup", "naru", "container", "run", "--rm", "-m", "64m", "busybox", "true")
	d.refused("without a cgroup", "naru", "container", "pause", "web")
	d.ok("naru", "container", "stop", "--time", "1", "web")
	testkit.Eventually(t, 20*time.Second, "the port of a stopped container is refused", func() error {
		if got := w.run("nc", "-w", "2", machineAddress, "18080"); !strings.Contains(got, "refused") {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	d.ok("naru", "container", "rm", "web")
}

// TestKilledDaemonIsFollowedByAnother kills the daemon: what runs runs on, is reached again through the same port, and
// still reaches the world.
func TestKilledDaemonIsFollowedByAnother(t *testing.T) {
	p := newPerson(t, true)
	w := p.connectToWorld()
	d := p.serve()
	d.importBusybox()
	d.ok("naru", "container", "run", "-d", "--name", "web", "--hostname", "web", "-p", "18080:80", "busybox", "sh", "-c", webServer)
	w.says("web", "wget", "-qO-", "http://"+machineAddress+":18080/")
	before := d.ok("naru", "container", "inspect", "--format", "{{.PID}}", "web")
	d.check(d.cmd.Process.Kill())
	_ = d.cmd.Wait() // killed
	d.start()
	if after := d.ok("naru", "container", "inspect", "--format", "{{.PID}}", "web"); after != before {
		t.Errorf("the container is process %s, and was %s", after, before)
	}
	w.says("web", "wget", "-qO-", "http://"+machineAddress+":18080/")
	if got := d.ok("naru", "container", "exec", "web", "wget", "-qO-", "http://"+worldAddress+"/"); got != "hello from the world" {
		t.Errorf("the world from an adopted container: %s", got)
	}
	if got := d.ok("naru", "container", "run", "--rm", "busybox", "wget", "-qO-", "http://web/"); got != "web" {
		t.Errorf("a new container reaches the adopted one: %s", got)
	}
}

// TestNextToNothing has neither further ids nor a way out: containers of one user run, reach each other and are reached.
func TestNextToNothing(t *testing.T) {
	p := newPerson(t, false, "slirp4netns", "pasta")
	d := p.serve()
	d.importBusybox()
	if got := d.ok("naru", "container", "run", "--rm", "busybox", "id", "-u"); got != "0" {
		t.Errorf("run: %s", got)
	}
	d.ok("naru", "container", "run", "-d", "--name", "web", "--hostname", "web", "-p", "18080:80", "busybox", "sh", "-c", webServer)
	testkit.Eventually(t, 20*time.Second, "the published port answers", func() error {
		if got, status := d.run("busybox", "wget", "-qO-", "http://127.0.0.1:18080/"); status != 0 || got != "web" {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
	d.refused("process.user", "naru", "container", "run", "--rm", "--user", "1000", "busybox", "true")
	log, err := os.ReadFile(d.log)
	d.check(err)
	for _, words := range []string{"containers have no user but root", "install slirp4netns or pasta"} {
		if !strings.Contains(string(log), words) {
			t.Errorf("the daemon does not say %q", words)
		}
	}
}

// TestApp takes a folder to users: built, with a step that runs, routed on the port that everybody may have.
func TestApp(t *testing.T) {
	p := newPerson(t, true)
	w := p.connectToWorld()
	d := p.serve()
	d.importBusybox()
	d.ok("mkdir", "app")
	d.check(os.WriteFile(d.path("app", "Dockerfile"),
		[]byte("FROM busybox\nRUN mkdir /www && echo built >/www/index.html && chown -R 1000:1000 /www\nUSER 1000\nEXPOSE 8000\nCMD [\"httpd\", \"-f\", \"-p\", \"8000\", \"-h\", \"/www\"]\n"), 0o644))
	d.ok("naru", "up", d.path("app"))
	w.says("built", "wget", "-qO-", "--header", "Host: app.localhost", "http://"+machineAddress+":8080/")
	d.ok("naru", "down", "-a", "app")
}

// TestDelegatedCgroup has a cgroup v2 that root gave to the user, as systemd does: containers can be paused, and limited
// by the controllers that there are.
func TestDelegatedCgroup(t *testing.T) {
	p := newPerson(t, true)
	group := p.delegate()
	d := p.serveIn(group)
	d.importBusybox()
	d.ok("naru", "container", "run", "-d", "--name", "box", "busybox", "sleep", "1000")
	d.ok("naru", "container", "pause", "box")
	d.ok("naru", "container", "unpause", "box")
	if got := d.ok("naru", "container", "top", "box"); !strings.Contains(got, "sleep") {
		t.Errorf("top: %s", got)
	}
	if pid := d.ok("naru", "container", "inspect", "--format", "{{.PID}}", "box"); !strings.Contains(d.read("/proc/"+pid+"/cgroup"), filepath.Base(group)+"/naru-") {
		t.Errorf("the container is not below %s: %s", group, d.read("/proc/"+pid+"/cgroup"))
	}
	if !strings.Contains(d.read(filepath.Join(group, "cgroup.controllers")), "memory") {
		d.refused("memory", "naru", "container", "run", "--rm", "-m", "64m", "busybox", "true")
		return
	}
	if got := d.ok("naru", "container", "run", "--rm", "-m", "64m", "--cpus", "0.2", "--pids-limit", "8", "busybox", "sh", "-c", readLimits); got != "67108864 20000 100000 8" {
		t.Errorf("limits: %s", got)
	}
	for limit, c := range holds() {
		out, status := d.run("naru", "container", "run", "--rm", "-m", "64m", "--cpus", "0.2", "--pids-limit", "8", "busybox", "sh", "-c", c.script)
		c.check(t, limit, out, status)
	}
}

// readLimits shows a container its limits: 64 MB of memory, a fifth of a processor, 8 processes.
const readLimits = "cd /sys/fs/cgroup && echo $(cat memory.max cpu.max pids.max)"

// hold is a script that a limit is in the way of.
type hold struct {
	script string
	status int
	says   string
}

// holds are what shows that the limits of readLimits hold, by their names.
func holds() map[string]hold {
	return map[string]hold{
		"memory": {"dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null", 137, ""},
		"pids":   {"for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; wait", 2, "can't fork"},
		"cpu":    {"i=0; while [ $i -lt 10000 ]; do i=$((i+1)); done; test $(grep nr_throttled /sys/fs/cgroup/cpu.stat | cut -d' ' -f2) -gt 0 && echo throttled", 0, "throttled"},
	}
}

func (h hold) check(t *testing.T, limit, out string, status int) {
	t.Helper()
	if status != h.status || !strings.Contains(out, h.says) {
		t.Errorf("the limit of %s: exit status %d, want %d: %q", limit, status, h.status, out)
	}
}

// delegate makes a cgroup v2 that is the user's. Where the machine has cgroup v1 beside it, the user's world has v2 alone.
func (p *person) delegate() string {
	p.Helper()
	group := fmt.Sprintf("/sys/fs/cgroup/naru-rootless-%d", os.Getpid())
	script := fmt.Sprintf(`set -e
[ -e /sys/fs/cgroup/cgroup.controllers ] || mount -t cgroup2 none /sys/fs/cgroup
for c in cpu memory pids; do echo +$c >/sys/fs/cgroup/cgroup.subtree_control; done 2>/dev/null || true
mkdir %[1]s
chown %[2]d %[1]s %[1]s/cgroup.procs %[1]s/cgroup.subtree_control`, group, uid)
	if out, err := p.asRoot("sh", "-c", script).CombinedOutput(); err != nil {
		p.Fatalf("delegate a cgroup: %v: %s", err, out)
	}
	p.Cleanup(func() {
		p.nothingLeft()
		if out, err := p.asRoot("sh", "-c", "[ ! -d $0/naru-daemon ] || rmdir $0/naru-daemon; rmdir $0", group).CombinedOutput(); err != nil {
			p.Errorf("more than the daemon's own cgroup is left: %v: %s", err, out)
		}
	})
	return group
}

// read reads a file in the user's world.
func (p *person) read(file string) string {
	p.Helper()
	out, err := p.asRoot("cat", file).Output()
	p.check(err)
	return string(out)
}
