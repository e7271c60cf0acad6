#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# `make rpm`: packages for Fedora in build/rpm, of the release's tarball in build/dist, built without a network and
# checked by rpmlint. On Debian too, whose rpm knows of no packages: what packaging/librfs.spec asks for is not
# checked.
set -eu
cd "$(dirname "$0")/.."
version=$(sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' Cargo.toml)
if ! grep -q "^Version: *$version\$" packaging/librfs.spec; then
	echo "rpm: packaging/librfs.spec is not at version $version, as Cargo.toml is" >&2
	exit 1
fi
rm -rf build/rpm
mkdir -p build/rpm
offline=
if [ "$(id -u)" = 0 ]; then
	offline='unshare --net'
fi
# shellcheck disable=SC2086 # no word, or two
$offline rpmbuild -ba --nodeps packaging/librfs.spec \
	--define "_topdir $PWD/build/rpm" --define "_sourcedir $PWD/build/dist"
rpmlint --config packaging/rpmlint.toml packaging/librfs.spec build/rpm/RPMS/*/*.rpm
