#!/bin/sh
# Called by meson: builds librfs.a with cargo, and tells ninja which sources it was made of.
# usage: cargo-archive.sh CARGO SOURCE_DIR TARGET_DIR ARCHIVE DEPFILE
set -eu
cargo=$1 source=$2 target=$3 archive=$4 depfile=$5

"$cargo" rustc --release --locked --lib --crate-type staticlib \
	--manifest-path "$source/Cargo.toml" --target-dir "$target"
cp "$target/release/librfs.a" "$archive"
# cargo's list is headed by a path in its own folder; ninja wants the one that it asked for.
sed -n "1s|^[^:]*:|$archive:|p" "$target/release/librfs.d" >"$depfile"
