#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# `make cross`: builds the library for other machines by the cross files in cross/, lets each machine's C compiler
# hold the binary interface against the record of it, and runs the C tests that mount nothing under qemu-user. musl is
# linked statically, statically at a random address, and shared with the C library alone.
#
# Rust's standard library for a machine is the installed one (rustup target add), or it is built from the sources that
# Debian packages for its own compiler (rustc-web and rust-web-src in Debian 12), which are unpacked into build/cross,
# not installed.
# usage: cross.sh aarch64|riscv64|armhf|musl...
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD/build/cross

# Debian's compiler and the standard library's sources, in the environment of cargo.
standard_library_from_source() {
	local debian=$here/debian
	if [ ! -e "$debian/complete" ]; then
		rm -rf "$debian"
		mkdir -p "$debian"
		(
			cd "$debian"
			apt-cache show rust-web-src >/dev/null 2>&1 || apt-get -qq update
			mapfile -t libraries < <(apt-cache depends --recurse --no-suggests --no-recommends rustc-web |
				grep -E '^(libstd-rust-web|libllvm)[a-z0-9.-]*$' | sort -u)
			apt-get -o APT::Sandbox::User=root download rustc-web rust-web-src "${libraries[@]}"
			for package in *.deb; do
				dpkg-deb -x "$package" .
				rm "$package"
			done
			cat >rustc <<-END
				#!/bin/sh
				LD_LIBRARY_PATH=$debian/usr/lib/$(gcc -dumpmachine) exec $debian/usr/bin/rustc "\$@"
			END
			chmod +x rustc
			touch complete
		)
	fi
	# The standard library is built by every cargo, but only an unstable option asks for it.
	export RUSTC=$debian/rustc RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_unwind
}

for machine in "$@"; do
	target=$(sed -n "s/^rust_target = '\(.*\)'/\1/p" "cross/$machine.ini")
	cc=$(sed -n "s/^c = '\(.*\)'/\1/p" "cross/$machine.ini")
	echo "== $machine: $target, $cc"
	"$cc" -std=c11 -Wall -Wextra -Werror -pedantic -fsyntax-only -Iinclude c-tests/abi.c
	if [ ! -d "$(rustc --print target-libdir --target "$target")" ]; then
		standard_library_from_source
	fi
	options=(--cross-file "cross/$machine.ini" -Dexamples=disabled)
	if [ "$machine" = musl ]; then
		options+=(-Dtests=false -Ddefault_library=static)
	fi
	scripts/setup.sh "$here/$machine" "${options[@]}"
	meson compile -C "$here/$machine"
	if [ "$machine" = musl ]; then
		for link in -static -static-pie -pie; do
			"$cc" $link -std=c11 -Wall -Wextra -Werror -DALONE -Iinclude -o "$here/musl/program" \
				tests/linking/program.c tests/linking/musl.c "$here/musl/librfs.a" -lgcc_eh
			"$here/musl/program"
			echo "musl $link: ok"
		done
	else
		meson test -C "$here/$machine" --print-errorlogs --suite parse --timeout-multiplier 10
	fi
done
