#!/bin/sh
# Checks a built librfs.so: it exports the functions of the header, all of version LIBRFS_1, and
# nothing else; its SONAME is librfs.so.1; stripped it stays under 850 KB, of which
# 277 KB are the standard library (180 KB of that print backtraces, which stable Rust can't leave out) and 80 KB read config.json.
# usage: check-symbols.sh LIBRFS_SO LIBRFS_H
set -eu
library=$1 header=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sed -n 's/^\(int\|void\|const char \*\|const char \*const \*\) *\(rfs_[a-z0-9_]*\)(.*/\2@@LIBRFS_1/p' "$header" | sort >"$work/declared"
nm -D --defined-only --with-symbol-versions "$library" |
	awk '$2 != "A" { print $NF }' | sort >"$work/exported"
if ! [ -s "$work/declared" ] || ! diff -u "$work/declared" "$work/exported"; then
	echo "$library does not export exactly what $header declares" >&2
	exit 1
fi

soname=$(readelf -d "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
if [ "$soname" != librfs.so.1 ]; then
	echo "$library: the SONAME is '$soname', not librfs.so.1" >&2
	exit 1
fi

strip -o "$work/stripped" "$library"
size=$(stat -c %s "$work/stripped")
if [ "$size" -gt 850000 ]; then
	echo "$library: $size bytes stripped, over 850000" >&2
	exit 1
fi
echo "$library: $(wc -l <"$work/exported") functions, $size bytes stripped"
