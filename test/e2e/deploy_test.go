package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"naru/internal/testkit"
)

func TestAFolderBecomesARoutedApp(t *testing.T) {
	d := start(t)
	out := d.OK("up", site("one").write(t))
	if want := "http://hello.localhost"; !strings.Contains(out, want) {
		t.Errorf("up does not print the URL %s:\n%s", want, out)
	}
	answers(t, d, "one")
	if got, err := d.Get("nobody.localhost", "/"); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("a host of no app is answered %q, %v; want a 404", got, err)
	}
}

// wellUnderASecond holds the best of three times to what was promised: any one may have met a busy machine.
func wellUnderASecond(t *testing.T, took func() time.Duration) {
	t.Helper()
	if best := min(took(), took(), took()); best > time.Second {
		t.Errorf("it takes %v, want well under a second", best)
	}
}

func TestASecondUpDoesNothingSaysSoAndIsFast(t *testing.T) {
	d := start(t)
	dir := site("one").write(t)
	d.OK("up", dir)
	before := d.Ready("hello", "web", 1)
	again := d.Naru("up", dir)
	if again.Code != 0 || !strings.Contains(again.Stdout, "nothing to do") {
		t.Errorf("want a no-op that says so: %v", again)
	}
	wellUnderASecond(t, func() time.Duration { return d.Naru("up", dir).Took })
	if n := len(d.Releases("hello")); n != 1 {
		t.Errorf("there are %d releases after a no-op, want 1", n)
	}
	if after := d.Ready("hello", "web", 1); after[0].ID != before[0].ID {
		t.Errorf("the instance was replaced by a no-op: %s, then %s", before[0].ID, after[0].ID)
	}
}

func TestADeployUnderLoadLosesNothing(t *testing.T) {
	d := start(t)
	app := site("one")
	dir := app.write(t)
	d.OK("up", dir)

	load := testkit.StartLoad(t, d.HTTP, "hello.localhost", "/", 200)
	load.Waits(100)
	files{"index.html": "two\n"}.writeTo(t, dir)
	d.OK("up", dir)
	load.Waits(100)
	load.OnlySees("one", "two")
	answers(t, d, "two")
}

func TestRollbackAndScaleUnderLoadLoseNothing(t *testing.T) {
	d := start(t)
	d.OK("up", ready("one").write(t))
	d.OK("up", ready("two").write(t))

	load := testkit.StartLoad(t, d.HTTP, "hello.localhost", "/", 100)
	load.Waits(50)
	d.OK("scale", "-a", "hello", "web=3")
	d.Ready("hello", "web", 3)
	load.Waits(50)
	d.OK("rollback", "-a", "hello")
	load.Waits(50)
	d.OK("scale", "-a", "hello", "web=1")
	d.Ready("hello", "web", 1)
	load.Waits(50)
	load.OnlySees("one", "two")
	answers(t, d, "one")
}

func TestACanaryGivesBothAShare(t *testing.T) {
	d := start(t)
	canary := func(word string) files {
		return files{"compose.yaml": ready(word)["compose.yaml"] + `    x-naru:
      rollout: {strategy: canary, steps: [{weight: 50, pause: 2s}]}
`}
	}
	d.OK("up", canary("one").write(t))
	up := d.Command(t.Context(), "up", canary("two").write(t))
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	testkit.Eventually(t, time.Minute, "both releases answer", func() error {
		if got, err := d.Get("hello.localhost", "/"); err != nil {
			t.Errorf("a request failed: %v", err)
		} else {
			seen[got]++
		}
		if seen["two"] == 0 {
			return fmt.Errorf("seen %v", seen)
		}
		return nil
	})
	testkit.Eventually(t, time.Minute, "the old one answers beside the new one", func() error {
		got, err := d.Get("hello.localhost", "/")
		if err != nil || got != "one" {
			return fmt.Errorf("got %q, %v", got, err)
		}
		return nil
	})
	if err := up.Wait(); err != nil {
		t.Fatalf("the canary failed: %v", err)
	}
	for range 20 {
		answers(t, d, "two")
	}
}

func TestAReleaseThatDoesNotGetReadyLeavesTheOldServing(t *testing.T) {
	d := start(t)
	d.OK("up", ready("one").write(t))
	broken := strings.Replace(ready("two")["compose.yaml"], "exec httpd -f -p 8080 -h /tmp/www", "echo the port is wrong; exec httpd -f -p 9090 -h /tmp/www", 1)
	load := testkit.StartLoad(t, d.HTTP, "hello.localhost", "/", 50)
	r := d.Naru("up", files{"compose.yaml": broken + "    x-naru: {rollout: {ready_timeout: 3s}}\n"}.write(t))
	refuses(t, r, "the port is wrong")
	load.OnlySees("one")
	d.Ready("hello", "web", 1)
}

