#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Checks the built librfs.so and librfs.a: they define the functions of the version script, in the shared library each
# of its version, and nothing else; the shared library's SONAME is librfs.so.1, and it needs the C library and its
# loader alone. Stripped it stays under 900 kB, of which 277 KB are the standard library (180 KB of that print
# backtraces, which stable Rust can't leave out). That header and version script agree is checked by abi.py.
# usage: check-symbols.sh LIBRFS_SO LIBRFS_A VERSION_SCRIPT
set -eu
library=$1 archive=$2 map=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
	echo "$1" >&2
	exit 1
}

awk '/^LIBRFS_/ { node = $1 } /^\t\trfs_[a-z0-9_]*;$/ { sub(";", ""); print $1 "@@" node }' "$map" |
	sort >"$work/declared"
[ -s "$work/declared" ] || fail "$map names no function"
nm -D --defined-only --with-symbol-versions "$library" |
	awk '$2 != "A" { print $NF }' | sort >"$work/exported"
diff -u "$work/declared" "$work/exported" || fail "$library does not export exactly what $map lists"
nm -g --defined-only "$archive" | awk 'NF == 3 { print $3 }' | sort >"$work/global"
sed 's/@.*//' "$work/declared" | diff -u - "$work/global" || fail "$archive has other global symbols than $map lists"

soname=$(readelf -d "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
[ "$soname" = librfs.so.1 ] || fail "$library: the SONAME is '$soname', not librfs.so.1"
for needed in $(readelf -d "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
	case $needed in
	libc.so.6 | ld-linux*.so.* | libc.musl-*.so.1) ;;
	*) fail "$library needs $needed; it may need the C library alone" ;;
	esac
done

strip -o "$work/stripped" "$library"
size=$(stat -c %s "$work/stripped")
[ "$size" -le 900000 ] || fail "$library: $size bytes stripped, over 900000"
echo "$library: $(wc -l <"$work/exported") functions, $size bytes stripped"
