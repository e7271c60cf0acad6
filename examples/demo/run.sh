#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# `make demo`: compiles rfsrun as any C project would, against an installed librfs, and runs a
# busybox container with it.
# usage: run.sh PREFIX [shared|archive|static]: where librfs is installed, and how to link it
set -eu
prefix=$(realpath "$1")
link=${2:-shared}
examples=$(realpath "$(dirname "$0")/..")

rootless=
if [ "$(id -u)" != 0 ]; then
	rootless=--rootless
fi

PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name librfs.pc)")
export PKG_CONFIG_PATH
case $link in
shared) flags="$(pkg-config --cflags --libs librfs json-c) -Wl,-rpath,${PKG_CONFIG_PATH%/*}" ;;
archive) flags=$(pkg-config --cflags --libs --static librfs json-c | sed 's/-lrfs /-l:librfs.a /') ;;
static) flags="-static $(pkg-config --cflags --libs --static librfs json-c)" ;;
esac

bundle=$(mktemp -d)
trap 'rm -rf "$bundle"' EXIT
set -x
cd "$examples"
# shellcheck disable=SC2086 # several flags
"${CC:-cc}" -O2 -o "$bundle/rfsrun" rfsrun.c namespaces.c process.c report.c sealed.c terminal.c $flags
# shellcheck disable=SC2086 # several flags
"${CC:-cc}" -O2 -D_GNU_SOURCE -o "$bundle/sandbox" sandbox.c $flags
{ set +x; } 2>/dev/null

mkdir -p "$bundle/rootfs/bin"
cp "$(command -v busybox)" "$bundle/rootfs/bin/busybox"
for tool in $("$bundle/rootfs/bin/busybox" --list); do
	[ -e "$bundle/rootfs/bin/$tool" ] || ln -s busybox "$bundle/rootfs/bin/$tool"
done
cp "$examples/demo/look.sh" "$bundle/rootfs/look.sh"
cp "$examples/demo/config.json" "$bundle/config.json"

set -x
# shellcheck disable=SC2086 # no option, or one
"$bundle/rfsrun" $rootless --time "$bundle"
{ set +x; } 2>/dev/null

# As root, and as an ordinary user, too, where the kernel lets one make a user namespace and reach the library.
look='id; pwd; cat /etc/passwd; ls / /dev; mount'
set -x
"$bundle/sandbox" sh -c "$look"
{ set +x; } 2>/dev/null
if [ "$(id -u)" = 0 ]; then
	chmod 755 "$bundle"
	as_nobody() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
	if as_nobody unshare --user true 2>&- && as_nobody test -r "${PKG_CONFIG_PATH%/*}"; then
		set -x
		as_nobody "$bundle/sandbox" sh -c "$look"
	fi
fi
