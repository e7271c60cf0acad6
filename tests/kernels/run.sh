#!/bin/bash
# `make test-kernels`: the C tests on Debian's own kernels, in virtual machines under software emulation.
# Prints a table, kernel by test program, and the counts. A kernel that can't be had or doesn't boot has failed.
# usage: run.sh PREFIX [SERIES...]: where librfs is installed; 5.10, 6.1, 6.12 (all if none is named)
# Downloads stay in RFS_KERNELS_CACHE (/var/tmp/librfs-kernels), logs in build/kernels.
set -uo pipefail
prefix=$(realpath "$1")
shift
[ $# -gt 0 ] || set -- 5.10 6.1 6.12
here=$(realpath "$(dirname "$0")")
cd "$here/../.." || exit 1
cache=${RFS_KERNELS_CACHE:-/var/tmp/librfs-kernels}
# Far more than a boot and the tests take on two slow cores.
limit=900
work=$PWD/build/kernels
mkdir -p "$cache" "$work"
# shellcheck source=tests/kernels/debian.sh
. "$here/debian.sh"

PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name librfs.pc)")
export PKG_CONFIG_PATH
{
	scripts/setup.sh "$work/c-tests" -Dlibrary=installed && meson compile -C "$work/c-tests"
} >"$work/c-tests.log" 2>&1 || { cat "$work/c-tests.log"; exit 1; }

# Boots a kernel; what it prints is in a log.
boot() {
	local series=$1 unpacked command
	unpacked=$(kernel "$series") && command=$(qemu) || return 1
	"$here/initramfs.sh" "$prefix" "$work/c-tests" "$unpacked" "$work/$series.cpio.gz" || return 1
	# shellcheck disable=SC2086 # a command of several words
	timeout "$limit" $command -accel tcg -cpu max -m 2048 -nodefaults -no-reboot -display none -serial stdio \
		-kernel "$(echo "$unpacked"/boot/vmlinuz-*)" -initrd "$work/$series.cpio.gz" \
		-append "console=ttyS0 quiet panic=-1 random.trust_cpu=on rdinit=/init ${RFS_KERNELS_APPEND:-}" </dev/null |
		tr -d '\r' >"$work/$series.log"
}

# Log to lines "SERIES PROGRAM PASSED FAILED". A program that ends badly without saying which case failed counts as one,
# as does a plan that was not fulfilled.
count() {
	awk -v series="$1" '
		/^@@ begin / { name = $3; good = bad = planned = 0; running = 1; next }
		running && /^1\.\.[0-9]+/ { planned = substr($1, 4) + 0 }
		running && /^ok / { good++ }
		running && /^not ok / { bad++ }
		/^@@ end / {
			if ((good + bad != planned || $4 != 0) && bad == 0) bad = 1
			print series, name, good, bad
			running = 0
		}
		/^@@ done/ { whole = 1 }
		END {
			if (running) print series, name, good, bad + 1
			if (!whole) print series, "boot", 0, 1
		}' "$work/$1.log"
}

: >"$work/counts"
for series; do
	start=$SECONDS
	: >"$work/$series.log"
	if ! boot "$series"; then echo "kernels: $series: not booted, or not ended within $limit s"; fi
	count "$series" >"$work/$series.counts"
	cat "$work/$series.counts" >>"$work/counts"
	echo "$series: $(sed -n 's/^@@ kernel //p' "$work/$series.log"), $((SECONDS - start)) s"
	# Cases that failed, with the first that they said.
	awk '/^@@ begin /{name = $3; said = ""; lines = 0} /^#/{if (lines++ < 12) said = said "    " $0 "\n"} /^ok /{said = ""; lines = 0}
		/^not ok /{printf "  %s: %s\n%s", name, $0, said; said = ""; lines = 0}' "$work/$series.log"
	if ! grep -q '^@@ done' "$work/$series.log"; then tail -n 30 "$work/$series.log" | sed 's/^/    /'; fi
done

echo
awk -v list="$*" '
	{ if (!($2 in seen)) { seen[$2] = 1; names[++n] = $2 }
	  cell[$1, $2] = $3 "/" $4; good += $3; bad += $4 }
	END {
		count = split(list, series)
		printf "%-20s", "passed/failed"
		for (i = 1; i <= count; i++) printf "%10s", series[i]
		print ""
		for (k = 1; k <= n; k++) {
			printf "%-20s", names[k]
			for (i = 1; i <= count; i++) printf "%10s", ((series[i], names[k]) in cell) ? cell[series[i], names[k]] : "-"
			print ""
		}
		printf "\nkernels: %d passed, %d failed\n", good, bad
		exit bad > 0 || good == 0
	}' "$work/counts"
