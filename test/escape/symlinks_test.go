package escape

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// attacksBySymlinks have mounts lead to the host: by links of the image, and by links that change while naru looks.
func attacksBySymlinks(t *testing.T, s *suite) {
	inner := filepath.Join(s.dir, "inner")
	must(t, os.Mkdir(inner, 0o755))
	must(t, os.WriteFile(filepath.Join(inner, "flag"), []byte("the host's"), 0o644))
	up := strings.Repeat("../", 20)
	s.importImage(t, "links:escape", s.makeRootfs(t, map[string]string{
		"abs": inner, "rel": up + inner[1:], "cwd": "/proc/self/cwd", "one": "/proc/1/root", "exe": "/proc/self/exe",
		"net": "/proc/sys/net/ipv4",
	}))
	s.importImage(t, "etc:escape", s.makeRootfs(t, map[string]string{
		"etc/hosts": up + inner[1:] + "/hosts", "etc/resolv.conf": inner + "/resolv.conf",
	}))
	t.Run("volumes", func(t *testing.T) { volumesThroughLinks(t, s, inner) })
	t.Run("swapped", func(t *testing.T) { volumesThroughSwaps(t, s, inner) })
	t.Run("subpaths", func(t *testing.T) { volumeSubpaths(t, s, inner) })
	t.Run("contents", func(t *testing.T) { volumesFromLinks(t, s) })
	t.Run("copies", func(t *testing.T) { copiesThroughLinks(t, s, inner) })
	t.Run("proc", func(t *testing.T) { procThroughLinks(t, s) })
	t.Run("dev", func(t *testing.T) { devicesThroughLinks(t, s) })
}

// volumesThroughLinks mounts volumes on links that lead to the host's folder, and to /proc.
func volumesThroughLinks(t *testing.T, s *suite, inner string) {
	const name = "volumes on symlinks to the host"
	before := hostMounts(t)
	last, started := outcome{"held", ""}, 0
	if o := s.inImage("etc:escape", nil, "host-file", s.flag); o.verdict == "escaped" {
		last = o
	}
	for _, target := range words("/abs/made", "/rel/made", "/cwd"+inner+"/made", "/one"+inner+"/made", "/abs", "/exe") {
		for _, mount := range [][]string{words("-v", "v1:"+target), words("--tmpfs", target), words("-w", target)} {
			o := s.inImage("links:escape", mount, "host-file", s.flag)
			if o.verdict != "" {
				started++
			}
			if o.verdict == "escaped" {
				last = o
			}
		}
	}
	if names := listOf(t, inner); len(names) != 1 {
		last = outcome{"escaped", "made on the host: " + strings.Join(names, " ")}
	}
	if now := hostMounts(t); now != before {
		last = outcome{"escaped", "mounted on the host: " + now}
	}
	if started == 0 {
		t.Error("no container with a link started, which shows nothing")
	}
	if last.verdict == "held" {
		last.seen = fmt.Sprintf("%d containers started, and the host was not touched", started)
	}
	s.table.note(t, name, naru, last)
}

// volumesThroughSwaps is CVE-2021-30465: one container exchanges a folder of a shared volume for a link, while others
// start with mounts below it.
func volumesThroughSwaps(t *testing.T, s *suite, inner string) {
	const name = "mount targets swapped during start (CVE-2021-30465)"
	up := strings.Repeat("../", 20)
	s.background(t, "swapper", words("-v", "shared:/shared"), "swap", "/shared", up+inner[1:], "40")
	s.says(t, "swapper", "swapping")
	last, started := outcome{"held", ""}, 0
	for range 20 {
		r := s.inNaru(words("-v", "shared:/shared", "-v", "other:/shared/x/made", "-v", "third:/shared/x"), "host-file", s.flag)
		if r.verdict != "" {
			started++
		}
		if r.verdict == "escaped" {
			last = r
		}
	}
	s.d.Naru("container", "exec", "swapper", "/bin/touch", "/shared/stop")
	if names := listOf(t, inner); len(names) != 1 {
		last = outcome{"escaped", "made on the host: " + strings.Join(names, " ")}
	}
	if last.verdict == "held" {
		last.seen = fmt.Sprintf("%d of 20 containers started, and the host was not touched", started)
	}
	s.table.note(t, name, naru, last)
}

