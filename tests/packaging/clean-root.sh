#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Installs the packages of `make deb` in a Debian that never saw Rust, compiles the README's example there by
# pkg-config, and starts a container with it; then removes them without a trace.
# usage: clean-root.sh FOLDER_OF_PACKAGES [RELEASE]   (as root)
set -eu
if [ "${RFS_CLEAN_ROOT-}" != inside ]; then
	RFS_CLEAN_ROOT=inside exec unshare --mount --pid --fork --propagation private "$0" "$@"
fi
packages=$1 release=${2:-bookworm}
here=$(dirname "$0")
work=$(mktemp -d -p /var/tmp)
trap 'umount -R "$work/root"; rm -rf --one-file-system "$work"' EXIT
root=$work/root

mkdir "$root"
debootstrap --variant=minbase --include=busybox-static,gcc,libc6-dev,pkgconf "$release" "$root" \
	>"$work/debootstrap.log" || {
	tail -n 20 "$work/debootstrap.log"
	exit 1
}
mount --bind "$root" "$root" # pivot_root wants a mount
mount -t proc proc "$root/proc"
cp "$packages"/librfs1_*.deb "$packages"/librfs-dev_*.deb "$root/tmp/"
cp "$here/../../README.md" "$here/../../debian/tests/readme-example" "$root/tmp/"

in_root() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root chroot "$root" "$@"; }
in_root sh -ec 'cd /tmp && dpkg -i ./*.deb && ./readme-example'
in_root sh -ec 'zcat /usr/share/man/man3/rfs_prepare.3.gz | grep -q rfs_prepare'
in_root dpkg -P librfs-dev librfs1
if in_root sh -c 'find / -xdev -name "*librfs*" -not -path "/tmp/*"' | grep .; then
	echo "the packages left these behind" >&2
	exit 1
fi
