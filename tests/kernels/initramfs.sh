#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# Packs an initial ramfs: busybox, the C tests with the installed library, the programs that they run, rfsrun with
# bundles to run, what `runc spec` and `crun spec` write, and a kernel's modules.
# usage: initramfs.sh PREFIX TESTS PARITY POLICIES KERNEL OUTPUT
# PREFIX: where librfs is installed. TESTS: a meson build folder with the C tests and the examples. PARITY: the folder
# that parity.py has recorded. POLICIES: a folder with policies of security modules. KERNEL: an unpacked kernel package.
# OUTPUT: the file to write.
set -euo pipefail
prefix=$1 tests=$(realpath "$2") parity=$3 policies=$4 kernel=$5 output=$(realpath "$6")
source=$(realpath "$(dirname "$0")/../..")
# Not there when the tests run, and no part of librfs: a Debian to unpack.
left_out='test-debian'
# Only in some machines, or before the switch to another root.
special='test-initramfs test-apparmor'
modules='overlay ext4 xfs btrfs squashfs loop'
programs='dash mkfs.ext4 mkfs.xfs mkfs.btrfs newuidmap newgidmap mount setpriv umount /usr/bin/python3'
PATH=$PATH:/usr/sbin:/sbin

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,dev,etc,lib64,modules,specs,tests,usr,demo/rootfs/bin} "$root$source/c-tests"
ln -s ../bin "$root/usr/bin"
cp "$source/tests/kernels/init" "$root/init"
cp -r "$source/c-tests/data" "$root$source/c-tests/"
echo root:x:0:0:root:/root:/bin/sh >"$root/etc/passwd"
: >"$root/etc/subuid"
: >"$root/etc/subgid"

busybox=$(command -v busybox)
cp "$busybox" "$root/bin/busybox"
for tool in $("$busybox" --list); do
	[ -e "$root/bin/$tool" ] || ln -s busybox "$root/bin/$tool"
done
cp -a "$root/bin" "$root/demo/rootfs/"
for program in $programs; do
	rm -f "$root/bin/${program##*/}"
	cp -pL "$(command -v "$program")" "$root/bin/" # newuidmap is set-user-ID
done
ln -sf dash "$root/bin/sh" # busybox's prefers its own mount and umount

# The tests with the examples that they run, and rfsrun with a bundle as one more.
cp "$tests"/{rfsrun,lxc-like,sandbox} "$root/tests/"
for program in "$tests"/c-tests/test-*; do
	name=${program##*/}
	if [ -f "$program" ] && [ -x "$program" ] && [[ " $left_out " != *" $name "* ]]; then
		cp "$program" "$root/tests/$name"
		[[ " $special " = *" $name "* ]] || echo "$name" >>"$root/tests/order"
	fi
done
cp "$source/tests/kernels/rfsrun-demo" "$root/tests/"
echo rfsrun-demo >>"$root/tests/order"
cp "$source/examples/demo/look.sh" "$root/demo/rootfs/"
cp "$source/examples/demo/config.json" "$root/demo/"

# The bundles of tests/parity, what containers of them saw here, and what `runc spec` writes here, which they change.
cp -r "$parity" "$root/parity"
cp -r "$policies" "$root/policies"
mkdir -p "$root$source/tests"
cp -r "$source"/tests/{parity,kernels,refusals} "$root$source/tests/"
xargs cp -L --parents -t "$root" <"$parity/python"
cat >"$root/bin/runc" <<-'END'
	#!/bin/sh
	# usage: runc features | runc spec [--rootless] --bundle FOLDER
	[ "$1" != features ] || exec cat /specs/features.json
	eval "folder=\$$#"
	case $* in *--rootless*) tool=runc-rootless ;; *) tool=runc ;; esac
	cp "/specs/$tool.json" "$folder/config.json"
END
cat >"$root/tests/parity" <<-END
	#!/bin/sh
	exec python3 $source/tests/kernels/parity.py check /parity
END
# `make bench` runs it, in a machine of its own.
mkdir "$root$source/benches"
cp "$source/benches/hostmounts.py" "$root$source/benches/"
cat >"$root/tests/hostmounts" <<-END
	#!/bin/sh
	python3 - <<-'CONFIG'
	import json
	config = json.load(open("/demo/config.json"))
	config["process"]["args"] = ["/bin/busybox", "true"]
	json.dump(config, open("/demo/config.json", "w"))
	CONFIG
	echo 1..1
	export RFS_BENCH=inside
	unshare -m python3 $source/benches/hostmounts.py /tests/rfsrun /demo 20,1000,5000 21 || exit 1
	echo "ok 1 - a start is timed with 20 and with 5,000 mounts on the host"
END
echo "$source" >"$root/tests/source"
chmod +x "$root/bin/runc" "$root/tests/parity" "$root/tests/hostmounts"
echo parity >>"$root/tests/order"

# The libraries that they name, where they expect them.
find "$root/bin" "$root/tests" "$root/parity" "$root/usr/lib" -type f -perm -1 -o -name '*.so' |
while read -r program; do
	LD_LIBRARY_PATH=$(dirname "$(find "$prefix" -name librfs.so.1)") ldd "$program" 2>&- || :
done | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p; s/^\t\(\/[^ ]*\) (.*/\1/p' | sort -u | while read -r library; do
	case $library in
	*/librfs.so.1 | */ld-linux*) ;;
	*) mkdir -p "$root/lib/x86_64-linux-gnu" && cp -L "$library" "$root/lib/x86_64-linux-gnu/" ;;
	esac
done
cp -L "$(find "$prefix" -name librfs.so.1)" "$root/lib/x86_64-linux-gnu/librfs.so.1"
cp -L /lib64/ld-linux-x86-64.so.2 "$root/lib64/"

runc features >"$root/specs/features.json"
for tool in runc crun 'runc --rootless'; do
	# shellcheck disable=SC2086 # an option may follow
	(cd "$root/specs" && set -- $tool && "$1" spec ${2:-} && mv config.json "${tool/ -/}.json")
done

# The modules and those that they need, in the order of loading. What is built in has no file.
find "$kernel" -name '*.ko*' >"$root/modules/all"
add_module() {
	local file name needed plain
	name=${1//-/_}
	file=$(sed 's/-/_/g' "$root/modules/all" | grep -nE "/$name\.ko(\.[a-z]+)?$" | cut -d : -f 1) || return 0
	file=$(sed -n "${file}p" "$root/modules/all")
	plain=$root/modules/$name.ko
	[ ! -e "$plain" ] || return 0
	case $file in
	*.xz) xz -dc "$file" >"$plain" ;;
	*.zst) zstd -qdc "$file" >"$plain" ;;
	*) cp "$file" "$plain" ;;
	esac
	for needed in $(tr '\0' '\n' <"$plain" | sed -n 's/^depends=//p' | tr , ' ') ; do add_module "$needed"; done
	# crc32c of ext4 and xfs is looked up by name, not by symbol.
	echo "$name.ko" >>"$root/modules/order"
}
: >"$root/modules/order"
for module in crc32c_generic $modules; do add_module "$module"; done
rm "$root/modules/all"

mknod "$root/dev/console" c 5 1
(cd "$root" && find . | busybox cpio -o -H newc 2>&- | gzip -1) >"$output"