// volumeSubpaths has a part of a volume mounted that is a link to the host, or becomes one while naru looks.
func volumeSubpaths(t *testing.T, s *suite, inner string) {
	const name = "a volume's subpath that is, or becomes, a link to the host (CVE-2017-1002101)"
	up := strings.Repeat("../", 20)
	r := s.d.Naru("container", "run", "--rm", "-v", "parts:/p", image, "sh", "-c",
		"ln -s "+inner+" /p/abs; ln -s "+up+inner[1:]+" /p/rel; ln -s . /p/self; mkdir /p/real; echo >/p/real/own; ln -s /proc/1/root"+inner+" /p/root")
	if r.Code != 0 {
		t.Fatal(r)
	}
	mount := func(volume, part string) []string {
		return words("--mount", "type=volume,source="+volume+",target=/t,volume-subpath="+part)
	}
	if r := s.d.Naru(append(append(words("container", "run", "--rm"), mount("parts", "real")...), image, "cat", "/t/own")...); r.Code != 0 {
		t.Fatalf("a subpath that is as it should be does not work: %v", r)
	}
	last := outcome{"held", "no subpath leads out of its volume"}
	try := func(volume, part string) {
		if o := s.inImage(image, mount(volume, part), "host-file", "/flag", "/t"); o.verdict == "escaped" {
			last = o
		}
	}
	for _, part := range words("abs", "rel", "self/abs", "root", "../../.."+inner, "real/../../../.."+inner, ".", inner) {
		try("parts", part)
	}
	s.background(t, "subswapper", words("-v", "parts:/p"), "swap", "/p", up+inner[1:], "40")
	s.says(t, "subswapper", "swapping")
	for range 15 {
		try("parts", "x")
	}
	s.d.Naru("container", "exec", "subswapper", "/bin/touch", "/p/stop")
	s.table.note(t, name, naru, last)
}

// volumesFromLinks has a new volume begin with what the image has at its target, which is a link to the host.
func volumesFromLinks(t *testing.T, s *suite) {
	const name = "a new volume begun with what a link of the image leads to"
	last := outcome{"held", "nothing of the host is in the volume"}
	for i, target := range words("/abs", "/rel") {
		volume := fmt.Sprintf("fresh%d:", i)
		for _, at := range words(target, "/plain") {
			if o := s.inImage("links:escape", words("-v", volume+at), "host-file", "/flag", at); o.verdict == "escaped" {
				last = o
			}
		}
	}
	s.table.note(t, name, naru, last)
}

// copiesThroughLinks has naru copy out of and into a container by links that lead to the host (CVE-2018-15664).
func copiesThroughLinks(t *testing.T, s *suite, inner string) {
	const name = "container cp through a link to the host (CVE-2018-15664)"
	if r := s.d.Naru("container", "run", "-d", "--name", "copied", "links:escape", "/attacker", "hold", "100"); r.Code != 0 {
		t.Fatal(r)
	}
	t.Cleanup(func() { s.d.Naru("container", "rm", "--force", "copied") })
	last := outcome{"held", "nothing was read from or written to the host"}
	file := filepath.Join(t.TempDir(), "planted")
	must(t, os.WriteFile(file, []byte("planted"), 0o644))
	for i, link := range words("abs", "rel", "cwd"+inner, "one"+inner) {
		out := filepath.Join(t.TempDir(), fmt.Sprint("out", i))
		s.d.Naru("container", "cp", "copied:/"+link+"/flag", out)
		if got, err := os.ReadFile(out); err == nil {
			last = outcome{"escaped", fmt.Sprintf("read %q through /%s", got, link)}
		}
		s.d.Naru("container", "cp", file, "copied:/"+link+"/planted")
	}
	if names := listOf(t, inner); len(names) != 1 {
		last = outcome{"escaped", "made on the host: " + strings.Join(names, " ")}
	}
	s.table.note(t, name, naru, last)
}

