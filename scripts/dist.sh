#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# `make dist`: the tarball of a release, build/dist/librfs-VERSION.tar.gz, of what is committed, with the crates that
# Cargo.lock names in vendor/, so that it builds without a network. The same commit gives the same bytes.
# usage: dist.sh [FOLDER]
set -eu
cd "$(dirname "$0")/.."
version=$(sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' Cargo.toml)
name=librfs-$version
mkdir -p "${1:-build/dist}"
folder=$(realpath "${1:-build/dist}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ -n "$(git status --porcelain --untracked-files=no)" ]; then
	echo "dist: what is not committed is not in the tarball:" >&2
	git status --short --untracked-files=no >&2
fi
git archive --format=tar --prefix="$name/" HEAD | tar -x -C "$work"
mkdir "$work/$name/.cargo"
(cd "$work/$name" && cargo vendor --locked --quiet vendor)
cat >"$work/$name/.cargo/config.toml" <<-'END'
	[source.crates-io]
	replace-with = "vendored"
	[source.vendored]
	directory = "vendor"
END
tar -c -C "$work" --sort=name --format=gnu --mtime="@$(git log -1 --format=%ct)" --owner=0 --group=0 --numeric-owner \
	--mode=u+rw,go+rX,go-w "$name" | gzip -9 -n >"$folder/$name.tar.gz"
cd "$folder"
sha256sum "$name.tar.gz" | tee "$name.tar.gz.sha256"
