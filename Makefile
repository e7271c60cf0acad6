# SPDX-License-Identifier: MIT OR Apache-2.0
# What a person types. The build itself is in Cargo.toml (the Rust) and meson.build (what C sees).
PREFIX ?= /usr/local
DESTDIR ?=
STAGE = build/stage
FUZZ_SECONDS ?= 600
FUZZ_TARGETS ?=
MACHINES ?= aarch64 riscv64 armhf musl
KERNELS ?= 5.10 6.1 6.1/v1 6.1/hybrid 6.1/selinux 6.12 6.12/apparmor 7.2 7.3 7.3/v1 7.3/hybrid 7.3/selinux 7.3/apparmor

.PHONY: help all abi attacks attacks-long bench bench-kernel check deps demo fuzz html test test-kernels parity lint header install uninstall dist \
	deb rpm cross clean

help:
	@echo 'make demo     build, install into $(STAGE), and run a busybox container with examples/rfsrun.c'
	@echo 'make check    run the unit tests, and the C tests on this kernel: in about a minute (as root)'
	@echo "              make check TEST=binds CASE='locked*' runs cases of one C test"
	@echo 'make test     run all tests (as root: they make containers)'
	@echo 'make attacks  attack containers as hostile images do (as root); docs/security.md has the table'
	@echo 'make fuzz     give the parsers what they do not expect, with cargo-fuzz: FUZZ_SECONDS=$(FUZZ_SECONDS) for each of'
	@echo '              FUZZ_TARGETS (all); fuzz/README.md has more'
	@echo 'make bench    time librfs against crun, runc and the least it can cost, in a few minutes (as root); it renews'
	@echo '              the table of README.md and docs/performance.md, and the plot'
	@echo 'make bench-kernel  time starts on a host full of mounts, here and on Linux 7.3 in a virtual machine (as root)'
	@echo 'make parity   compare rfsrun with runc and crun, bundle by bundle (as root)'
	@echo 'make test-kernels  run the C tests on kernels of Debian: KERNELS="$(KERNELS)" (as root)'
	@echo 'make all      build the shared library and the archive, in build/release'
	@echo 'make install  install them, the header and the .pc file: PREFIX=$(PREFIX) DESTDIR=$(DESTDIR)'
	@echo 'make uninstall  remove what make install installed last'
	@echo 'make dist     make the tarball of a release with all crates, in build/dist'
	@echo 'make deb      make Debian packages of it, in build/deb; make rpm the same for Fedora, in build/rpm'
	@echo 'make cross    build for other machines, and run there what mounts nothing: MACHINES="$(MACHINES)"'
	@echo 'make deps     install the Debian packages that are missing (as root; else name them)'
	@echo 'make html     write the manual pages as HTML, in build/html'
	@echo 'make header   write include/librfs.h anew from src/capi, and the lists of symbols'
	@echo 'make abi      record additions to the binary interface (with BREAK=yes any change)'
	@echo 'make lint     cargo fmt --check, cargo clippy'
	@echo 'make clean    remove what was built'

all:
	@scripts/setup.sh build/release --prefix='$(PREFIX)' --buildtype=release -Dtests=false -Dexamples=disabled
	meson compile -C build/release

install: all
	DESTDIR='$(DESTDIR)' meson install -C build/release --no-rebuild

uninstall:
	ninja -C build/release uninstall

dist:
	scripts/dist.sh

deb: dist
	scripts/deb.sh

rpm: dist
	scripts/rpm.sh

cross:
	scripts/cross.sh $(MACHINES)

deps:
	scripts/deps.sh test

demo:
	scripts/deps.sh demo
	$(MAKE) --no-print-directory all install PREFIX='$(CURDIR)/$(STAGE)' DESTDIR=
	examples/demo/run.sh $(STAGE)

bench: deps
	$(MAKE) --no-print-directory all install PREFIX='$(CURDIR)/$(STAGE)' DESTDIR=
	python3 benches/start.py $(STAGE)
	$(MAKE) --no-print-directory bench-kernel

bench-kernel: deps
	$(MAKE) --no-print-directory all install PREFIX='$(CURDIR)/$(STAGE)' DESTDIR=
	python3 benches/hostmounts.py $(STAGE)
	RFS_KERNELS_APPEND=rfs.tests=hostmounts tests/kernels/run.sh $(STAGE) 7.3
	sed -n 's/^ratio hostmounts/ratio 7.3-hostmounts/p' build/kernels/7.3.log

check:
	@scripts/check.sh '$(TEST)' '$(CASE)'

test: deps
	scripts/test.sh

attacks: deps
	$(MAKE) --no-print-directory all install PREFIX='$(CURDIR)/$(STAGE)' DESTDIR=
	PKG_CONFIG_PATH="$$(dirname "$$(find '$(CURDIR)/$(STAGE)' -name librfs.pc)")" \
		meson setup build/c-tests -Dlibrary=installed -Dwerror=true $$(test ! -d build/c-tests || echo --reconfigure)
	meson compile -C build/c-tests
	meson test -C build/c-tests --print-errorlogs builder misuse callbacks concurrent leaks
	tests/attacks/run.sh build/c-tests

attacks-long:
	RACE_ROUNDS=20000 FAULTS_ALL=1 $(MAKE) --no-print-directory attacks

fuzz:
	scripts/fuzz.sh $(FUZZ_SECONDS) $(FUZZ_TARGETS)

parity: deps
	$(MAKE) --no-print-directory all install PREFIX='$(CURDIR)/$(STAGE)' DESTDIR=
	tests/parity/run.py $(STAGE)

test-kernels: deps
	$(MAKE) --no-print-directory all install PREFIX='$(CURDIR)/$(STAGE)' DESTDIR=
	tests/kernels/run.sh $(STAGE) $(KERNELS)

lint:
	cargo fmt --check
	cargo clippy --all-targets --all-features --locked -- -D warnings

html:
	scripts/deps.sh html
	scripts/html.sh

header:
	RFS_WRITE_HEADER=1 cargo test --locked --features header --test header
	scripts/abi.py symbols

abi:
	scripts/abi.py $(if $(BREAK),break,write)

clean:
	cargo clean
	rm -rf build
