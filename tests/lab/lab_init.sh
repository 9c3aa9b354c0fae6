#!/bin/sh
# Process 1 of the lab: makes the host's file system its own, copy-on-write, runs /lab/command there, and switches the machine off.
/bin/busybox --install -s /bin
export PATH=/bin
fail() { echo "lab: $1"; poweroff -f; }

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do
  insmod "/modules/$module" || fail "cannot load $module"
done < /modules/list

mkdir /mnt/lower /mnt/upper /mnt/root
mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,msize=524288,ro root /mnt/lower || fail "no root"
mount -t tmpfs -o size=80% tmpfs /mnt/upper
mkdir /mnt/upper/files /mnt/upper/work
mount -t overlay -o lowerdir=/mnt/lower,upperdir=/mnt/upper/files,workdir=/mnt/upper/work overlay /mnt/root ||
  fail "no overlay"
mkdir -p /mnt/root/lab
mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288 lab /mnt/root/lab || fail "no share"
for folder in proc sys dev; do mount -o move "/$folder" "/mnt/root/$folder"; done
mkdir -p /mnt/root/dev/shm
mount -t tmpfs tmpfs /mnt/root/dev/shm
mount -t tmpfs tmpfs /mnt/root/tmp

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
chroot /mnt/root /bin/sh /lab/command < /mnt/root/dev/null
echo $? > /mnt/root/lab/status
/bin/busybox sync
/bin/busybox poweroff -f
