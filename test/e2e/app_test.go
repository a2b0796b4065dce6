package e2e

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"naru/internal/testkit"
)

// busybox is the local image that the tests' apps are made of: no registry is asked.
const busybox = "busybox:e2e"

// files is an app's folder: contents by path.
type files map[string]string

// write puts the files into a new folder, and returns it.
func (f files) write(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "app")
	f.writeTo(t, dir)
	return dir
}

func (f files) writeTo(t *testing.T, dir string) {
	t.Helper()
	for name, content := range f {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// with is f with some files replaced or added.
func (f files) with(more files) files {
	all := maps.Clone(f)
	maps.Copy(all, more)
	return all
}

// site is an app named hello that is built from a Dockerfile and answers every request with one word.
func site(word string) files {
	return files{
		"compose.yaml": `name: hello
services:
  web:
    build: .
    init: true
    stop_grace_period: 2s
    expose: ["8080"]
`,
		"Dockerfile": `FROM ` + busybox + `
COPY index.html /www/index.html
RUN grep -q . /www/index.html
CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]
`,
		"index.html": word + "\n",
	}
}

// ready is a site without a build: busybox runs as it is, and is told its word by a variable.
func ready(word string) files {
	return files{"compose.yaml": `name: hello
services:
  web:
    image: ` + busybox + `
    init: true
    stop_grace_period: 2s
    expose: ["8080"]
    environment: {WORD: ` + word + `}
    command: ["sh", "-c", "mkdir -p /tmp/www && echo $$WORD >/tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www"]
`}
}

// start is a daemon with the busybox image. One container has run on it: what a daemon makes for its first container and
// keeps until it ends, such as the default network, is there.
func start(t *testing.T) *testkit.Daemon {
	t.Helper()
	d := testkit.StartDaemon(t)
	d.ImportBusybox(busybox)
	d.OK("container", "run", "--rm", busybox, "true")
	return d
}

// answers fails the test unless the app hello answers with the word.
func answers(t *testing.T, d *testkit.Daemon, word string) {
	t.Helper()
	got, err := d.Get("hello.localhost", "/")
	if err != nil || got != word {
		t.Fatalf("hello.localhost answers %q, %v; want %q", got, err, word)
	}
}

// refuses runs the command line, fails the test unless it fails, and checks that it says all of the words wanted.
func refuses(t *testing.T, r testkit.Result, words ...string) {
	t.Helper()
	if r.Code == 0 {
		t.Fatalf("want a failure: %v", r)
	}
	for _, word := range words {
		if !strings.Contains(r.Stderr, word) {
			t.Errorf("want %q in the message: %v", word, r)
		}
	}
}
