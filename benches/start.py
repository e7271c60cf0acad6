#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""`make bench`: what librfs costs, against the least it can cost and against crun and runc, in one run.

usage: start.py PREFIX [--short]    (as root; PREFIX is where librfs is installed)

Prints a line `ratio SCENARIO librfs/other` for each comparison, writes docs/performance.svg, and puts the table
between the marks in README.md and docs/performance.md. --short takes few rounds and writes nothing: it shows that the
benchmark works. All programs of a comparison take turns, and medians are compared: only ratios travel between
machines. It runs in a mount namespace of its own, with a plain cgroup2."""

import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

here = os.path.dirname(os.path.abspath(__file__))
top = os.path.dirname(here)
SHORT = "--short" in sys.argv
PROGRAM = ["/bin/busybox", "true"]
BINDS = (20, 100, 300, 1000)
HOST = (20, 1000, 4000)
MARKS = ("<!-- make bench: begin -->\n", "<!-- make bench: end -->\n")
COLOURS = {"floor": "#888888", "librfs": "#c0392b", "crun": "#2471a3", "runc": "#1e8449"}


def rounds(wanted):
    return 3 if SHORT else wanted


def enter_namespace():
    """Again in a private mount namespace, where the host's mounts can't be touched."""
    if os.environ.get("RFS_BENCH") != "inside":
        os.environ["RFS_BENCH"] = "inside"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])
    subprocess.run(["umount", "-R", "/sys/fs/cgroup"], check=True)
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"], check=True)


def compile_programs(prefix, work):
    pc = os.path.abspath(next(os.path.join(d, "pkgconfig") for d, names, _ in os.walk(prefix) if "pkgconfig" in names))
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "librfs", "json-c"], check=True, text=True,
                           capture_output=True, env={**os.environ, "PKG_CONFIG_PATH": pc}).stdout.split()
    examples = os.path.join(top, "examples")
    # The parts of rfsrun have headers; the other examples are one file each.
    rfsrun = [f"{examples}/rfsrun.c", *(header[:-1] + "c" for header in glob.glob(f"{examples}/*.h"))]
    for name, sources in (("floor", [f"{here}/floor.c"]), ("plan", [f"{here}/plan.c"]), ("phase", [f"{here}/phase.c"]),
                          ("rfsrun", rfsrun)):
        used = [] if name == "floor" else [*flags, f"-Wl,-rpath,{os.path.dirname(pc)}"]
        subprocess.run(["cc", "-O2", "-o", f"{work}/{name}", *sources, *used], check=True)


def make_bundle(work, name="bundle", change=None):
    """What `runc spec` writes, without a terminal and resources, and with what `change` does to it."""
    bundle = f"{work}/{name}"
    os.makedirs(f"{bundle}/rootfs/bin")
    shutil.copy("/bin/busybox", f"{bundle}/rootfs/bin/busybox")
    for directory in ("proc", "dev", "sys"):
        os.mkdir(f"{bundle}/rootfs/{directory}")
    subprocess.run(["runc", "spec"], cwd=bundle, check=True)
    with open(f"{bundle}/config.json") as file:
        config = json.load(file)
    config["process"].update(terminal=False, args=PROGRAM)
    # Only runc and crun would set up cgroups; what is compared is the root filesystem.
    config["linux"].pop("resources", None)
    if change:
        change(config, bundle)
    with open(f"{bundle}/config.json", "w") as file:
        json.dump(config, file)
    return bundle


def add_binds(number):
    """Read-only binds of one file, as of configurations and secrets. The mount points are in the image."""
    def change(config, bundle):
        os.mkdir(f"{bundle}/rootfs/binds")
        with open(f"{bundle}/source", "w"):
            pass
        for i in range(number):
            with open(f"{bundle}/rootfs/binds/{i}", "w"):
                pass
            config["mounts"].append({"destination": f"/binds/{i}", "type": "bind", "source": f"{bundle}/source",
                                     "options": ["bind", "ro", "nosuid", "nodev"]})
    return change


def add_masks(config, bundle):
    for i in range(500):
        os.makedirs(f"{bundle}/rootfs/masks/{i}")
    config["linux"]["maskedPaths"] = [f"/masks/{i}" for i in range(500)]


def as_docker(config, bundle):
    """Docker's mounts, masked and read-only paths, with a volume and its three files."""
    with open(f"{top}/c-tests/data/docker.json") as file:
        docker = json.loads(file.read().replace("@WORK@", bundle))
    for mount in docker["mounts"]:
        if mount["type"] != "bind":
            continue
        is_file = mount["destination"].startswith("/etc/")
        os.makedirs(os.path.dirname(mount["source"]) if is_file else mount["source"], exist_ok=True)
        inside = f"{bundle}/rootfs{mount['destination']}"
        os.makedirs(os.path.dirname(inside) if is_file else inside, exist_ok=True)
        for path in (mount["source"], inside) if is_file else ():
            with open(path, "w"):
                pass
    config["mounts"] = docker["mounts"]
    config["root"]["readonly"] = False
    for key in ("maskedPaths", "readonlyPaths"):
        config["linux"][key] = docker["linux"][key]


