#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Runs inside the demo's container: shows what its root filesystem is made of.
show() { printf '\n--- %s\n' "$1"; }

show 'The mounts'
awk '{ for (i = 7; $i != "-"; i++); printf "%-22s %-8s %s\n", $5, $(i + 1), $6 }' /proc/self/mountinfo

show '/dev'
ls -l /dev | sed 1d

show 'Masked: /proc/keys reads as empty, /sys/firmware is an empty directory'
ls -l /proc/keys
printf '%s bytes in /proc/keys, %s entries in /sys/firmware\n' "$(wc -c </proc/keys)" "$(ls /sys/firmware | wc -l)"

show 'Read-only: /proc/sys, and the root'
(echo renamed >/proc/sys/kernel/hostname) 2>&1
(: >/new-file) 2>&1

show 'The processes'
ps
