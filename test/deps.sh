#!/bin/sh
# Brings what tests and benchmarks need from Debian's packages: small tools are installed; a kernel for the VM lane and
# what loads policies into it, dockerd, containerd, podman and rsyslog are only unpacked into a folder of the user's cache, so that nothing else on
# this machine starts to use them. Does nothing, fast, when all is there.
set -eu
export LC_ALL=C

deps=${NARU_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/naru-deps}

need() { # command package: package is wanted when command is missing
    command -v "$1" >/dev/null || wanted="$wanted $2"
}
PATH=$PATH:/usr/sbin:/sbin
wanted=
need busybox busybox-static
need cc "gcc libc6-dev"
need curl curl
need ip iproute2
need iptables iptables
need mke2fs e2fsprogs
need mkfs.xfs xfsprogs
need musl-gcc musl-tools
need newuidmap uidmap
need nft nftables
need pasta passt
need qemu-system-x86_64 qemu-system-x86
need slirp4netns slirp4netns
need wrk wrk

if [ -z "$wanted" ] && [ -e "$deps/complete" ] && [ -d "$deps/podman" ] && [ -d "$deps/rsyslog" ] && [ -d "$deps/labels" ]; then
    echo "deps: all there"
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "deps: no apt-get here; install by hand:$wanted" >&2
    exit 1
fi
apt-get update -q
if [ -n "$wanted" ]; then
    # shellcheck disable=SC2086 # a list
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $wanted
fi

unpack() { # folder package...
    into=$deps/$1
    shift
    rm -rf "$into" "$deps/debs"
    mkdir -p "$into" "$deps/debs"
    (cd "$deps/debs" && apt-get download -q "$@")
    for deb in "$deps"/debs/*.deb; do dpkg -x "$deb" "$into"; done
    rm -r "$deps/debs"
}
rm -f "$deps/complete"
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
unpack kernel "$kernel"
unpack labels apparmor secilc libsepol2
unpack docker docker.io containerd runc
unpack podman podman conmon netavark libassuan0 libdevmapper1.02.1 libglib2.0-0 libgpgme11 libseccomp2 libsubid4
unpack rsyslog rsyslog libestr0 libfastjson4
touch "$deps/complete"
