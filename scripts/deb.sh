#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# `make deb`: Debian packages in build/deb, of the release's tarball in build/dist and of debian/, built without a
# network. What debian/control asks for but cargo must be installed; cargo may come from rustup.
set -eu
cd "$(dirname "$0")/.."
version=$(sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' Cargo.toml)
package=$(dpkg-parsechangelog --show-field Version)
if [ "${package%-*}" != "$version" ]; then
	echo "deb: debian/changelog is at $package, Cargo.toml at $version" >&2
	exit 1
fi
rm -rf build/deb
mkdir -p build/deb
cp "build/dist/librfs-$version.tar.gz" "build/deb/librfs_$version.orig.tar.gz"
tar -x -C build/deb -f "build/deb/librfs_$version.orig.tar.gz"
cp -r debian "build/deb/librfs-$version/"
cd "build/deb/librfs-$version"
# debhelper sets another HOME, and rustup looks for its compilers there.
export RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}"
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git -C ../../.. log -1 --format=%ct)}"
offline=
if [ "$(id -u)" = 0 ]; then
	offline='unshare --net'
fi
# shellcheck disable=SC2086 # no word, or two
$offline dpkg-buildpackage --unsigned-source --unsigned-changes --no-check-builddeps
cd ..
rm -r "librfs-$version"
# The project has no mail address for the maintainer, nor has anybody asked Debian for the package in a bug yet.
lintian --fail-on error,warning ./*.changes \
	--suppress-tags bogus-mail-host,bogus-mail-host-in-debian-changelog,initial-upload-closes-no-bugs
