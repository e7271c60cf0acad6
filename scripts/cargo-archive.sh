#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Called by meson: builds librfs.a with cargo, and tells ninja which sources it was made of. The archive is one object
# whose only global symbols are those of the version script, so that it can be linked beside any other Rust archive.
# usage: cargo-archive.sh CARGO SOURCE_DIR TARGET_DIR ARCHIVE DEPFILE RUST_TARGET OBJCOPY AR CC...
#        (RUST_TARGET may be empty: that of the machine that builds)
set -eu
cargo=$1 source=$2 folder=$3 archive=$4 depfile=$5 target=$6 objcopy=$7 ar=$8
shift 8

target=${target:-$("$cargo" -vV | sed -n 's/^host: //p')}
folder=$(realpath -m "$folder")
# In the source folder, whose .cargo/config.toml names the vendored crates in the tarball of a release.
(
	cd "$source"
	"$cargo" rustc --release --locked --lib --crate-type staticlib --target-dir "$folder" --target "$target"
)
"$source/scripts/hide-symbols.sh" "$folder/$target/release/librfs.a" "$archive" "$source/pkgconfig/librfs.map" \
	"$objcopy" "$ar" "$@"
# cargo's list is headed by a path in its own folder; ninja wants the one that it asked for.
sed -n "1s|^[^:]*:|$archive:|p" "$folder/$target/release/librfs.d" >"$depfile"