def runtimes(work, bundle):
    return {
        "floor": [f"{work}/phase", bundle, "run", *PROGRAM],
        "librfs": [f"{work}/rfsrun", bundle],
        "crun": ["crun", "--cgroup-manager=disabled", f"--root={work}/crun", "run", "-b", bundle, "bench"],
        "runc": ["runc", f"--root={work}/runc", "run", "-b", bundle, "bench"],
    }


def start(command):
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return (time.perf_counter() - begin) * 1000


def medians(commands, number):
    times = {name: [] for name in commands}
    for _ in range(rounds(number)):
        for name, command in commands.items():
            times[name].append(start(command))
    return {name: statistics.median(of_one) for name, of_one in times.items()}


class Report:
    """The lines of the run, and the rows of its table."""

    def __init__(self):
        self.rows = []

    def ratio(self, scenario, one, other, value, goal=None, note=""):
        says = "" if goal is None else f" (goal {goal:g}{'' if value <= goal else ', MISSED'})"
        print(f"ratio {scenario} {one}/{other} {value:.3f}{says}{note and '  ' + note}", flush=True)
        self.rows.append((scenario, f"{one} / {other}", f"{value:.2f}", "" if goal is None else f"≤ {goal:g}"))

    def table(self):
        rows = [("scenario", "compared", "ratio", "goal"), ("---",) * 4, *self.rows]
        return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def count_calls(command, work):
    subprocess.run(["strace", "-f", "-c", "-U", "calls", "-o", f"{work}/trace", *command], check=True,
                   stdin=subprocess.DEVNULL)
    with open(f"{work}/trace") as file:
        return int(file.read().split()[-2])


def phases(report, work):
    """From rfs_prepare() to rfs_finalize(): items that both floors have."""
    per_bind = {}
    scenarios = [("default", None, 200, 1.15, 1.5), ("docker", as_docker, 200, 1.15, 1.5),
                 ("masks-500", add_masks, 40, 1.10, None)]
    scenarios += [(f"binds-{n}", add_binds(n), 60 if n < 1000 else 15, 1.10 if n >= 1000 else None, None)
                  for n in (100, 1000, 5000)]
    for name, change, number, goal, goal2 in scenarios:
        bundle = make_bundle(work, name, change)
        lines = subprocess.run([f"{work}/phase", bundle, str(rounds(number))], check=True, text=True,
                               capture_output=True).stdout.splitlines()
        found = {line.split()[0]: [float(word) for word in line.split()[1:]] for line in lines}
        for one, other, limit in (("librfs", "floor", goal), ("librfs-mount2", "floor-mount2", goal2)):
            (median, least, faults), (median2, least2, faults2) = found[one], found[other]
            report.ratio(f"rootfs-{name}", one, other, median / median2, limit,
                         f"median {median:.0f} us of {median2:.0f}, least {least:.0f} of {least2:.0f}, "
                         f"page faults {faults:.0f} of {faults2:.0f}")
        if name.startswith("binds-"):
            per_bind[name] = found["librfs"][0] / int(name[6:])
    report.ratio("per-bind", "5000", "100", per_bind["binds-5000"] / per_bind["binds-100"], None,
                 ", ".join(f"{name} {value:.2f} us" for name, value in per_bind.items()))


def processes(report, work):
    bundle = make_bundle(work)
    commands = {"unsafe-floor": [f"{work}/floor", f"{bundle}/rootfs", *PROGRAM], **runtimes(work, bundle)}
    found = medians(commands, 100)
    for other, goal in (("unsafe-floor", None), ("floor", 1.12), ("crun", 0.5), ("runc", 0.2)):
        report.ratio("process", "rfsrun", other, found["librfs"] / found[other], goal,
                     f"{found['librfs']:.2f} ms of {found[other]:.2f}")
    calls = {name: count_calls(command, work) for name, command in commands.items()}
    print("system calls, whole process: " + ", ".join(f"{name} {n}" for name, n in calls.items()))
    return commands


