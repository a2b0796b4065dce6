package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// LookupPrograms makes a folder with the programs musl, glibc and go, which look names up by the resolvers of those
// names: PROGRAM ip|ip4|ip6 NAME prints the addresses, PROGRAM name ADDRESS the name. The folder runs at the given path,
// which is its own one when that is empty: glibc's libraries are in it.
func LookupPrograms(t testing.TB, at string) (dir string) {
	t.Helper()
	cc, musl, golang := RequireCommand(t, "cc"), RequireCommand(t, "musl-gcc"), RequireCommand(t, "go")
	_, here, _, _ := runtime.Caller(0)
	source := filepath.Join(filepath.Dir(here), "testdata", "lookup")
	dir = t.TempDir()
	if at == "" {
		at = dir
	}
	compile(t, musl, "-static", "-O", "-o", filepath.Join(dir, "musl"), source+".c")
	compile(t, golang, "build", "-o", filepath.Join(dir, "go"), source+".go")
	glibc := filepath.Join(dir, "glibc")
	compile(t, cc, "-O", "-o", glibc, source+".c", "-Wl,-rpath,"+at+"/lib", "-Wl,--dynamic-linker="+at+"/lib/ld.so")
	copyLibraries(t, cc, filepath.Join(dir, "lib"))
	return dir
}

func compile(t testing.TB, words ...string) {
	t.Helper()
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", words, err, out)
	}
}

// copyLibraries brings what glibc needs to look names up: a part of it in libraries of their own in former versions.
func copyLibraries(t testing.TB, cc, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"libc.so.6", "libresolv.so.2", "libnss_dns.so.2", "libnss_files.so.2"} {
		out, err := exec.Command(cc, "-print-file-name="+name).Output()
		path := strings.TrimSpace(string(out))
		if err != nil || !filepath.IsAbs(path) {
			continue // this version has none
		}
		copyProgram(t, path, filepath.Join(dir, name))
	}
	loaders, err := filepath.Glob("/lib*/ld-linux*.so.*")
	if err != nil || len(loaders) == 0 {
		t.Skipf("needs glibc's dynamic loader in /lib or /lib64 (%v)", err)
	}
	copyProgram(t, loaders[0], filepath.Join(dir, "ld.so"))
}

func copyProgram(t testing.TB, from, to string) {
	t.Helper()
	body, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, body, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}
