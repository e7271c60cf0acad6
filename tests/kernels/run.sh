#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# `make test-kernels`: the C tests on Debian's own kernels, in virtual machines under software emulation.
# Prints a table, machine by test program, and the counts. A machine that can't be downloaded or doesn't boot counts as
# failed.
# usage: run.sh PREFIX [MACHINE...]
# PREFIX: where librfs is installed. MACHINE: a kernel (5.10, 6.1, 6.12, 7.2, 7.3), on which all tests run, or a kernel
# and a special set-up (6.1/v1), on which the tests run that depend on it: see machine().
# Downloads stay in RFS_KERNELS_CACHE (/var/tmp/librfs-kernels), logs in build/kernels.
set -uo pipefail
prefix=$(realpath "$1")
shift
[ $# -gt 0 ] || set -- 5.10 6.1 6.1/v1 6.1/hybrid 6.1/selinux 6.12 6.12/apparmor 7.2 7.3 7.3/v1 7.3/hybrid \
	7.3/selinux 7.3/apparmor
here=$(realpath "$(dirname "$0")")
cd "$here/../.." || exit 1
cache=${RFS_KERNELS_CACHE:-/var/tmp/librfs-kernels}
# Far more than a boot and the tests take on two slow cores.
limit=1500
work=$PWD/build/kernels
mkdir -p "$cache" "$work"
# shellcheck source=tests/kernels/debian.sh
. "$here/debian.sh"

PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name librfs.pc)")
export PKG_CONFIG_PATH
{
	scripts/setup.sh "$work/c-tests" -Dlibrary=installed && meson compile -C "$work/c-tests"
} >"$work/c-tests.log" 2>&1 || { cat "$work/c-tests.log"; exit 1; }

rm -rf "$work/parity"
"$here/parity.py" record "$prefix" "$work/parity" >"$work/python" && mv "$work/python" "$work/parity/" || exit 1

# SELinux's is compiled for the oldest kernel.
rm -rf "$work/policies"
cp -r "$here/policies" "$work/policies" || exit 1
cp "$(unpacked bookworm apparmor)/sbin/apparmor_parser" "$work/policies/" &&
	"$(unpacked bookworm checkpolicy)/usr/bin/checkpolicy" -M -U allow -c 33 \
		-o "$work/policies/selinux" "$here/policies/selinux.conf" || exit 1

# The kernel's command line for a machine, read by init.
machine() {
	case ${1#*/} in
	"$1") ;;
	v1 | hybrid)
		tests=test-cgroups,test-container,test-lxc,test-concurrent,test-allocation,rfsrun-demo
		echo "rfs.cgroup=${1#*/} rfs.tests=$tests" ;;
	selinux) echo "security=selinux selinux=1 enforcing=1 rfs.tests=test-labels,rfsrun-demo" ;;
	apparmor) echo "security=apparmor rfs.tests=test-apparmor" ;;
	*) echo "kernels: no machine is known as $1" >&2; return 1 ;;
	esac
}

# Boots a machine; what it prints is in a log.
boot() {
	local series=${1%%/*} log=$work/${1/\//-}.log unpacked command line
	line=$(machine "$1") && unpacked=$(kernel "$series") && command=$(qemu) || return 1
	"$here/initramfs.sh" "$prefix" "$work/c-tests" "$work/parity" "$work/policies" "$unpacked" \
		"$work/$series.cpio.gz" || return 1
	# shellcheck disable=SC2086 # a command of several words
	timeout "$limit" $command -accel tcg -cpu max -m 2048 -nodefaults -no-reboot -display none -serial stdio \
		-kernel "$(find "$unpacked" -name 'vmlinuz*' -type f)" -initrd "$work/$series.cpio.gz" \
		-append "console=ttyS0 quiet panic=-1 random.trust_cpu=on rdinit=/init ${RFS_KERNELS_APPEND:-} $line" </dev/null |
		sed -u 's/\r//g' >"$log"
}

# Log to lines "MACHINE PROGRAM PASSED FAILED". A program that ends badly without saying which case failed counts as
# one, as does a plan that was not fulfilled. Nothing may be skipped.
count() {
	awk -v machine="$1" '
		/^@@ begin / { name = $3; good = bad = planned = 0; running = 1; next }
		running && /^1\.\.[0-9]+/ { planned = substr($1, 4) + 0 }
		running && (/^not ok / || /^ok .* # SKIP/) { bad++; next }
		running && /^ok / { good++ }
		/^@@ end / {
			if ((good + bad != planned || $4 != 0) && bad == 0) bad = 1
			print machine, name, good, bad
			running = 0
		}
		/^@@ done/ { whole = 1 }
		END {
			if (running) print machine, name, good, bad + 1
			if (!whole) print machine, "boot", 0, 1
		}' "$2"
}

: >"$work/counts"
for machine; do
	start=$SECONDS log=$work/${machine/\//-}.log
	: >"$log"
	if ! boot "$machine"; then echo "kernels: $machine: not booted, or not ended within $limit s"; fi
	tests/refusals/run.py --log "$log" >"$log.new" && mv "$log.new" "$log"
	count "$machine" "$log" >>"$work/counts"
	echo "$machine: $(sed -n 's/^@@ kernel //p' "$log"), $((SECONDS - start)) s;" \
		"$(grep -c '^ok .* # lacks it$' "$log") cases fail as they must"
	# Cases that failed or were skipped, with the first that they said.
	awk '/^@@ begin /{name = $3; said = ""; lines = 0} /^#/{if (lines++ < 12) said = said "    " $0 "\n"}
		/^not ok |^ok .* # SKIP/{printf "  %s: %s\n%s", name, $0, said} /^(not )?ok /{said = ""; lines = 0}' "$log"
	if ! grep -q '^@@ done' "$log"; then tail -n 30 "$log" | sed 's/^/    /'; fi
done

echo
awk -v list="$*" '
	{ if (!($2 in seen)) { seen[$2] = 1; names[++n] = $2 }
	  cell[$1, $2] = $3 "/" $4; good += $3; bad += $4 }
	END {
		count = split(list, machine)
		printf "%-20s", "passed/failed"
		for (i = 1; i <= count; i++) printf "%15s", machine[i]
		print ""
		for (k = 1; k <= n; k++) {
			printf "%-20s", names[k]
			for (i = 1; i <= count; i++) printf "%15s", ((machine[i], names[k]) in cell) ? cell[machine[i], names[k]] : "-"
			print ""
		}
		printf "\nkernels: %d passed, %d failed\n", good, bad
		exit bad > 0 || good == 0
	}' "$work/counts"
