#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Sees to what has to be installed: as root with apt-get, otherwise it only says what is missing.
# usage: deps.sh demo|html|test
set -eu

status=0
if ! command -v cargo >/dev/null; then
	echo "cargo is missing: install Rust 1.85 or later (https://rustup.rs, or Debian's cargo from Debian 13 on)" >&2
	status=1
fi

packages='pkgconf gcc libc6-dev meson ninja-build libjson-c-dev busybox-static'
if [ "$1" != demo ]; then
	packages="$packages mandoc"
fi
if [ "$1" = test ]; then
	# runc and crun are asked for their default configurations, debootstrap for a Debian to run;
	# of the kernels in tests/kernels one is given an ext4, and modules may be compressed.
	packages="$packages g++ binutils valgrind runc crun debootstrap python3 strace e2fsprogs xz-utils"
	# For containers of ordinary users, and file systems to idmap.
	packages="$packages uidmap xfsprogs btrfs-progs"
	# Other kernels are downloaded from Debian's archive.
	packages="$packages debian-archive-keyring"
	# For packages, and compilers and emulators of other machines.
	packages="$packages debhelper lintian rpm rpmlint musl-tools qemu-user-static"
	packages="$packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-riscv64-linux-gnu libc6-dev-riscv64-cross"
	packages="$packages gcc-arm-linux-gnueabihf libc6-dev-armhf-cross gcc-i686-linux-gnu libc6-dev-i386-cross"
fi

missing=
if command -v dpkg-query >/dev/null; then
	for package in $packages; do
		case $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>&1) in
		installed) ;;
		*) missing="$missing $package" ;;
		esac
	done
else
	echo "not a Debian system; needed is what Debian calls: $packages" >&2
fi

if [ -n "$missing" ] && [ "$(id -u)" = 0 ]; then
	export DEBIAN_FRONTEND=noninteractive
	apt-get update
	# shellcheck disable=SC2086 # several packages
	apt-get install -y --no-install-recommends $missing
elif [ -n "$missing" ]; then
	echo "missing Debian packages:$missing" >&2
	echo "install them as root: apt-get install --no-install-recommends$missing" >&2
	status=1
fi
exit $status
