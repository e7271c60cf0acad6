#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# `make check`: runs the tests that a change needs first, in about a minute: the unit tests, and the C tests on this
# kernel with the library as it is in the tree.
# usage: check.sh [TEST [CASE]]: one of the C tests alone; CASE is a pattern of its cases' names, as for fnmatch(3)
set -eu
cd "$(dirname "$0")/.."
test=${1-} case=${2-}
if [ "$(id -u)" != 0 ]; then
	echo "make check: the tests make containers, which takes root: sudo env PATH=\"\$PATH\" make check" >&2
	exit 1
fi
# The library is built for speed of building.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_INCREMENTAL=true
[ -n "$test" ] || cargo test --locked
scripts/setup.sh build/check -Dwerror=true
meson compile -C build/check
if [ -n "$test" ]; then
	exec meson test -C build/check --no-rebuild --verbose "$test" ${case:+"--test-args='$case'"}
fi
# All but `debian`, which takes a network and minutes, and `symbols`, which looks at the size of a release.
# shellcheck disable=SC2046 # one word each
exec meson test -C build/check --no-rebuild --print-errorlogs \
	$(meson test -C build/check --list | sed 's/.* //' | grep -vx -e debian -e symbols)
