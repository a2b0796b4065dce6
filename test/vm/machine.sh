# Makes the machine that a distribution would: sourced by each guest's process 1, which is init.sh or powercut.sh. Lines
# that begin with @@ are for the reader at the other end of the serial console.
export PATH=/bin:/sbin HOME=/root NARU_BIN=/bin/naru

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t securityfs securityfs /sys/kernel/security
[ -d /sys/fs/selinux ] && mount -t selinuxfs selinuxfs /sys/fs/selinux
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm /run /mnt /var/lib
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
