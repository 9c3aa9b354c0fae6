#!/bin/sh
# Process 1 of a guest in the lab: runs /steps/*, says how each ended and what the kernel complained of, and switches the machine off.
/bin/busybox --install -s /bin
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
while read -r module; do
  insmod "/modules/$module" || echo "guest: cannot load $module"
done < /modules/list

for step in /steps/*; do
  echo "guest: begin ${step##*/}"
  sh -e "$step"
  echo "guest: end ${step##*/} $?"
done
# Levels 0 to 4: warnings and worse.
dmesg -r | grep '^<[0-4]>' | sed 's/^/guest: kernel /'
poweroff -f
