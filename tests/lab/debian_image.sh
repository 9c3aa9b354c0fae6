#!/bin/sh
#
# Builds the root file system of an ordinary Debian installation, ext4, in a disk image:
#
#     debian_image.sh UUID PASSWORD OFFSET SIZE IMAGE
#
# UUID is the file system's, PASSWORD root's, OFFSET where in the image the file system begins, in bytes, SIZE the file system's size in
# KiB. The image's other bytes are left alone.
#
# Packages come from where apt gets Debian's here. Loop devices are not needed; mmdebstrap finds a way to have a root of its own, and
# fakeroot keeps the owners of files for who is not root.

set -eu

uuid=$1 password=$2 offset=$3 size=$4 image=$5
work=$image.work
kernel_options='console=ttyS0,115200n8 quiet'

# The smallest installation that is whole. zstd and busybox are what initramfs-tools recommends.
packages=systemd-sysv,udev,dbus,libpam-systemd,linux-image-amd64,initramfs-tools,zstd,busybox,e2fsprogs,kmod,procps

# debian_archives FORMAT: what apt knows of each part of Debian's archives.
debian_archives() {
  apt-get indextargets --format "$1" 'Origin: Debian' 'Created-By: Packages' | sort -u
}

rm -rf "$work"
mkdir -p "$work/grub/i386-pc"

debian_archives 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' > "$work/sources.list"
# Updates have the release's name and a suffix.
codename=$(debian_archives '$(CODENAME)' | head -n 1)
if [ -z "$codename" ]; then
  echo "apt knows no archive of Debian's: run apt-get update" >&2
  exit 1
fi

# As grub-install and update-grub leave it, with `GRUB_TERMINAL=serial`, and a menu that gives a person time.
cp /usr/lib/grub/i386-pc/*.mod /usr/lib/grub/i386-pc/*.lst "$work/grub/i386-pc"
cat > "$work/grub/grub.cfg" << END
serial --unit=0 --speed=115200
terminal_input serial
terminal_output serial
set default=0
set timeout_style=menu
set timeout=60
menuentry "Debian GNU/Linux" {
  insmod gzio
  insmod part_msdos
  insmod ext2
  search --no-floppy --fs-uuid --set=root $uuid
  echo "Loading Linux ..."
  linux /vmlinuz root=UUID=$uuid ro $kernel_options
  echo "Loading initial ramdisk ..."
  initrd /initrd.img
}
END
echo "UUID=$uuid / ext4 errors=remount-ro 0 1" > "$work/fstab"
echo splitvm > "$work/hostname"

# The initramfs holds the drivers of the disk controllers that virtual machines have, instead of all that there are: firmware reads it
# in small pieces. Which of them it takes it finds out by itself.
echo MODULES=list > "$work/initramfs.conf"
printf '%s\n' sym53c8xx mptspi ahci nvme virtio_blk virtio_scsi sd_mod ext4 > "$work/modules"
echo "root:$password" > "$work/password"

mmdebstrap --quiet --variant=minbase --include="$packages" \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-exclude=/usr/share/info/*' \
  --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/man/*' \
  --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/usr/share/initramfs-tools/modules.d"' \
  --essential-hook="upload '$work/initramfs.conf' /etc/initramfs-tools/conf.d/modules" \
  --essential-hook="upload '$work/modules' /usr/share/initramfs-tools/modules.d/controllers" \
  --customize-hook="chroot \"\$1\" chpasswd < '$work/password'" \
  --customize-hook="copy-in '$work/grub' /boot" \
  --customize-hook="upload '$work/fstab' /etc/fstab" \
  --customize-hook="upload '$work/hostname' /etc/hostname" \
  --customize-hook='chroot "$1" systemctl --quiet disable e2scrub_reap.service' \
  "$codename" "$work/root.tar" "$work/sources.list"

mkdir "$work/root"
fakeroot sh -eu -c '
  tar --extract --file="$1/root.tar" --directory="$1/root" --exclude="./dev/*"
  mkfs.ext4 -q -F -L root -U "$2" -d "$1/root" -E "offset=$3" "$4" "$5k"
' mkfs "$work" "$uuid" "$offset" "$image" "$size"

rm -rf "$work"