// procThroughLinks is CVE-2019-16884 and -52881: what naru writes to /proc at a start goes where a link says.
func procThroughLinks(t *testing.T, s *suite) {
	const name = "procfs redirected by a volume (CVE-2019-16884, CVE-2025-52881)"
	const file = "/proc/sys/kernel/print-fatal-signals" // harmless, and 0 on most machines
	old, err := os.ReadFile(file)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { must(t, os.WriteFile(file, old, 0)) })
	r := s.d.Naru("container", "run", "--rm", "-v", "evil:/evil", image, "sh", "-c",
		"ln -s "+file+" /evil/ip_unprivileged_port_start; ln -s "+file+" /evil/ping_group_range")
	if r.Code != 0 {
		t.Fatal(r)
	}
	for column, flags := range map[string][]string{naru: nil, hostUser: words("--userns", "host")} {
		must(t, os.WriteFile(file, []byte("1"), 0))
		o := s.inImage("links:escape", append(flags, "-v", "evil:/net"), "masked")
		o.verdict = "held" // whether it started does not matter
		if now, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(now)) != "1" {
			o = outcome{"escaped", fmt.Sprintf("%s of the host is %q (%v)", file, now, err)}
		}
		s.table.note(t, name, column, o)
	}

	const linked = "/proc itself a symlink of the image"
	s.importImage(t, "proc:escape", s.makeRootfs(t, map[string]string{"proc": "/elsewhere"}))
	for _, a := range words("masked", "proc-sys", "core-pattern") {
		o := s.inImage("proc:escape", nil, a)
		if o.verdict != "escaped" {
			o.verdict = "held" // not to start is to hold
		}
		s.table.note(t, linked, naru, o)
	}
}

// devicesThroughLinks is CVE-2025-31133 and -52565: /dev/null and the console are links, in the image and in a volume
// that lies over /dev.
func devicesThroughLinks(t *testing.T, s *suite) {
	const name = "/dev/null and /dev/console as symlinks (CVE-2025-31133, CVE-2025-52565)"
	r := s.d.Naru("container", "run", "--rm", "-v", "dev:/v", image, "sh", "-c",
		"for n in null console zero full pts/0 ptmx; do mkdir -p /v/pts; ln -s /proc/sys/kernel/core_pattern /v/$n; done")
	if r.Code != 0 {
		t.Fatal(r)
	}
	s.importImage(t, "dev:escape", s.makeRootfs(t, map[string]string{"dev": "/proc/sys/kernel"}))
	for _, start := range []struct {
		image string
		flags []string
	}{{image, words("-v", "dev:/dev")}, {"dev:escape", nil}} {
		for _, a := range words("masked", "core-pattern", "proc-sys", "sysrq") {
			o := s.inImage(start.image, start.flags, a)
			if o.verdict != "escaped" {
				o.verdict = "held" // not to start is to hold
			}
			s.table.note(t, name, naru, o)
		}
	}
}

func listOf(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// hostMounts are the host's mounts, those of other daemons aside.
func hostMounts(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	var ours []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "escape") {
			ours = append(ours, line)
		}
	}
	return strings.Join(ours, "")
}

// attacksThroughVolumes leave setuid programs where users of the host might find them: moby's CVE-2021-41091.
func attacksThroughVolumes(t *testing.T, s *suite) {
	const name = "a setuid program left on a volume, run by a local user (CVE-2021-41091)"
	s.background(t, "leaver", words("-v", "left:/left"), "hold", "100")
	r := s.d.Naru("container", "exec", "leaver", "sh", "-c",
		"cp /attacker /left/suid && chmod 4755 /left/suid && cp /attacker /left-suid && chmod 4755 /left-suid")
	if r.Code != 0 {
		t.Fatal(r)
	}
	var found []string
	must(t, filepath.WalkDir(s.d.Data, func(path string, e os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "suid") {
			found = append(found, path)
		}
		return nil
	}))
	if len(found) < 2 {
		t.Fatalf("the programs are not found below %s: %v", s.d.Data, found)
	}
	for _, path := range found {
		s.table.note(t, name, naru, s.onHost(t, nil, "suid-host", path))
	}
	open := filepath.Join(s.dir, "open-suid")
	body, err := os.ReadFile(s.attacker)
	must(t, err)
	must(t, os.WriteFile(open, body, 0o755))
	must(t, os.Chmod(open, 0o4755|os.ModeSetuid))
	s.table.red(t, name, "the same program in a folder that everybody may enter", s.onHost(t, nil, "suid-host", open))

	const database = "naru's database, read by a local user"
	last := outcome{"held", "no file of the database can be opened"}
	for _, file := range words("naru.db", "naru.db-wal") {
		if r := s.onHost(t, nil, "as-user", filepath.Join(s.d.Data, file)); r.verdict != "held" {
			last = r
		}
	}
	s.table.note(t, database, naru, last)
	s.table.red(t, database, "a file that everybody may read", s.onHost(t, nil, "as-user", s.flag))
}
