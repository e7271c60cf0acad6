#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Uses an installed librfs from other languages than C, on the bundle of `make demo`.
# usage: run.sh PREFIX
set -eu
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PKG_CONFIG_PATH=$(dirname "$(find "$(realpath "$1")" -name librfs.pc)")
export PKG_CONFIG_PATH
libdir=$(pkg-config --variable=libdir librfs)

mkdir -p "$work/bundle/rootfs"
cp "$here/../../examples/demo/config.json" "$work/bundle/"
python3 "$here/plan.py" "$libdir/librfs.so.1" "$work/bundle"
# shellcheck disable=SC2046 # several flags
c++ -std=c++17 -Wall -Wextra -Werror -pedantic -o "$work/plan" "$here/plan.cpp" $(pkg-config --cflags --libs librfs) \
	-Wl,-rpath,"$libdir"
"$work/plan" "$work/bundle" >"$work/steps"
grep -q /proc "$work/steps"
