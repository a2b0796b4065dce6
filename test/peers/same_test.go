package peers

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"naru/internal/testkit"
)

// side is one of two command lines that are compared.
type side func(args ...string) (stdout string, status int)

// TestNaruAnswersAsDockerDoes gives both command lines the same words, and wants the same output and exit status.
func TestNaruAnswersAsDockerDoes(t *testing.T) {
	docker := startDocker(t, "runc")
	naru := testkit.StartDaemon(t)
	naru.ImportBusybox("busybox")
	theirs := func(args ...string) (string, int) {
		cmd := docker.command(args...)
		out, _ := cmd.Output() // its status tells
		return string(out), cmd.ProcessState.ExitCode()
	}
	ours := func(args ...string) (string, int) {
		r := naru.Naru(args...)
		return r.Stdout, r.Code
	}
	for _, args := range sameRuns(t) {
		args = append([]string{"container", "run", "--rm"}, args...)
		compare(t, theirs, ours, args)
	}
	for _, line := range sameLives() {
		args := []string{"container"}
		for _, word := range strings.Split(line, " ") {
			args = append(args, strings.ReplaceAll(word, "~", " "))
		}
		compare(t, theirs, ours, args)
	}
}

func sortedLines(s string) string {
	return strings.Join(slices.Sorted(strings.Lines(s)), "")
}

// id is a whole one, or as much of it as lists show.
var id = regexp.MustCompile(`\b([0-9a-f]{12}|[0-9a-f]{32}|[0-9a-f]{64})\b`)

func compare(t *testing.T, theirs, ours side, args []string) {
	t.Helper()
	wantOut, wantStatus := theirs(args...)
	out, status := ours(args...)
	if args[1] == "diff" { // docker's has no order
		out, wantOut = sortedLines(out), sortedLines(wantOut)
	}
	out, wantOut = id.ReplaceAllString(out, "ID"), id.ReplaceAllString(wantOut, "ID")
	if status == 2 && (wantStatus == 1 || wantStatus == 125) { // naru's status for a line that is wrong
		status = wantStatus
	}
	if out != wantOut || status != wantStatus {
		t.Errorf("%s\nnaru says %q, and exits with %d\ndocker says %q, and exits with %d", strings.Join(args, " "), out, status, wantOut, wantStatus)
	}
}

