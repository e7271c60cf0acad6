# SPDX-License-Identifier: MIT OR Apache-2.0
# Unpacks Debian's kernels, qemu, compilers of policies, and other versions of runc and crun into $cache, without a
# trace in the system's own packages. run.sh and tests/parity/run.py source it. Every function prints only its result,
# and fails if it has none.

# The release that has a kernel series.
suite_of() {
	case $1 in
	5.10) echo bullseye ;;
	6.1) echo bookworm ;;
	6.12) echo trixie ;;
	7.2) echo forky ;;
	7.3) echo trixie-backports ;;
	*) echo "kernels: no Debian release is known for a kernel $1" >&2; return 1 ;;
	esac
}

# apt-get and apt-cache with a release's sources, lists and cache of its own.
# usage: apt SUITE get|cache ARGUMENTS
apt() {
	local suite=$1 tool=$2 dir=$cache/apt/$1
	shift 2
	"apt-$tool" -qq -o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::Etc::preferencesparts=/dev/null \
		-o "Dir::State::lists=$dir/lists" -o "Dir::Cache=$dir/cache" -o APT::Get::List-Cleanup=false \
		-o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o APT::Sandbox::User=root "$@"
}

# The archive that the system's own apt sources name.
# usage: archive Debian|Debian-Security
archive() {
	local address
	# shellcheck disable=SC2016 # apt replaces it
	address=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Label: $1" | head -n 1)
	if [ -z "$address" ]; then
		echo "kernels: apt's sources name no archive of $1, or apt-get update has not been run" >&2
		return 1
	fi
	echo "$address"
}

# The lists are fetched once a day.
update() {
	local suite=$1 dir=$cache/apt/$1 main security='' signed='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
	if [ -n "$(find "$dir/updated" -mtime -1 2>&-)" ]; then return 0; fi
	main=$(archive Debian) || return 1
	case $suite in
	*-backports | forky) ;; # there is none
	*) security=$(archive Debian-Security) || return 1 ;;
	esac
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	{
		echo "deb $signed $main $suite main"
		if [ -n "$security" ]; then echo "deb $signed $security $suite-security main"; fi
	} >"$dir/sources.list"
	apt "$suite" get update >&2 && touch "$dir/updated"
}

# usage: unpack FOLDER DEB...
unpack() {
	local folder=$1 deb
	shift
	for deb; do dpkg-deb -x "$deb" "$folder" && rm "$deb" || return 1; done
}

# The folder of packages, unpacked together; it has the name of the first.
# usage: unpacked SUITE PACKAGE...
unpacked() {
	local suite=$1 dir=$cache/$2
	shift
	if [ ! -e "$dir" ]; then
		update "$suite" && rm -rf "$dir.new" && mkdir -p "$dir.new" &&
			(cd "$dir.new" && apt "$suite" get download "$@" >&2) && unpack "$dir.new" "$dir.new"/*.deb &&
			mv "$dir.new" "$dir" || return 1
	fi
	echo "$dir"
}

# The packages that a package depends on and whose names match.
# usage: needed SUITE PACKAGE REGEX
needed() { apt "$1" cache depends "$2" | sed -nE "s/^ *Depends: ($3)$/\1/p"; }

# The folder of an unpacked kernel. Somewhere in it are vmlinuz* and modules.
kernel() {
	local suite package
	suite=$(suite_of "$1") && update "$suite" || return 1
	package=$(needed "$suite" linux-image-amd64 'linux-image-[0-9].*' | head -n 1)
	if [ -z "$package" ]; then
		echo "kernels: $suite has no linux-image-amd64" >&2
		return 1
	fi
	# Since 7.0 the package has no files, but names two that have them.
	# shellcheck disable=SC2046 # one package a line
	unpacked "$suite" "$package" $(needed "$suite" "$package" 'linux-(binary|modules)-[0-9].*')
}

# The folder of programs of a release that is newer than the system. They load the libraries that they came with.
# usage: programs SUITE PACKAGE... (each has a program of its name)
programs() {
	local suite=$1 dir=$cache/programs-$1 patchelf package
	shift
	if [ ! -e "$dir" ]; then
		patchelf=$(unpacked bookworm patchelf)/usr/bin/patchelf && update "$suite" && rm -rf "$dir.new" &&
			mkdir -p "$dir.new/archives/partial" "$dir.new/bin" || return 1
		# apt is told that no package is installed, so that it brings every dependency, the C library too.
		: >"$dir.new/status"
		apt "$suite" get install --download-only -y --no-install-recommends -o "Dir::State::status=$dir.new/status" \
			-o "Dir::Cache::archives=$dir.new/archives" "$@" >&2 && unpack "$dir.new" "$dir.new"/archives/*.deb || return 1
		for package; do
			cp "$(find "$dir.new/usr" -path "*bin/$package" -type f)" "$dir.new/bin/" &&
				"$patchelf" --set-interpreter "$dir/usr/lib64/ld-linux-x86-64.so.2" --force-rpath \
					--set-rpath "$dir/usr/lib/x86_64-linux-gnu" "$dir.new/bin/$package" || return 1
		done
		mv "$dir.new" "$dir" || return 1
	fi
	echo "$dir/bin"
}

# A command that starts qemu. Debian 12's qemu can't be installed beside the qemu-utils of its
# backports, so it is unpacked, with the libraries that the system lacks.
qemu() {
	local dir=$cache/qemu
	if command -v qemu-system-x86_64; then return 0; fi
	if [ ! -e "$dir" ]; then
		update bookworm && rm -rf "$dir.new" && mkdir -p "$dir.new/archives/partial" &&
			apt bookworm get install --download-only -y --allow-downgrades --no-install-recommends \
				-o "Dir::Cache::archives=$dir.new/archives" qemu-system-x86 >&2 &&
			unpack "$dir.new" "$dir.new"/archives/*.deb && mv "$dir.new" "$dir" || return 1
	fi
	echo "env LD_LIBRARY_PATH=$dir/usr/lib/x86_64-linux-gnu:$dir/lib/x86_64-linux-gnu" \
		"$dir/usr/bin/qemu-system-x86_64 -L $dir/usr/share/qemu -L $dir/usr/share/seabios"
}
