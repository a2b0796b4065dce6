FROM naru.local/golang:1.26.0 AS toolchain
FROM toolchain AS build
ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOROOT=/usr/local/go HOME=/root GOPATH=/go GOMODCACHE=/go/pkg/mod GOCACHE=/root/.cache/go-build
ARG GOPROXY
ARG VERSION
RUN --mount=type=bind,target=/src --mount=type=cache,id=naru-gocache,target=/root/.cache/go-build --mount=type=cache,id=naru-gomodcache,target=/go/pkg/mod --mount=type=tmpfs,target=/tmp ["/usr/local/go/bin/go","build","-C","/src","-trimpath","-buildvcs=false","-ldflags","-s -w","-o","/app","./cmd/web"]
FROM scratch
COPY --from=toolchain /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=toolchain /usr/local/go/lib/time/zoneinfo.zip /usr/share/zoneinfo.zip
COPY --from=toolchain --parents /tmp /
ENV ZONEINFO=/usr/share/zoneinfo.zip
COPY --from=build /app /app
ENTRYPOINT ["/app"]