// sameRuns are what a container is asked to run as, and asked about.
func sameRuns(t *testing.T) [][]string {
	env, policy := filepath.Join(t.TempDir(), "env"), filepath.Join(t.TempDir(), "policy")
	must(t, os.WriteFile(env, []byte("# words\nA=1\nB=two words\n"), 0o600))
	must(t, os.WriteFile(policy, []byte(`{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}`), 0o600))
	sh := func(script string, flags ...string) []string { return append(flags, "busybox", "sh", "-c", script) }
	return [][]string{
		{"busybox", "echo", "hello"}, sh("exit 42"), sh("kill -9 $$"), sh("kill -15 $$"), {"busybox", "nosuch"}, {"busybox", "/etc"},
		{"--nosuch", "busybox"}, {"--restart", "always", "busybox", "true"}, {"--entrypoint", "echo", "busybox", "hi"},
		{"-m", "x", "busybox"}, {"--memory-swap", "10m", "busybox", "true"}, {"--cap-add", "nosuch", "busybox", "true"},
		{"--network", "nosuch", "busybox", "true"}, {"--ulimit", "nosuch=1", "busybox", "true"},
		sh("head -c 100m /dev/zero | tail", "-m", "20m"),
		sh("grep Cap /proc/self/status", "--cap-drop", "ALL"), sh("grep CapEff /proc/self/status", "--cap-add", "NET_ADMIN"),
		sh("grep CapEff /proc/self/status", "--cap-drop", "all", "--cap-add", "cap_chown"), sh("grep Cap /proc/self/status | grep -v Inh", "--cap-add", "SYS_PTRACE", "-u", "5"),
		sh("ulimit -n; ulimit -Hn; ulimit -c", "--ulimit", "nofile=100:200", "--ulimit", "core=0"),
		sh("cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shmmax", "--sysctl", "net.core.somaxconn=99", "--sysctl", "kernel.shmmax=4096"),
		{"--sysctl", "kernel.panic=1", "busybox", "true"},
		sh("id -u; id -g; id -G", "--group-add", "77", "-u", "5:6"), sh("df -k /dev/shm | tail -n 1", "--shm-size", "5m"),
		sh("df -k /t | tail -n 1; stat -c %a /t", "--tmpfs", "/t:size=1m,mode=700"),
		sh("df -k /t | tail -n 1; stat -c %a /t", "--mount", "type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700"),
		sh("pwd", "-w", "/nope/x"), sh("touch /x; touch /t/x && echo t", "--read-only", "--tmpfs", "/t"),
		sh("echo $A $B $C", "--env-file", env, "-e", "C=3", "-e", "A=0"), sh("hostname; cat /etc/hostname; echo $HOSTNAME", "-h", "box"),
		sh("cat /proc/sys/kernel/domainname", "--domainname", "lab.example"), sh("grep mysql /etc/hosts", "--add-host", "mysql:10.9.8.7"),
		sh("grep ^search /etc/resolv.conf", "--dns-search", "lab.example"), sh("cat /proc/self/oom_score_adj", "--oom-score-adj", "500"),
		sh("grep Cpus_allowed_list /proc/self/status", "--cpuset-cpus", "0"), {"--cpuset-cpus", "999", "busybox", "true"},
		sh("ls -l /dev/mine | cut -c 1; head -c 1 /dev/mine | od -c", "--device", "/dev/full:/dev/mine"),
		sh("ls /sys/class/net", "--network", "none"), sh("grep NoNewPrivs /proc/self/status", "--security-opt", "no-new-privileges"),
		sh("grep Seccomp: /proc/self/status", "--security-opt", "seccomp=unconfined"),
		sh("mkdir /d && echo made; grep Seccomp: /proc/self/status", "--security-opt", "seccomp="+policy),
		{"--security-opt", "seccomp=/nosuch", "busybox", "true"}, {"--security-opt", "nosuch", "busybox", "true"},
		{"--stop-signal", "nosuch", "busybox", "true"}, {"-p", "x", "busybox", "true"}, {"--volumes-from", "nosuch", "busybox", "true"},
		{"--env-file", "/nosuch", "busybox", "true"}, {"--cidfile", env, "busybox", "true"}, {"--pull", "never", "nosuch", "true"}, {"-l", "=x", "busybox", "true"},
		{"--uts", "nosuch", "busybox", "true"}, {"--pid", "nosuch", "busybox", "true"}, {"--pid", "container:nosuch", "busybox", "true"},
		{"--log-driver", "nosuch", "busybox", "true"},
		sh("wc -c < /proc/1/cmdline", "--log-driver", "json-file", "--log-opt", "max-size=10k", "--log-opt", "max-file=2"),
	}
}

// sameLives are lines that follow each other; ~ is a blank in a word.
func sameLives() []string {
	return []string{
		"run --name said busybox echo hi", "start -a said", "logs said", "logs -n 1 said", "logs -n 0 said", "wait said",
		"start -i said", "rename said told", "logs said", "rename told said", "rename nosuch x", "rename said x/y", "rm said", "rm said", "logs said",
		"create --name made busybox true", "ls -aq --filter name=made", "ls -q --filter name=made", "ls -q --filter nosuch=1", "rm made",
		"run -d --name web busybox sleep 1000", "run -d --name web busybox true", "exec web id -u", "exec -u 5:6 web id -g",
		"exec -w /tmp web pwd", "exec -e A=1 web sh -c echo~$A", "exec web sh -c exit~7", "exec nosuch true", "exec web", "exec -d web sleep 100", "exec -d nosuch true", "port web", "port web 80",
		"pause web", "pause web", "exec web true", "unpause web", "unpause web", "kill -s nosuch web", "kill nosuch", "update -m 64m --memory-swap 64m web",
		"update -m x web", "update nosuch", "rm web", "stop -t 1 web", "stop web", "wait web", "start web", "restart -t 0 web", "kill web", "kill web", "wait web",
		"run --name wrote busybox sh -c echo~x~>/etc/passwd;rm~-r~/root~/etc/group;mkdir~-p~/root/a~/var/lib/x;ln~-s~/etc~/l", "diff wrote", "rm wrote", "diff nosuch",
		"cp web:/etc/passwd /nosuch/folder", "cp web:/nosuch -", "attach web", "rm -f web", "stop nosuch", "start nosuch", "wait nosuch", "top nosuch",
		"stats --no-stream nosuch", "restart nosuch", "pause nosuch", "port nosuch", "cp nosuch:/x -", "attach nosuch", "inspect nosuch", "rm nosuch",
		"run --name left busybox true", "ls -aq --filter exited=0 --filter name=left", "rm left",
	}
}
