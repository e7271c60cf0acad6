#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
# `make test`: every test there is. A line for each, what a failing one printed, and the counts.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1

stage=$PWD/build/stage
logs=$PWD/build/logs
passed=0
failed=0

if [ "$(id -u)" != 0 ]; then
	echo "make test: the tests make containers, which takes root: sudo env PATH=\"\$PATH\" make test" >&2
	exit 1
fi
rm -rf "$logs" "$stage"
mkdir -p "$logs"

# Runs a command with its output in a log, and shows that if it fails.
run() {
	local name=$1 start=$SECONDS
	shift
	if "$@" >"$logs/$name.log" 2>&1 </dev/null; then
		echo "ok    $name ($((SECONDS - start)) s)"
		return 0
	fi
	sed 's/^/      /' "$logs/$name.log" | tail -n 200
	echo "FAIL  $name ($((SECONDS - start)) s)"
	return 1
}

# A check counts as one.
check() {
	if run "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

# A test runner counts what it ran; it has failed if it says so or ran nothing.
suite() {
	local name=$1 good bad ran_well=1
	shift
	run "$name" "$@" || ran_well=0
	# cargo writes "test result: ok. 3 passed; 1 failed". meson writes "OK 0.14s 25 subtests passed" for a program
	# with many cases, and only "OK 0.14s" for a single case. tests/kernels/run.sh writes "kernels: 3 passed, 1
	# failed". A program that fails counts as one failure.
	read -r good bad < <(awk '
		/^test result:/ { good += $4; bad += $6 }
		/^ *[0-9]+\/[0-9]+ .* OK .* subtests passed$/ { good += $(NF - 2); next }
		/^ *[0-9]+\/[0-9]+ .* OK / { good += 1 }
		/^(Fail|Unexpected Pass|Skipped|Timeout): / { bad += $NF }
		/^kernels: [0-9]+ passed, / { good += $2; bad += $4 }
		END { print good + 0, bad + 0 }' "$logs/$name.log")
	if [ $ran_well = 0 ] && [ "$bad" = 0 ]; then bad=1; fi
	if [ "$bad" != 0 ] && [ $ran_well = 1 ]; then
		echo "FAIL  $name: $bad skipped, which nothing may be here; see $logs/$name.log"
	fi
	if [ "$good" = 0 ] && [ "$bad" = 0 ]; then
		echo "FAIL  $name: it ran no test"
		bad=1
	fi
	passed=$((passed + good))
	failed=$((failed + bad))
}

host_state() {
	cat /proc/self/mountinfo
	stat -c '%n %F %t:%T %a %u:%g' /dev /dev/*
}

staged_pkg_config() { PKG_CONFIG_PATH=$(dirname "$(find "$stage" -name librfs.pc)") pkg-config "$@"; }

header_compiles() {
	printf '#include <librfs.h>\nint main(void) { return 0; }\n' >"$logs/header.c"
	for language in 'c -std=c11' 'c++ -std=c++17'; do
		# shellcheck disable=SC2046,SC2086 # several words
		cc -x $language -fsyntax-only -Wall -Wextra -Wconversion -Wshadow -Werror -pedantic \
			$(staged_pkg_config --cflags librfs) "$logs/header.c" || return 1
	done
}

# Libs.private names all that Rust's standard library asks for, but for what every C compiler adds, and with libgcc's
# unwinder from the archive (-lgcc_eh) in the place of libgcc_s.so.
native_libraries() {
	: >"$logs/empty.rs"
	local needed library
	needed=$(rustc --crate-type staticlib --print native-static-libs -o "$logs/empty.a" "$logs/empty.rs" 2>&1 |
		sed -n 's/.*native-static-libs: //p')
	[ -n "$needed" ] || return 1
	for library in ${needed/-lgcc_s/-lgcc_eh}; do
		case " $(staged_pkg_config --libs --static librfs) -lc " in
		*" $library "*) ;;
		*) echo "librfs.pc: Libs.private lacks $library"; return 1 ;;
		esac
	done
}

# No line of a source is longer than 120 columns.
columns() {
	! find . \( -name .git -o -path ./build -o -name target \) -prune -o -type f \
		\( -name '*.c' -o -name '*.h' -o -name '*.rs' -o -name '*.py' -o -name '*.sh' \) \
		-exec grep -nHE '.{121}' {} +
}

# The binary interface, as the C compilers of machines with other pointers, sizes and alignments see it.
abi_compiles() {
	for compiler in cc aarch64-linux-gnu-gcc riscv64-linux-gnu-gcc arm-linux-gnueabihf-gcc i686-linux-gnu-gcc; do
		"$compiler" -std=c11 -Wall -Wextra -Werror -pedantic -fsyntax-only -Iinclude c-tests/abi.c || return 1
	done
}

# Nothing is left of what make install installed.
uninstall() {
	local prefix=$PWD/build/uninstall
	rm -rf "$prefix"
	env -u MAKEFLAGS make --no-print-directory install PREFIX="$prefix" DESTDIR= && [ -f "$prefix/include/librfs.h" ] &&
		env -u MAKEFLAGS make --no-print-directory uninstall && [ -z "$(find "$prefix" ! -type d 2>&-)" ]
}

# The library compiles with the oldest Rust that Cargo.toml promises.
oldest_rust() {
	local version
	version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
	rustup toolchain install --profile minimal --no-self-update "$version" &&
		CARGO_TARGET_DIR=build/oldest-rust cargo "+$version" check --locked
}

# Where there is no cargo, one sentence says so.
without_cargo() {
	local tools=$logs/tools tool
	mkdir -p "$tools"
	for tool in sh sed cc as ld ar ninja meson pkg-config; do ln -sf "$(command -v "$tool")" "$tools/$tool"; done
	rm -rf build/without-cargo
	! PATH=$tools meson setup build/without-cargo >"$logs/without-cargo.out" &&
		grep 'ERROR: .*librfs needs cargo 1.85 or later' "$logs/without-cargo.out"
}

# Another start of dist makes the same bytes.
dist() {
	scripts/dist.sh && scripts/dist.sh build/dist-again &&
		cmp build/dist/librfs-*.tar.gz build/dist-again/librfs-*.tar.gz
}

# A whole build for another machine: with pointers of 32 bits, and compiled quickly rather than well.
cross() {
	CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
		scripts/cross.sh armhf
}

# The first C block of README.md, compiled and run.
readme_example() {
	local work status
	work=$(mktemp -d)
	awk '/^```c$/ { on = 1; next } /^```$/ { if (on) exit } on' README.md >"$work/example.c"
	mkdir -p "$work/rootfs/bin"
	cp "$(command -v busybox)" "$work/rootfs/bin/sh"
	# shellcheck disable=SC2046 # several flags
	cc -std=c11 -Wall -Wextra -Werror -o "$work/example" "$work/example.c" $(staged_pkg_config --cflags --libs librfs) \
		-Wl,-rpath,"$(staged_pkg_config --variable=libdir librfs)" &&
		"$work/example" "$work/rootfs" /bin/sh -c 'test -c /dev/null && test -e /proc/self && test ! -e /etc/passwd'
	status=$?
	rm -rf "$work"
	return $status
}

# Another meson project takes this one in as a subproject.
subproject() {
	local project=$PWD/build/subproject
	rm -rf "$project"
	mkdir -p "$project/subprojects/librfs"
	tar -c --exclude=./build --exclude=./target --exclude=./.git . | tar -x -C "$project/subprojects/librfs"
	cat >"$project/meson.build" <<-'EOF'
		project('consumer', 'c', meson_version: '>= 1.0.0')
		librfs = dependency('librfs', fallback: 'librfs')
		test('version', executable('consumer', 'consumer.c', dependencies: librfs))
	EOF
	cat >"$project/consumer.c" <<-'EOF'
		#include <librfs.h>
		#include <string.h>
		int main(void) { return strcmp(rfs_version(), RFS_VERSION) != 0; }
	EOF
	meson setup "$project/build" "$project" --wrap-mode=forcefallback && meson test -C "$project/build"
}

c_tests() {
	local folder=$1
	shift
	rm -rf "$folder"
	PKG_CONFIG_PATH=$(dirname "$(find "$stage" -name librfs.pc)") \
		meson setup "$folder" -Dlibrary=installed -Dwerror=true "$@" ||
		return 1
	meson compile -C "$folder"
}

# One configuration and one plan in many threads, with the C side under ThreadSanitizer.
threads() {
	local folder=build/c-tests-thread
	rm -rf "$folder"
	PKG_CONFIG_PATH=$(dirname "$(find "$stage" -name librfs.pc)") meson setup "$folder" -Dlibrary=installed \
		-Dwerror=true -Db_sanitize=thread -Db_lundef=false &&
		meson compile -C "$folder" test-concurrent &&
		TSAN_OPTIONS=halt_on_error=1 "$folder/c-tests/test-concurrent" 'one plan: 8 threads*'
}

host_state >"$logs/host.before"

check format cargo fmt --check
check columns columns
check clippy cargo clippy --all-targets --all-features --locked -- -D warnings
check oldest-rust oldest_rust
suite cargo-test cargo test --locked --all-features
# The targets of fuzz/ for longer, and that `make fuzz` would compile.
suite fuzz env RFS_FUZZ_SECONDS=10 cargo test --locked --test fuzz -- --nocapture --test-threads=1
grep '^fuzz: ' "$logs/fuzz.log" | sed 's/^/      /'
check fuzz-compiles cargo clippy --locked --manifest-path fuzz/Cargo.toml --target-dir build/fuzz/target -- -D warnings

check install env -u MAKEFLAGS make --no-print-directory install PREFIX="$stage" DESTDIR=
check abi scripts/abi.py check
check abi-compiles abi_compiles
check symbols scripts/check-symbols.sh "$(find "$stage" -name librfs.so.1)" "$(find "$stage" -name librfs.a)" \
	pkgconfig/librfs.map
check stripped sh -c '! readelf -SW "$1" | grep -w .symtab' - "$(find "$stage" -name librfs.so.1)"
check linking tests/linking/run.sh "$stage"
check bindings tests/bindings/run.sh "$stage"
check examples tests/examples/run.sh "$stage"
check licenses scripts/check-licenses.py
check html scripts/html.sh
check manual tests/man/check.py "$stage"
check header header_compiles
check native-libraries native_libraries
check readme-example readme_example
for link in shared archive static; do
	check "demo-$link" examples/demo/run.sh "$stage" $link
done
check subproject subproject
check uninstall uninstall
check without-cargo without_cargo
check dist dist
check deb scripts/deb.sh
check clean-root tests/packaging/clean-root.sh build/deb
check rpm scripts/rpm.sh
check cross cross

check c-tests-build c_tests build/c-tests
suite c-tests meson test -C build/c-tests --print-errorlogs --no-suite attacks
check no-case-skipped sh -c '! grep " # SKIP" build/c-tests/meson-logs/testlog.txt'
suite valgrind meson test -C build/c-tests --print-errorlogs --timeout-multiplier 10 \
	--wrap="valgrind --quiet --leak-check=full --errors-for-leak-kinds=definite,indirect,possible \
		--error-exitcode=99" --suite parse
check c-tests-sanitize-build c_tests build/c-tests-sanitize -Db_sanitize=address,undefined -Db_lundef=false
UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	suite c-tests-sanitize meson test -C build/c-tests-sanitize --print-errorlogs --no-suite attacks --timeout-multiplier 4

check threads threads
check attacks tests/attacks/run.sh build/c-tests
grep -E '^(attacks|faults|races): ' "$logs/attacks.log" | sed 's/^/      /'

check errors tests/errors/run.py "$stage"
check parity tests/parity/run.py "$stage"
grep '^parity ' "$logs/parity.log" | sed 's/^/      /'

# The corpus shows the same when rfs_prepare() makes the namespace.
check parity-own-namespace tests/parity/run.py --own-namespace "$stage"

# This shows that it works. Its figures mean nothing while a machine is busy.
check bench benches/start.py "$stage" --short

# Runs the tests without the system calls for which librfs has fallbacks.
suite refusals tests/refusals/run.py build/c-tests
mapfile -t filters <tests/refusals/filters
check refusals-parity tests/parity/run.py "${filters[@]/#/--refuse=}" "$stage"

# On other kernels; `make test-kernels` has more.
suite kernels tests/kernels/run.sh "$stage" 6.1 6.1/v1 6.1/hybrid 6.1/selinux 7.3
sed -n 's/^[67]\.[0-9]/      &/p' "$logs/kernels.log" | grep ' s;'

host_state >"$logs/host.after"
check host-unchanged diff -u "$logs/host.before" "$logs/host.after"

echo
echo "$passed passed, $failed failed"
[ $failed = 0 ]
