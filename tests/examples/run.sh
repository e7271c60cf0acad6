#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# The examples of one file, compiled by pkg-config against the installed library, each do what they say. The larger ones
# (rfsrun, lxc-like, sandbox) are run by the C tests.
# usage: run.sh PREFIX   (as root)
set -euo pipefail
if [ "${RFS_EXAMPLES-}" != inside ]; then
	RFS_EXAMPLES=inside exec unshare --mount --propagation private "$0" "$@"
fi
prefix=$(realpath "$1")
cd "$(dirname "$0")/../.."
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name librfs.pc)")
export PKG_CONFIG_PATH
work=$(mktemp -d)
pid=
cleanup() {
	# The container of attach.c waits for this test, which may have failed.
	if [ -n "$pid" ]; then kill -KILL "$pid" 2>&- || :; fi
	wait
	umount "$work"
	rmdir "$work"
}
trap cleanup EXIT
mount -t tmpfs -o mode=755 examples "$work"
for example in attach console hooks mountfd; do
	# shellcheck disable=SC2046 # several flags
	cc -std=c11 -Wall -Wextra -Werror -pedantic -o "$work/$example" "examples/$example.c" \
		$(pkg-config --cflags --libs librfs) -Wl,-rpath,"$(pkg-config --variable=libdir librfs)"
done
mkdir -p "$work/rootfs/bin" "$work/mapped/bin" "$work/data"
cp "$(command -v busybox)" "$work/rootfs/bin/"
cp "$(command -v busybox)" "$work/mapped/bin/"

# is NAME WANTED GOT
is() {
	if [ "$2" != "$3" ]; then
		printf 'FAIL %s:\nwanted %s\ngot    %s\n' "$1" "$2" "$3"
		exit 1
	fi
	echo "ok $1"
}

# console: the program's terminal is /dev/console, and the host's side reads what it writes.
got=$("$work/console" "$work/rootfs" /bin/busybox sh -c \
	'busybox test -t 0 &&
	busybox grep -o " /dev/console .* devpts" /proc/self/mountinfo | busybox cut -d" " -f2; exit 3') &&
	status=0 || status=$?
is console $'/dev/console\r 3' "$got $status"

# hooks: in their order, each in its place; a hook that fails ends the start, but poststop hooks are run.
cat >"$work/hook" <<END
#!/bin/sh
echo "\$1 \$(head -c 26) \$PWD" >>"$work/log"
[ "\$1" != "\$(cat "$work/fails")" ]
END
chmod +x "$work/hook"
: >"$work/fails"
got=$(cd / && "$work/hooks" "$work/rootfs" "$work/hook" /bin/busybox echo in)
state='{"ociVersion":"1.2.0","id"'
is "hooks: the program" in "$got"
is "hooks: all" "createRuntime $state /
createContainer $state $work/rootfs
poststop $state /" "$(cat "$work/log")"
: >"$work/log"
echo createRuntime >"$work/fails"
got=$(cd / && "$work/hooks" "$work/rootfs" "$work/hook" /bin/busybox echo in 2>"$work/said") && status=0 || status=$?
is "hooks: one fails" " 125" "$got $status"
is "hooks: which are run then" "createRuntime poststop " "$(cut -d' ' -f1 "$work/log" | tr '\n' ' ')"
grep -q 'hooks.createRuntime\[0\].*exited with status 1' "$work/said"

# mountfd: the owner of a file is mapped to the same number in the container, and a new file's back.
chown -R 100000:100000 "$work/mapped"
echo text >"$work/data/file"
chown 5:6 "$work/data/file"
got=$("$work/mountfd" "$work/mapped" "$work/data" /bin/busybox sh -c \
	'busybox stat -c %u:%g /data/file; busybox touch /data/new')
is "mountfd: in the container" 5:6 "$got"
is "mountfd: on the host" 0:0 "$(stat -c %u:%g "$work/data/new")"

# attach: the mount is in the container, and not on the host.
mkfifo "$work/data/fifo"
"$work/mountfd" "$work/mapped" "$work/data" /bin/busybox sh -c 'read line </data/fifo' &
example=$!
# Its child's child is the container's process; once it is busybox, everything is mounted.
until pid=$(pgrep --parent "$(pgrep --delimiter , --parent "$example")" --exact busybox); do sleep 0.1; done
is "attach: before" "" "$(grep -o '/bin/added' "/proc/$pid/mountinfo" || :)"
"$work/attach" "$pid" "$work/data" /bin/added
is "attach: in the container" "/bin/added ro,nosuid,nodev" \
	"$(grep -o '/bin/added ro,nosuid,nodev' "/proc/$pid/mountinfo")"
is "attach: a file there" text "$(cat "/proc/$pid/root/bin/added/file")"
is "attach: on the host" "" "$(grep -o '/bin/added' /proc/self/mountinfo || :)"
echo >"$work/data/fifo"
wait "$example"
pid=
