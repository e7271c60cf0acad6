#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# tests/attacks/run.sh BUILD: runs the attacks of a meson build directory, and checks that docs/security.md has a row
# with the outcome of each. It ends with the counts.
set -uo pipefail
build=$1
repository=$(cd "$(dirname "$0")/../.." && pwd)
log=$build/meson-logs/testlog-attacks.txt
status=0
meson test -C "$build" --suite attacks --logbase testlog-attacks </dev/null || status=1
grep -E '^(# (FAILED|races:|faults:)|not ok)' "$log" | sed -E 's/^# (races|faults)/\1/'
# "# attack | CVE | what is done | on the naive runtime | on librfs"
rows=$(sed -n 's/^# attack | \(.*\)$/| \1/p' "$log" | sort)
documented=$(grep -E '^\| (CVE-|none)' "$repository/docs/security.md" | sed 's/^| \(.*\) |$/| \1/' | sort)
if [ "$rows" != "$documented" ]; then
	echo 'docs/security.md differs from what was seen (>):'
	diff <(echo "$documented") <(echo "$rows")
	status=1
fi
stopped=$(echo "$rows" | grep -c '^|')
escaped=$(grep -c '^not ok' "$log")
# "# faults of SET-UP: N tried, N clean, N of them set up all the same"
read -r tried clean < <(awk '/^# faults of / { sub(/.*: /, ""); tried += $1; clean += $3 }
	END { print tried + 0, clean + 0 }' "$log")
echo "faults: $tried tried, $clean clean"
echo "attacks: $stopped stopped, $escaped escaped"
[ "$stopped" -gt 0 ] && [ "$tried" -gt 0 ] && [ "$tried" = "$clean" ] && [ "$escaped" = 0 ] && [ $status = 0 ]
