package builder

import (
	"fmt"
	"testing"

	"naru/naru"
)

func BenchmarkSameDockerfile(b *testing.B) {
	w := newWorld(b)
	w.busybox(b)
	w.write(b, "Dockerfile", "FROM busybox\nRUN echo a >/a\nCOPY . /src\nRUN cat /src/main >/b\n")
	for i := range 50 {
		w.write(b, fmt.Sprintf("dir/file%d", i), "x")
	}
	w.write(b, "main", "1")
	req := request("web", naru.BuildSpec{})
	w.mustBuild(b, req)
	for b.Loop() {
		w.mustBuild(b, req)
	}
}

func BenchmarkSameGo(b *testing.B) {
	w := newWorld(b)
	w.write(b, "go.mod", "module example.org/hello\n\ngo 1.24\n")
	w.write(b, "main.go", "package main\n\nfunc main() { println(1) }\n")
	req := request("hello", naru.BuildSpec{Kind: naru.BuildGo})
	w.mustBuild(b, req)
	for b.Loop() {
		w.mustBuild(b, req)
	}
}
