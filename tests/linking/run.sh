#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Links an installed librfs in each way that there is, beside another Rust library, and runs the program. No way of
# them needs libgcc_s.so: loading that takes longer than loading librfs.
# usage: run.sh PREFIX
set -eu
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PKG_CONFIG_PATH=$(dirname "$(find "$(realpath "$1")" -name librfs.pc)")
export PKG_CONFIG_PATH

rustc --edition 2024 -O --crate-type staticlib -o "$work/beside.a" "$here/beside.rs"
# This archive is made like librfs.a, because two archives of this kind must link together.
printf 'BESIDE {\n\tglobal:\n\t\tbeside;\n};\n' >"$work/beside.map"
"$here/../../scripts/hide-symbols.sh" "$work/beside.a" "$work/hidden.a" "$work/beside.map" objcopy ar cc

# Linked as librfs.so is in meson.build, it catches a panic with the unwinder of its own.
printf 'BESIDE {\n\tglobal:\n\t\tbeside;\n\tlocal:\n\t\t*;\n};\n' >"$work/beside.map"
cc -shared -o "$work/libbeside.so" -Wl,--whole-archive "$work/hidden.a" -Wl,--no-whole-archive -lgcc_eh -static-libgcc \
	-Wl,--version-script="$work/beside.map" -Wl,--gc-sections -Wl,-z,relro,-z,now,-z,nodelete,-z,defs -nostartfiles

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

# shellcheck disable=SC2086 # several flags
link "shared, libbeside.so" $shared "$work/libbeside.so" -Wl,-rpath,"$work"
for other in beside hidden; do
	# shellcheck disable=SC2086 # several flags
	{
		link "shared, $other.a" $shared "$work/$other.a" -lgcc_eh
		link "archive, $other.a" "$work/$other.a" $archive
		link "static, $other.a" -static "$work/$other.a" $static
		link "static-pie, $other.a" -static-pie "$work/$other.a" $static
	}
done
