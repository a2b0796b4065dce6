# What people and .ci/run do with this tree. `make help` lists it.

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PREFIX  ?= /usr/local
KEEPER  := engine/keeper/embedded/keeper
WHOLE   := cmd/naru/embedded/naru
LDFLAGS := -s -w -X main.version=$(VERSION)
REPORT  := go run ./internal/testkit/report
# What race detection tells something about, and is affordable for: BuildKit alone would double a run's time, test/,
# bench/ and ociruntime drive programs, and internal/arch reads text.
RACED    = $(shell go list -f '{{.ImportPath}} {{join .Deps " "}}' ./... | \
	grep -v -e moby/buildkit -e ^naru/test/ -e ^naru/bench/ -e ^naru/ociruntime -e ^naru/internal/arch | cut -d' ' -f1)

export CGO_ENABLED = 0

.PHONY: help build keeper whole install deps lint test test-peers test-conformance test-race test-vm test-long bench demo clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' Makefile | expand -t 18

build: whole ## bin/naru, one static binary; and bin/naru-oci, its OCI runtime alone
	go build -tags front -trimpath -ldflags "$(LDFLAGS)" -o bin/naru ./cmd/naru
	go build -trimpath -ldflags "$(LDFLAGS)" -o bin/naru-oci ./cmd/naru-oci

keeper: # the tiny static binary that bin/naru carries inside: it holds containers and is their init
	go build -trimpath -ldflags "-s -w" -o $(KEEPER) ./cmd/naru-keeper

whole: keeper # what bin/naru carries inside and becomes for the daemon's sake: without it, commands start at once
	go build -trimpath -ldflags "$(LDFLAGS)" -o $(WHOLE) ./cmd/naru

install: build ## put naru and naru-oci into PREFIX/bin
	install -D -m 755 bin/naru $(DESTDIR)$(PREFIX)/bin/naru
	install -D -m 755 bin/naru-oci $(DESTDIR)$(PREFIX)/bin/naru-oci

deps: ## what the tests and benchmarks need, from Debian (root)
	test/deps.sh

lint: whole ## gofmt, go vet (amd64, and arm64 where Linux is touched), staticcheck, errcheck
	@unformatted=$$(git ls-files '*.go' | xargs gofmt -l); \
		test -z "$$unformatted" || { echo "run gofmt -w on: $$unformatted"; exit 1; }
	go vet ./...
	go vet -tags front ./cmd/naru
	GOARCH=arm64 go vet ./cmd/naru-keeper ./engine/keeper/... ./engine/network/... ./engine/sandbox/...
	GOARCH=arm64 go build -o /dev/null ./cmd/naru-keeper # the linker checks the stack between fork and exec
	go -C examples/guestbook vet ./...
	go -C test/conformance vet ./...
	go tool staticcheck ./...
	go tool staticcheck -tags front ./cmd/naru
	go tool errcheck -ignoretests -exclude .errcheck-exclude ./...

# One package at a time: tests of the kernel's state check that they left nothing behind, and must not see each other.
test: build ## all tests that this machine can run; says which it skipped and why
	go build ./...
	(NARU_BIN=$(CURDIR)/bin/naru go test -json -p 1 -timeout 20m ./... ; go -C examples/guestbook test -json ./...) | $(REPORT)

test-peers: build ## Debian's dockerd, containerd and podman run containers with naru's OCI runtime (root)
	NARU_BIN=$(CURDIR)/bin/naru go test -json -count 1 -timeout 10m ./test/peers | $(REPORT)

# The programs mostly wait: more at a time than there are processors.
test-conformance: build ## runtime-tools' validation programs with naru's OCI runtime, and with runc (root)
	NARU_BIN=$(CURDIR)/bin/naru go -C test/conformance test -json -count 1 -timeout 15m -parallel 8 . | $(REPORT)

test-race: keeper ## the same under the race detector, without what links BuildKit (needs a C compiler)
	CGO_ENABLED=1 go test -json -p 1 -timeout 20m -race $(RACED) | $(REPORT)

test-vm: build ## the engine and a smoke test on another kernel, with cgroup v2 (needs qemu)
	NARU_VM=$${NARU_VM:-1} NARU_BIN=$(CURDIR)/bin/naru go test -json -count 1 -timeout 20m ./test/vm | $(REPORT)

test-long: build ## what test/faults and the power cut do, for an hour instead of a minute; a large network (root, qemu)
	NARU_BIN=$(CURDIR)/bin/naru go test -json -count 1 -timeout 90m ./test/faults -kills 200 -cycles 20000 | $(REPORT)
	go test -json -count 1 ./engine/network -run MoreThan -large | $(REPORT)
	NARU_VM=powercut NARU_BIN=$(CURDIR)/bin/naru go test -json -count 1 -timeout 90m ./test/vm -run PowerCut -cuts 30 | $(REPORT)

bench: build ## naru against its peers, side by side on this machine (root)
	go run ./bench/start
	go run ./bench/sandbox
	go run ./bench/engine
	go run ./bench/logs
	go run ./bench/port

demo: build ## deploy examples/guestbook on this machine and show a request answered (root)
	@examples/demo.sh bin/naru

clean: ## forget what was built
	rm -rf bin $(KEEPER) $(WHOLE)
