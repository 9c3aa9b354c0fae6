#!/bin/sh
# Process 1 of the lab: makes the host's file system its own, copy-on-write, and runs there what it is told to.
/bin/busybox --install -s /bin
export PATH=/bin
fail() { echo "lab: $1" > /dev/console; poweroff -f; }

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
mkdir -p /mnt/root/lab /mnt/root/scratch /runs
# Not cached: what one side writes the other sees at once.
mount -t 9p -o trans=virtio,version=9p2000.L,cache=none,msize=524288 runs /runs || fail "no share"
mode=$(sed -n 's/.*lab\.mode=\([a-z]*\).*/\1/p' /proc/cmdline)
exec < /dev/ttyS1 > /dev/ttyS1 2>&1
for folder in proc sys dev; do mount --bind "/$folder" "/mnt/root/$folder"; done
mkdir -p /mnt/root/dev/shm
mount -t tmpfs tmpfs /mnt/root/dev/shm
mount -t tmpfs tmpfs /mnt/root/scratch

# perform FOLDER COMMAND...: runs a command with /runs/FOLDER as its /lab, and then clears away what it leaves.
perform() {
  mount --bind "/runs/$1" /mnt/root/lab
  shift
  PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin /bin/chroot /mnt/root "$@"
  status=$?
  # Every process but this one, which is process 1.
  kill -9 -1
  umount -l /mnt/root/lab
  rm -rf /mnt/root/scratch/* /mnt/root/dev/shm/*
  return $status
}

# A person's terminal becomes the controlling one of the shell.
if [ "$mode" = shell ]; then
  perform shell /usr/bin/setsid sh -c 'exec /bin/sh /lab/command < /dev/ttyS1 > /dev/ttyS1 2>&1'
  echo $? > /runs/shell/status
  poweroff -f
fi

# Each line is a folder and the seconds that its command may take. Nobody is there any more when none comes for long.
stty raw -echo
echo "lab: ready"
while read -r -t 1800 folder seconds; do
  while sleep 10; do echo "lab: alive"; done &
  perform "$folder" /usr/bin/timeout -s KILL "$seconds" /bin/sh /lab/command < /mnt/root/dev/null > "/runs/$folder/lab.log" 2>&1
  echo "lab: status $?"
done
poweroff -f