def full_host(report, work, commands):
    """The mounts are of a tmpfs, in this mount namespace, which stands for the host."""
    import hostmounts
    folder, points = f"{work}/host", {}
    os.mkdir(folder)
    subprocess.run(["mount", "-t", "tmpfs", "hostmounts", folder], check=True)
    for number in HOST:
        hostmounts.add_mounts(folder, number)
        there = hostmounts.count_mounts()
        found = points[there] = medians({name: commands[name] for name in COLOURS}, 25)
        for other in ("floor", "crun", "runc"):
            report.ratio(f"host-{number}", "rfsrun", other, found["librfs"] / found[other], None,
                         f"{found['librfs']:.2f} ms of {found[other]:.2f}")
    subprocess.run(["umount", "-l", folder], check=True)
    (few, first), (many, last) = min(points.items()), max(points.items())
    growth = {name: (last[name] - first[name]) / (many - few) * 1000 for name in COLOURS}
    print("per mount on the host: " + ", ".join(f"{name} {value:.2f} us" for name, value in growth.items()))
    return points


def at_once(report, work, bundle):
    for number in (1, 2, 4, 8):
        each = 3 if SHORT else 160 // number
        rates = {}
        for name in ("librfs", "crun", "runc"):
            begin = time.perf_counter()
            loops = []
            for i in range(number):
                *command, last = runtimes(work, bundle)[name]
                command.append(f"{last}-{i}" if name != "librfs" else last)
                loop = f'for i in $(seq {each}); do "$@" || exit 1; done'
                loops.append(subprocess.Popen(["sh", "-c", loop, "sh", *command], stdin=subprocess.DEVNULL))
            if any(loop.wait() != 0 for loop in loops):
                sys.exit(f"{name}: a start failed")
            rates[name] = number * each / (time.perf_counter() - begin)
        for other in ("crun", "runc"):
            report.ratio(f"at-once-{number}", "rfsrun", other, rates[other] / rates["librfs"], None,
                         f"{rates['librfs']:.0f} starts a second, {other} {rates[other]:.0f}")


def in_container(work):
    """Starts with more and more binds in the container, for the plot."""
    points = {}
    for number in BINDS:
        bundle = make_bundle(work, f"plot-{number}", add_binds(number))
        points[number] = medians(runtimes(work, bundle), 9)
    return points


def plot(panels):
    """Time against mounts, a panel for each kind. Written by hand: nothing but the standard library is needed."""
    width, height, left, bottom = 420, 300, 60, 50
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * len(panels)}" height="{height + 30}" '
           'font-family="sans-serif" font-size="12">', '<rect width="100%" height="100%" fill="white"/>']
    for place, (title, points) in enumerate(panels):
        most = max(points)
        highest = max(max(found.values()) for found in points.values()) * 1.05
        x0, y0 = place * width + left, height - bottom

        def at(number, value):
            return f"{x0 + number / most * (width - left - 60):.1f},{y0 - value / highest * (y0 - 30):.1f}"
        out.append(f'<text x="{x0}" y="20" font-weight="bold">{title}</text>')
        out.append(f'<path d="M{at(0, highest)} L{at(0, 0)} L{at(most, 0)}" fill="none" stroke="black"/>')
        for number in points:
            x, y = at(number, 0).split(",")
            if number == most or number >= most / 5:
                out.append(f'<text x="{x}" y="{float(y) + 16}" text-anchor="middle">{number}</text>')
        for part in range(5):
            x, y = at(0, highest * part / 4).split(",")
            out.append(f'<text x="{float(x) - 6}" y="{float(y) + 4}" text-anchor="end">{highest * part / 4:.0f}</text>')
        out.append(f'<text x="{x0 + 120}" y="{y0 + 36}">mounts</text>')
        out.append(f'<text x="{x0 - 55}" y="{y0 + 16}">ms</text>')
        for index, (name, colour) in enumerate(COLOURS.items()):
            line = " ".join(at(number, found[name]) for number, found in sorted(points.items()))
            out.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
            out.append(f'<text x="{x0 + 10}" y="{44 + 16 * index}" fill="{colour}">{name}</text>')
    return "\n".join([*out, "</svg>\n"])


def put_table(path, text):
    with open(path) as file:
        before, rest = file.read().split(MARKS[0])
        after = rest.split(MARKS[1])[1]
    with open(path, "w") as file:
        file.write(before + MARKS[0] + text + MARKS[1] + after)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    enter_namespace()
    begin = time.monotonic()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="librfs-bench.") as work:
        compile_programs(sys.argv[1], work)
        subprocess.run([f"{here}/load.sh", sys.argv[1], str(rounds(400))], check=True)
        phases(report, work)
        commands = processes(report, work)
        host = full_host(report, work, commands)
        at_once(report, work, f"{work}/bundle")
        inside = in_container(work)
        subprocess.run([f"{work}/plan"], check=True)
    drawing = plot([("mounts in the container", inside), ("mounts on the host", host)])
    print(f"\n{report.table()}\n{time.monotonic() - begin:.0f} seconds")
    if SHORT:
        return
    with open(f"{top}/docs/performance.svg", "w") as file:
        file.write(drawing)
    for path in ("README.md", "docs/performance.md"):
        put_table(f"{top}/{path}", report.table())


if __name__ == "__main__":
    main()
