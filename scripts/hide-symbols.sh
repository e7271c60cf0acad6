#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Makes of a Rust static library an archive of one object, in which only the functions of a version script are global.
# usage: hide-symbols.sh RUST_ARCHIVE ARCHIVE VERSION_SCRIPT OBJCOPY AR CC...
set -eu
rust=$1 archive=$2 map=$3 objcopy=$4 ar=$5
shift 5
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sed -n 's/^\t\t\([a-z][a-z0-9_]*\);$/\1/p' "$map" >"$work/symbols"
# Groups are dissolved: those of another archive made like this one have the same names, and the linker would keep one
# of each.
# shellcheck disable=SC2046 # an option for each symbol
"$@" -r -nostdlib -o "$work/whole.o" $(sed 's/^/-Wl,--require-defined=/' "$work/symbols") "$rust" \
	-Wl,--gc-sections,--force-group-allocation
# Nothing of the library runs when it is loaded: the only initializer is the standard library's, which notes the
# program's arguments, and librfs reads none. The standard library's bitcode (.llvmbc) was joined to what a linker
# with LLVM's plugin can't read.
"$objcopy" --keep-global-symbols="$work/symbols" --strip-debug \
	--remove-section='.init_array*' --remove-section='.rel*.init_array*' \
	--remove-section=.llvmbc --remove-section=.llvmcmd "$work/whole.o" "$work/librfs.o"
rm -f "$archive"
"$ar" -rcD "$archive" "$work/librfs.o"
