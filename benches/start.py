#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""`make bench`: what a container's start costs with librfs, against the least it can cost and
against Debian's crun and runc, in turn in one run, in a mount namespace with a plain cgroup2.

usage: start.py PREFIX [ROUNDS]   (as root; PREFIX is where librfs is installed)

Each round starts every runtime once on the same bundle (`runc spec` without resources, `busybox
true`); what counts is the median of each and its ratio to the floor of the same round. System calls
are those of the whole process tree, by strace. Only ratios travel between machines."""

import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

here = os.path.dirname(os.path.abspath(__file__))


def enter_namespace():
    """Again in a private mount namespace, where the host's mounts can't be touched."""
    if os.environ.get("RFS_BENCH") != "inside":
        os.environ["RFS_BENCH"] = "inside"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable] + sys.argv)
    subprocess.run(["umount", "-R", "/sys/fs/cgroup"], check=True)
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"], check=True)


def compile_programs(prefix, work):
    pc = next(os.path.join(d, "pkgconfig") for d, names, _ in os.walk(prefix) if "pkgconfig" in names)
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "librfs", "json-c"], check=True, text=True,
                           capture_output=True, env={**os.environ, "PKG_CONFIG_PATH": pc}).stdout.split()
    examples = os.path.join(here, "..", "examples")
    # The parts of rfsrun have headers; the other examples are one file each.
    rfsrun = [f"{examples}/rfsrun.c", *(header[:-1] + "c" for header in glob.glob(f"{examples}/*.h"))]
    for name, sources in (("floor", [f"{here}/floor.c"]), ("plan", [f"{here}/plan.c"]), ("rfsrun", rfsrun)):
        subprocess.run(["cc", "-O2", "-o", f"{work}/{name}", *sources, *flags, f"-Wl,-rpath,{os.path.dirname(pc)}"],
                       check=True)


def make_bundle(work):
    bundle = f"{work}/bundle"
    os.makedirs(f"{bundle}/rootfs/bin")
    subprocess.run(["cp", "/bin/busybox", f"{bundle}/rootfs/bin/busybox"], check=True)
    for directory in ("proc", "dev", "sys"):
        os.mkdir(f"{bundle}/rootfs/{directory}")
    subprocess.run(["runc", "spec"], cwd=bundle, check=True)
    with open(f"{bundle}/config.json") as file:
        config = json.load(file)
    config["process"].update(terminal=False, args=["/bin/busybox", "true"])
    # Only runc and crun would set up cgroups; what is compared is the root filesystem.
    config["linux"].pop("resources", None)
    with open(f"{bundle}/config.json", "w") as file:
        json.dump(config, file)
    return bundle


def main():
    enter_namespace()
    prefix, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100
    with tempfile.TemporaryDirectory(prefix="librfs-bench.") as work:
        compile_programs(prefix, work)
        bundle = make_bundle(work)
        commands = {
            "floor": [f"{work}/floor", f"{bundle}/rootfs", "/bin/busybox", "true"],
            "rfsrun": [f"{work}/rfsrun", bundle],
            "crun": ["crun", "--cgroup-manager=disabled", f"--root={work}/crun", "run", "-b", bundle, "bench"],
            "runc": ["runc", f"--root={work}/runc", "run", "-b", bundle, "bench"],
        }
        times = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
                times[name].append(time.perf_counter() - start)
        print(f"{'':8}{'median ms':>10}{'/ floor':>10}{'calls':>8}   ({rounds} rounds)")
        for name, command in commands.items():
            trace = f"{work}/trace"
            subprocess.run(["strace", "-f", "-c", "-U", "calls", "-o", trace, *command], check=True,
                           stdin=subprocess.DEVNULL)
            with open(trace) as file:
                calls = file.read().split()[-2]
            ratio = statistics.median(a / b for a, b in zip(times[name], times["floor"]))
            print(f"{name:8}{statistics.median(times[name]) * 1000:10.2f}{ratio:10.2f}{calls:>8}")
        print(flush=True)
        subprocess.run([f"{work}/plan"], check=True)


main()
