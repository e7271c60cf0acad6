#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Links an installed librfs in each way that there is, beside another Rust library, and runs the program. No way of them needs
# libgcc_s.so: loading that takes longer than loading librfs.
# usage: run.sh PREFIX
set -eu
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PKG_CONFIG_PATH=$(dirname "$(find "$(realpath "$1")" -name librfs.pc)")
export PKG_CONFIG_PATH

rustc --edition 2024 -O --crate-type staticlib -o "$work/beside.a" "$here/beside.rs"
# As librfs.a itself is made: two of this kind must go together.
printf 'BESIDE {\n\tglobal:\n\t\tbeside;\n};\n' >"$work/beside.map"
"$here/../../scripts/hide-symbols.sh" "$work/beside.a" "$work/hidden.a" "$work/beside.map" objcopy ar cc

shared="$(pkg-config --cflags --libs librfs) -Wl,-rpath,$(pkg-config --variable=libdir librfs)"
static=$(pkg-config --cflags --libs --static librfs)
archive=$(echo "$static" | sed 's/-lrfs/-l:librfs.a/')
link() {
	name=$1
	shift
	echo "$name"
	cc -std=c11 -Wall -Wextra -Werror -o "$work/program" "$here/program.c" "$@"
	"$work/program"
	if readelf -d "$work/program" | grep libgcc_s; then
		echo "$name: the program needs libgcc_s.so" >&2
		exit 1
	fi
}

for other in beside hidden; do
	# shellcheck disable=SC2086 # several flags
	{
		link "shared, $other.a" $shared "$work/$other.a" -lgcc_eh
		link "archive, $other.a" "$work/$other.a" $archive
		link "static, $other.a" -static "$work/$other.a" $static
		link "static-pie, $other.a" -static-pie "$work/$other.a" $static
	}
done
