#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Measures what linking an installed librfs, shared or from the archive, adds to the start of a process. The program
# only refers to the library. The loader finds it by its cache, as it finds a library in /usr/lib: the cache is replaced
# in a mount namespace of its own.
# usage: load.sh PREFIX [ROUNDS]   (as root)
set -eu
if [ "${RFS_BENCH-}" != inside ]; then
	RFS_BENCH=inside exec unshare --mount --propagation private "$0" "$@"
fi
here=$(dirname "$0")
work=$(mktemp -d)
trap 'umount -l /etc/ld.so.cache; rm -rf "$work"' EXIT
PKG_CONFIG_PATH=$(dirname "$(find "$(realpath "$1")" -name librfs.pc)")
export PKG_CONFIG_PATH

printf 'int main(void) { return 0; }\n' >"$work/none.c"
printf '#include <librfs.h>\nint main(int argc, char **argv) { return argc > 1 ? rfs_version() == argv[1] : 0; }\n' \
	>"$work/linked.c"
cc -O2 -o "$work/load" "$here/load.c"
cc -O2 -o "$work/none" "$work/none.c"
# shellcheck disable=SC2046 # several flags
cc -O2 -o "$work/shared" "$work/linked.c" $(pkg-config --cflags --libs librfs)
# shellcheck disable=SC2046
cc -O2 -o "$work/archive" "$work/linked.c" $(pkg-config --cflags --libs --static librfs | sed 's/-lrfs/-l:librfs.a/')

ldconfig -C "$work/cache" "$(pkg-config --variable=libdir librfs)"
mount --bind "$work/cache" /etc/ld.so.cache
"$work/load" "${2:-400}" none="$work/none" librfs.so="$work/shared" librfs.a="$work/archive"
