#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What a container's start costs with more and more mounts on the host: rfsrun by RFS_OPTION_OWN_NAMESPACE, and by
unshare(2).

usage: hostmounts.py PREFIX             (as root; PREFIX is where librfs is installed)
       hostmounts.py RFSRUN BUNDLE [MOUNTS,... [ROUNDS]]     (defaults 20,1000,5000 and 41)

The mounts are of a tmpfs, in a mount namespace made for this, which stands for the host. Both ways take turns. Printed
are medians and their ratios to unshare(2) with the fewest mounts: only ratios travel between machines."""

import os
import subprocess
import sys
import tempfile
import time

WAYS = {"own namespace": [], "unshare": ["--unshare"]}


def enter_namespace():
    if os.environ.get("RFS_BENCH") != "inside":
        os.environ["RFS_BENCH"] = "inside"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])


def count_mounts():
    with open("/proc/self/mountinfo") as file:
        return len(file.readlines())


def add_mounts(folder, wanted):
    """Through the C library: mount(8) takes milliseconds for each."""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    for number in range(count_mounts(), wanted):
        path = f"{folder}/{number}".encode()
        os.mkdir(path)
        if libc.mount(b"m", path, b"tmpfs", 0, b"size=4k") != 0:
            raise OSError(ctypes.get_errno(), "mount")


def start(command):
    begin = time.perf_counter()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}: {done.stderr}")
    return time.perf_counter() - begin


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    enter_namespace()
    if len(sys.argv) == 2:
        import start as programs
        with tempfile.TemporaryDirectory() as work:
            programs.compile_programs(sys.argv[1], work)
            return compare(work + "/rfsrun", programs.make_bundle(work))
    return compare(*sys.argv[1:3])


def compare(rfsrun, bundle):
    numbers = sorted(int(number) for number in (sys.argv[3] if len(sys.argv) > 3 else "20,1000,5000").split(","))
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 41
    least = None
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "hostmounts", folder], check=True)
        for wanted in numbers:
            add_mounts(folder, wanted)
            times = {way: [] for way in WAYS}
            for _ in range(rounds):
                for way, options in WAYS.items():
                    times[way].append(start([rfsrun, *options, bundle]))
            medians = {way: sorted(all_of)[len(all_of) // 2] for way, all_of in times.items()}
            least = least or medians["unshare"]
            for way, median in medians.items():
                print(f"{count_mounts():6} mounts  {way:14} {median * 1000:7.2f} ms  {median / least:5.2f}")
        subprocess.run(["umount", "-l", folder], check=True)


if __name__ == "__main__":
    main()
