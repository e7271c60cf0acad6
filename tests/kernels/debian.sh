# Debian's kernels, qemu and compilers of policies, unpacked into $cache without a trace in the system's own packages.
# Sourced by run.sh. Every function prints nothing but what it is asked for, and fails if that can't be had.

# Kernel series, by the release that has it.
suite_of() {
	case $1 in
	5.10) echo bullseye ;;
	6.1) echo bookworm ;;
	6.12) echo trixie ;;
	*) echo "kernels: no Debian release is known for a kernel $1" >&2; return 1 ;;
	esac
}

# apt-get and apt-cache with a release's sources, lists and cache of its own.
# usage: apt SUITE get|cache ARGUMENTS
apt() {
	local suite=$1 tool=$2 dir=$cache/apt/$1
	shift 2
	"apt-$tool" -qq -o "Dir::Etc::sourcelist=$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferencesparts=/dev/null \
		-o "Dir::State::lists=$dir/lists" -o "Dir::Cache=$dir/cache" -o APT::Get::List-Cleanup=false \
		-o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o APT::Sandbox::User=root "$@"
}

# The lists are fetched once a day.
update() {
	local suite=$1 dir=$cache/apt/$1 keys=/usr/share/keyrings/debian-archive-keyring.gpg
	if [ -n "$(find "$dir/updated" -mtime -1 2>&-)" ]; then return 0; fi
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial"
	cat >"$dir/sources.list" <<-END
		deb [signed-by=$keys] http://deb.debian.org/debian $suite main
		deb [signed-by=$keys] http://deb.debian.org/debian-security $suite-security main
	END
	apt "$suite" get update >&2 && touch "$dir/updated"
}

# The folder of a package, unpacked alone.
# usage: unpacked SUITE PACKAGE
unpacked() {
	local dir=$cache/$2
	if [ ! -e "$dir" ]; then
		update "$1" && rm -rf "$dir.new" && mkdir -p "$dir.new" &&
			(cd "$dir.new" && apt "$1" get download "$2" >&2 && dpkg-deb -x ./*.deb . && rm ./*.deb) &&
			mv "$dir.new" "$dir" || return 1
	fi
	echo "$dir"
}

# The folder of an unpacked kernel: boot/vmlinuz-*, lib/modules/* or usr/lib/modules/*.
kernel() {
	local suite package
	suite=$(suite_of "$1") && update "$suite" || return 1
	# The metapackage's only dependency is the package with the kernel.
	package=$(apt "$suite" cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	if [ -z "$package" ]; then
		echo "kernels: $suite has no linux-image-amd64" >&2
		return 1
	fi
	unpacked "$suite" "$package"
}

# A command that starts qemu. Debian 12's qemu can't be installed beside the qemu-utils of its
# backports, so it is unpacked, with the libraries that the system lacks.
qemu() {
	local dir=$cache/qemu
	if command -v qemu-system-x86_64; then return 0; fi
	if [ ! -e "$dir" ]; then
		update bookworm && rm -rf "$dir.new" && mkdir -p "$dir.new/archives/partial" &&
			apt bookworm get install --download-only -y --allow-downgrades --no-install-recommends \
				-o "Dir::Cache::archives=$dir.new/archives" qemu-system-x86 >&2 || return 1
		local deb
		for deb in "$dir.new"/archives/*.deb; do dpkg-deb -x "$deb" "$dir.new" || return 1; done
		rm -r "$dir.new/archives" && mv "$dir.new" "$dir" || return 1
	fi
	echo "env LD_LIBRARY_PATH=$dir/usr/lib/x86_64-linux-gnu:$dir/lib/x86_64-linux-gnu $dir/usr/bin/qemu-system-x86_64 -L $dir/usr/share/qemu -L $dir/usr/share/seabios"
}
