#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# `make fuzz`: cargo-fuzz on the nightly toolchain. Ends at the first input that panics, and names it.
# usage: fuzz.sh SECONDS [TARGET...]: so many for each target, or for all.
set -eu
cd "$(dirname "$0")/.."
seconds=$1
shift
cargo +nightly fuzz --version >/dev/null 2>&1 || {
	echo 'make fuzz: it needs cargo-fuzz and a nightly toolchain:' \
		'cargo install cargo-fuzz; rustup toolchain install nightly' >&2
	exit 1
}
[ $# != 0 ] || set -- $(ls fuzz/corpus)
for target; do
	mkdir -p "build/fuzz/$target"
	more=
	[ "$target" != config ] || more='c-tests/data examples/demo'
	# shellcheck disable=SC2086 # two words
	cargo +nightly fuzz run --target-dir build/fuzz/target "$target" "build/fuzz/$target" "fuzz/corpus/$target" $more -- \
		-max_total_time="$seconds" -max_len=20000 -dict=fuzz/words.dict -artifact_prefix="build/fuzz/$target-" \
		-print_final_stats=1
done