func TestAnUnchangedServiceKeepsItsInstance(t *testing.T) {
	d := start(t)
	with := func(word string) string {
		return files{"compose.yaml": ready(word)["compose.yaml"] + `  other:
    image: ` + busybox + `
    init: true
    command: ["sleep", "1000000"]
`}.write(t)
	}
	d.OK("up", with("one"))
	before := d.Ready("hello", "other", 1)
	d.OK("up", with("two"))
	if after := d.Ready("hello", "other", 1); after[0].PID != before[0].PID {
		t.Errorf("a service that did not change has pid %d after the deploy, and had %d", after[0].PID, before[0].PID)
	}
}

func TestServicesFindEachOtherByName(t *testing.T) {
	d := start(t)
	d.OK("up", files{"compose.yaml": ready("one")["compose.yaml"] + `  other:
    image: ` + busybox + `
    init: true
    command: ["sleep", "1000000"]
`}.write(t))
	if got := d.OK("exec", "-a", "hello", "other", "wget", "-q", "-O", "-", "http://web:8080/"); strings.TrimSpace(got) != "one" {
		t.Errorf("http://web:8080/ answers %q from inside, want one", got)
	}
}

func TestAPublishedPortAnswersUntilDown(t *testing.T) {
	d := start(t)
	port := testkit.FreePort(t)
	d.OK("up", files{"compose.yaml": ready("one")["compose.yaml"] + fmt.Sprintf("    ports: [\"%d:8080\"]\n", port)}.write(t))
	address := fmt.Sprintf("127.0.0.1:%d", port)
	response, err := http.Get("http://" + address + "/")
	if err != nil {
		t.Fatalf("ask the published port: %v", err)
	}
	_ = response.Body.Close()
	if gateway := appGateway6(d); gateway.IsValid() {
		response, err := http.Get("http://" + netip.AddrPortFrom(gateway, uint16(port)).String() + "/")
		if err != nil {
			t.Fatalf("ask the published port by IPv6: %v", err)
		}
		_ = response.Body.Close()
	}
	d.OK("down", "-a", "hello")
	if err := testkit.Dials(address); err == nil {
		t.Error("the published port answers after down")
	}
}

// appGateway6 is an IPv6 address that the host has on the network of an app; zero without IPv6.
func appGateway6(d *testkit.Daemon) netip.Addr {
	var networks []struct {
		Name     string
		Gateway6 netip.Addr
	}
	d.JSON(&networks, "network", "ls")
	for _, n := range networks {
		if strings.HasPrefix(n.Name, "app-") {
			return n.Gateway6
		}
	}
	return netip.Addr{}
}

func TestAfterDownNothingIsLeft(t *testing.T) {
	d := start(t)
	dir := site("one").write(t)
	before := d.Kernel()
	d.OK("up", dir)
	running := d.Kernel().Beyond(before)
	for _, kind := range []string{"link", "nft", "cgroup", "process"} {
		if !containsPrefix(running, kind+" ") {
			t.Errorf("the check is blind: it sees no %s of a running app in\n  %s", kind, strings.Join(running, "\n  "))
		}
	}
	instance := d.Ready("hello", "web", 1)[0]
	d.OK("down", "-a", "hello")
	d.Settles(before)
	testkit.Eventually(t, 30*time.Second, "no file of the instance is left", func() error { // big trees go a moment later
		if left := foldersNaming(t, string(instance.ID), d.Data, d.Run); len(left) > 0 {
			return fmt.Errorf("left:\n  %s", strings.Join(left, "\n  "))
		}
		return nil
	})
	if _, err := d.Get("hello.localhost", "/"); err == nil {
		t.Error("the app answers after down")
	}
	d.OK("up", dir)
	answers(t, d, "one")
}

func containsPrefix(lines []string, prefix string) bool {
	for _, line := range lines {
		if strings.HasPrefix(line, prefix) {
			return true
		}
	}
	return false
}

// foldersNaming finds the paths below the folders whose name has the id in it.
func foldersNaming(t *testing.T, id string, folders ...string) []string {
	t.Helper()
	var found []string
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, _ os.DirEntry, err error) error {
			if strings.Contains(filepath.Base(path), id) {
				found = append(found, path)
			}
			if errors.Is(err, os.ErrNotExist) {
				return nil // it went while we looked
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// An import that fails collects what nobody needs; the image of a release before the newest is needed, though the name
// that it was built under means another by now.
func TestARollbackFindsItsImageAfterACollection(t *testing.T) {
	d := start(t)
	app := site("one")
	dir := app.write(t)
	d.OK("up", dir)
	files{"index.html": "two\n"}.writeTo(t, dir)
	d.OK("up", dir)
	if r := d.NaruIn("", []byte("no archive at all"), "image", "import", "-", "garbage"); r.Code == 0 {
		t.Fatalf("garbage was imported: %v", r)
	}
	d.OK("rollback", "-a", "hello")
	answers(t, d, "one")
}
