#!/bin/sh
# Process 1 of the guest: makes the machine that a distribution would, runs every suite and turns the machine off. Lines
# that begin with @@ are for the reader at the other end of the serial console.
export PATH=/bin:/sbin HOME=/root NARU_BIN=/bin/naru

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm /run /var/lib
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ln -sf /proc/mounts /etc/mtab
ln -sf /proc/self/fd /dev/fd
hostname guest
echo guest >/etc/hostname
echo "127.0.0.1 localhost guest" >/etc/hosts
ip link set lo up
while read -r module; do insmod "$module" || echo "cannot load $module"; done </modules

# suite runs the test program in folder $1; $2 chooses the tests.
suite() {
    echo "@@begin $1"
    (cd "/suite/$1" && ./test -test.v -test.timeout 10m ${2:+-test.run "$2"} 2>&1)
    status=$?
    echo
    echo "@@end $1 $status"
}
. /suites

sync
poweroff -f
