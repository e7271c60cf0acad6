#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""What a container's start costs with more and more mounts on the host: rfsrun by RFS_OPTION_OWN_NAMESPACE, and by
unshare(2); with and without a user namespace.

usage: hostmounts.py PREFIX             (as root; PREFIX is where librfs is installed)
       hostmounts.py RFSRUN BUNDLE [MOUNTS,... [ROUNDS]]     (defaults 20,1000,5000 and 41)

The mounts are of a tmpfs, in a mount namespace made for this, which stands for the host. All ways take turns. Printed
are medians, as ratios to the same way with the fewest mounts, and to unshare(2): only ratios travel between machines.
RFSRUN needs Linux 7.1 to start without a copy of the host's mounts, in a user namespace 7.0; before that both ways are
alike."""

import json
import os
import subprocess
import sys
import tempfile
import time

WAYS = {"own": [], "unshare": ["--unshare"]}
KINDS = ("root", "userns")


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


def make_bundles(bundle, folder):
    """The bundle, and the same with a user namespace in which every id is itself."""
    with open(bundle + "/config.json") as file:
        config = json.load(file)
    config["root"]["path"] = os.path.join(os.path.abspath(bundle), config["root"]["path"])
    mapping = [{"containerID": 0, "hostID": 0, "size": 65536}]
    for kind in KINDS:
        if kind == "userns":
            config["linux"]["namespaces"].append({"type": "user"})
            config["linux"].update(uidMappings=mapping, gidMappings=mapping)
        os.mkdir(f"{folder}/{kind}")
        with open(f"{folder}/{kind}/config.json", "w") as file:
            json.dump(config, file)


def compare(rfsrun, bundle):
    numbers = sorted(int(number) for number in (sys.argv[3] if len(sys.argv) > 3 else "20,1000,5000").split(","))
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else 41
    first = {}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["mount", "-t", "tmpfs", "hostmounts", folder], check=True)
        make_bundles(bundle, folder)
        for wanted in numbers:
            add_mounts(folder, wanted)
            times = {(kind, way): [] for kind in KINDS for way in WAYS}
            for _ in range(rounds):
                for kind, way in times:
                    times[kind, way].append(start([rfsrun, *WAYS[way], f"{folder}/{kind}"]))
            medians = {key: sorted(all_of)[len(all_of) // 2] for key, all_of in times.items()}
            for (kind, way), median in medians.items():
                least = first.setdefault((kind, way), (count_mounts(), median))
                print(f"ratio hostmounts-{count_mounts()}-{kind} {way}/{way}-{least[0]} {median / least[1]:.2f}")
                if way != "unshare":
                    print(f"ratio hostmounts-{count_mounts()}-{kind} {way}/unshare "
                           f"{median / medians[kind, 'unshare']:.2f}")
            print("        " + ", ".join(f"{kind} {way} {median * 1000:.2f} ms"
                                         for (kind, way), median in medians.items()))
        subprocess.run(["umount", "-l", folder], check=True)


if __name__ == "__main__":
    main()
