#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs each bundle of cases.py under runc and crun, old and new, and rfsrun, and compares what the probe inside saw.

usage: run.py [-v] PREFIX [CASE-PATTERN]...     PREFIX: where librfs is installed
The new ones are downloaded, and stay in RFS_KERNELS_CACHE (/var/tmp/librfs-kernels).
With --own-namespace the other is rfsrun itself, which leaves the mount namespace to rfs_prepare() also before Linux 7.
With --refuse the others are not runc and crun, but rfsrun itself without some system calls. ../refusals/bundles.md
lists the differences that are allowed.
"""
import argparse
import ctypes
import fnmatch
import functools
import glob
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
EXAMPLES = os.path.join(HERE, "../../examples")
# Its parts have headers; the other examples are one file each.
RFSRUN = [EXAMPLES + "/rfsrun.c", *(header[:-1] + "c" for header in glob.glob(EXAMPLES + "/*.h"))]
WATCH = os.path.join(HERE, "../../c-tests/watch.c")
REFUSE = [os.path.join(HERE, "../../c-tests", name) for name in ("refuse.c", "filter.c")]
# The system's own, of Debian 12, and those of the release that will be Debian 14.
PEERS = ("old runc", "old crun", "new runc", "new crun")
NEWER = "forky"
OWN_NAMESPACE = "rfsrun --own-namespace"
CLONE_NEWNS, CLONE_NEWUSER = 0x20000, 0x10000000
LIBC = ctypes.CDLL(None, use_errno=True)
PATH_MAX = 4096
TIMEOUT = 30  # seconds that a container may take
COLUMNS = ("cases", "peer", "fact", "theirs", "ours", "right", "why")


# ---- One container, in a process of its own ----

def unshare(flags):
    if LIBC.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def shell(script, **environment):
    done = subprocess.run(["/bin/sh", "-euc", "umask 022\n" + script], env={**os.environ, **environment},
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"set-up failed: {done.stderr.strip()}")


def enter_user_namespace():
    """Ids stay as they are, but the mounts that there are now become locked."""
    ready, entered = os.pipe(), os.pipe()
    pid = os.getpid()
    helper = os.fork()
    if helper == 0:
        os.read(entered[0], 1)
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{pid}/{name}", "w") as file:
                file.write("0 0 65536")
        os.write(ready[1], b"x")
        os._exit(0)
    unshare(CLONE_NEWUSER | CLONE_NEWNS)
    os.write(entered[1], b"x")
    os.read(ready[0], 1)
    os.waitpid(helper, 0)
    for fd in ready + entered:
        os.close(fd)


def cgroups(name):
    """The container's cgroup in each hierarchy there is."""
    top = "/sys/fs/cgroup"
    if os.path.exists(f"{top}/cgroup.procs"):
        return [f"{top}/{name}"]
    return [f"{top}/{controller}/{name}" for controller in sorted(os.listdir(top))
            if not os.path.islink(f"{top}/{controller}")]


def enter_cgroups(name):
    """rfsrun leaves cgroups to its caller, and so does crun --cgroup-manager=disabled."""
    for path in cgroups(name):
        os.makedirs(path, exist_ok=True)
        for inherited in ("cpuset.cpus", "cpuset.mems"):
            if os.path.exists(f"{path}/{inherited}"):
                with open(f"{path}/../{inherited}") as source, open(f"{path}/{inherited}", "w") as target:
                    target.write(source.read())
        with open(f"{path}/cgroup.procs", "w") as file:
            file.write("0")


def leave_cgroups(name):
    for path in cgroups(name):
        if os.path.isdir(path):
            with open(f"{path}/../cgroup.procs", "w") as file:
                file.write(str(os.getpid()))
            for _ in range(100):
                try:
                    os.rmdir(path)
                    break
                except OSError:  # the container's process is not gone yet, or was left behind
                    with open(f"{path}/cgroup.procs") as file:
                        for pid in file.read().split():
                            os.kill(int(pid), signal.SIGKILL)
                    time.sleep(0.02)


def give_image(case):
    """What belongs to an id of the container belongs on the host to the one that it is mapped to."""
    for path, st in {"rootfs": os.lstat("rootfs"), **tree("rootfs")}.items():
        owner = [next((there + id - first for first, there, size in ranges if first <= id < first + size), id)
                 for ranges, id in zip(case.ids, (st.st_uid, st.st_gid))]
        os.lchown(path, *owner)
        if not os.path.islink(path):
            os.chmod(path, st.st_mode & 0o7777)  # which a change of owner may have reduced


def make_user(case, work):
    """An ordinary user, who may map the other ids of the case.

    The files are bound over the host's in this mount namespace."""
    name = "librfs-parity"
    subuid, subgid = ("".join(f"{name}:{there}:{size}\n" for _, there, size in ranges if there != case.user)
                      for ranges in case.ids)
    passwd = f"root:x:0:0::/root:/bin/sh\n{name}:x:{case.user}:{case.user}::/:/bin/sh\n"
    for path, text in {"passwd": passwd, "subuid": subuid, "subgid": subgid}.items():
        with open(path, "w") as file:
            file.write(text)
        shell(f"mount --bind {path} /etc/{path}")
    os.chown("state", case.user, case.user)
    os.environ["XDG_RUNTIME_DIR"] = work + "/state"


def mount_points():
    with open("/proc/self/mountinfo") as file:
        return sorted(line.split()[4] for line in file)


def tree(top):
    """Path -> inode, not entering other file systems or following links."""
    found = {}
    for folder, folders, files in os.walk(top):
        for name in folders + files:
            path = os.path.join(folder, name)
            if len(path) < PATH_MAX:  # crun makes longer ones
                found[path] = os.lstat(path)
        folders[:] = [name for name in folders if not os.path.ismount(os.path.join(folder, name))]
    return found


def inode(st):
    kind = {0o040000: "directory", 0o100000: "file", 0o120000: "link", 0o020000: "char", 0o060000: "block",
            0o010000: "fifo", 0o140000: "socket"}[st.st_mode & 0o170000]
    return f"{kind} {st.st_mode & 0o7777:04o} {st.st_uid}:{st.st_gid}"


def run_with_terminal(command, before_exec):
    pid, master = pty.fork()
    if pid == 0:
        before_exec()
        os.execvp(command[0], command)
    output = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError:  # EIO: the other end is closed
            data = b""
        if not data:
            break
        output += data
    text = output.decode(errors="replace").replace("\r\n", "\n")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), text, text


def program_of(peer):
    age, name = peer.split()
    return f"{newer_programs()}/{name}" if age == "new" else name


@functools.cache
def newer_programs():
    """Their folder."""
    cache = os.environ.get("RFS_KERNELS_CACHE", "/var/tmp/librfs-kernels")
    os.makedirs(cache, exist_ok=True)
    script = f"cache=$1; . {HERE}/../kernels/debian.sh && programs {NEWER} runc crun"
    return subprocess.run(["bash", "-euc", script, "bash", cache], check=True, text=True,
                          stdout=subprocess.PIPE).stdout.strip()


def run_container(case, runtime, work, rfsrun, probe, group):
    """Everything that is mounted or made here goes with this process's mount namespace."""
    unshare(CLONE_NEWNS)
    shell("mount --make-rprivate /; mount -t tmpfs -o mode=755 librfs-parity " + work)
    if not case.hybrid_cgroups:
        shell("umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    os.chdir(work)
    # crun makes the link dev/core even where the kernel has no kcore, the others don't.
    shell("mkdir -p host state rootfs/proc rootfs/sys rootfs/dev rootfs/t rootfs/etc\n"
          "ln -s /proc/kcore rootfs/dev/core; echo of the image "
          ">rootfs/etc/f\n" + f"cp {probe} rootfs/probe\n" + case.setup,
          H=work + "/host", R=work + "/rootfs")
    with open("config.json", "w") as file:
        config = case.config(work, "/" + group)
        file.write(config if isinstance(config, str) else json.dumps(config))
    if case.ids:
        give_image(case)
    if case.user:
        make_user(case, work)
    if case.user_namespace:
        enter_user_namespace()
    mounts, files = mount_points(), tree("rootfs")

    ours = [rfsrun, *(["--unshare"] if case.unshare else []), *case.arguments, *(["--rootless"] if case.user else []),
            work]
    common = ["--root", work + "/state", "run", *case.arguments, "--bundle", work, "parity"]
    if runtime not in PEERS:
        command = ours
    elif runtime.endswith("runc"):
        command = [program_of(runtime), *(["--rootless=true"] if case.user else []), *common]
    else:
        command = [program_of(runtime), "--cgroup-manager=disabled", *common]
    if case.user:
        command = ["setpriv", "--clear-groups", f"--regid={case.user}", f"--reuid={case.user}", *command]
    if runtime == OWN_NAMESPACE:
        if not case.unshare:
            command.insert(command.index(rfsrun) + 1, "--own-namespace")
    elif runtime not in ("rfsrun", *PEERS):
        command = [os.path.dirname(rfsrun) + "/refuse", *runtime.split(), "--", *command]

    command = [*case.prefix, *command]

    def before_exec():
        os.umask(case.host_umask)
        if not runtime.endswith("runc") or case.user:
            enter_cgroups(group)

    try:
        if case.terminal:
            code, output, errors = run_with_terminal(command, before_exec)
        else:
            # runc gives the container a pipe whatever its own standard input is; so all get one.
            stdin = {"stdin": subprocess.DEVNULL} if case.stdin_null else {"input": ""}
            done = subprocess.run(command, **stdin, capture_output=True, text=True, errors="surrogateescape",
                                  preexec_fn=before_exec, timeout=TIMEOUT)
            code, output, errors = done.returncode, done.stdout, done.stderr
    finally:
        leave_cgroups(group)

    ran = "process\tend\treached" in output
    facts = {"result": "ran" if ran and code == 0 else f"ran, exit {code}" if ran else "failed"}
    if ran:
        facts.update(probe_facts(output.split("\n"), group))
    if ran or case.fails is not None:
        for path, st in tree("rootfs").items():
            if path not in files:
                # Modes of mount points are each runtime's own (0755 and 1755, 0644 and 0700): see bind/made-modes.
                kind, mode, owner = inode(st).split()
                facts[f"made {path[6:]}"] = inode(st) if case.made_modes else f"{kind} {owner}" if case.ids else kind
    for path in sorted(set(mount_points()) - set(mounts)):
        facts[f"leaked {path}"] = "mounted on the host"
    for name in sorted(os.listdir("host")):
        if name.startswith("written"):
            with open("host/" + name) as file:
                facts[f"host {name}"] = file.read().strip()
    return {"facts": facts, "code": code, "message": errors.strip(), "work": work}


# ---- What the probe printed, made comparable ----

def probe_facts(lines, group):
    facts, mounts = {}, []
    for line in lines:
        kind, _, rest = line.partition("\t")
        name, _, value = rest.partition("\t")
        if kind == "mountinfo":
            mounts.append(value)
        elif kind:
            facts[f"{kind} {name}"] = value
    facts.update(mount_facts(mounts, group))
    return facts


def mount_facts(lines, group):
    """mountinfo without what differs from run to run: the numbers of mounts, superblocks and peer groups."""
    mounts = []
    for line in lines:
        head, _, tail = line.partition(" - ")
        head, tail = head.split(" "), tail.split(" ")
        if len(head) < 6:
            return {"mount": line}
        mounts.append({"id": head[0], "parent": head[1], "super": head[2], "root": head[3], "point": head[4],
                       "flags": head[5], "peers": head[6:], "fs": tail[0], "source": tail[1], "data": tail[2]})
    known = {mount["id"] for mount in mounts}
    facts, supers, peers, stacked = {}, {}, {}, {}

    def peer(number, name):
        return peers.setdefault(number, name)

    def visit(parent, key):
        for mount in sorted((m for m in mounts if m["parent"] == parent), key=lambda m: m["point"]):
            describe(mount, key)

    def describe(mount, parent_key):
        point = mount["point"]
        stacked[point] = stacked.get(point, 0) + 1
        key = point + (f"#{stacked[point]}" if stacked[point] > 1 else "")
        first = supers.setdefault(mount["super"], key)
        propagation = []
        for tag in mount["peers"]:
            kind, _, number = tag.partition(":")
            propagation.append(f"{kind} with {peer(number, key)}" if kind == "shared" and number in peers
                               else kind if kind == "shared" and peer(number, key)
                               else f"{kind} of {peers.get(number, 'outside')}" if number else kind)
        for field, value in {
                "on": parent_key, "fs": mount["fs"], "source": mount["source"],
                "root": mount["root"].replace(group, "CGROUP"), "flags": mount["flags"], "data": mount["data"],
                "superblock": "its own" if first == key else "that of " + first,
                "propagation": ", ".join(propagation) or "private"}.items():
            facts[f"mount {key} {field}"] = value
        visit(mount["id"], key)

    for mount in mounts:
        if mount["parent"] not in known:
            describe(mount, "-")
    return facts


# ---- The list of differences ----

def read_table(path, columns):
    rows = []
    with open(path) as file:
        for number, line in enumerate(file, 1):
            if not line.startswith("| ") or line.startswith((f"| {columns[0]} |", "| --- |")):
                continue
            cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if len(cells) != len(columns) or not all(cells):
                sys.exit(f"{path}:{number}: a row has the columns {', '.join(columns)}")
            rows.append({**dict(zip(columns, (cell.strip("`") for cell in cells))), "optional": False, "used": set(),
                         "at": f"{os.path.basename(path)}:{number}"})
    return rows


def read_differences():
    rows = read_table(HERE + "/differences.md", COLUMNS)
    for row in rows:
        row["optional"] = "?" in row["peer"]
        wanted = row["peer"].strip("?").split(" or ")
        row["peers"] = [peer for peer in PEERS if {"all", peer, *peer.split()}.intersection(wanted)]
        if not row["peers"]:
            sys.exit(f"{row['at']}: {row['peer']} is no peer")
    return rows


def read_refusals(peers):
    """Of rfsrun without some system calls: only that a container does not start, and why."""
    rows = read_table(HERE + "/../refusals/bundles.md", ("cases", "filter", "says", "why"))
    for row in rows:
        row.update({"peers": [peer for peer in peers if matches(row["filter"], peer)], "fact": "result",
                    "theirs": " or ".join("failed: " + part for part in row["says"].split(" or ")), "ours": "*"})
    return rows


def matches(pattern, text):
    """Alternatives are separated by ' or '; * and ? are wild, brackets are not."""
    return any(fnmatch.fnmatchcase(text, part.replace("[", "[[]")) for part in pattern.split(" or "))


def explain(rows, case, peer, fact, theirs, ours):
    for row in rows:
        if (peer in row["peers"] and matches(row["cases"], case) and matches(row["fact"], fact)
                and matches(row["theirs"], theirs) and matches(row["ours"], ours)):
            row["used"].add(peer)
            return row
    return None


def compare(theirs, ours):
    if theirs["result"].startswith("failed") or ours["result"] == "failed":
        names = ["result"]  # where one has no container there is nothing to compare
        if theirs["result"] == ours["result"]:
            names += [name for name in {**theirs, **ours} if name.startswith("leaked ")]
    else:
        names = list({**ours, **theirs})
    return [(name, theirs.get(name, "-"), ours.get(name, "-")) for name in names
            if theirs.get(name, "-") != ours.get(name, "-")]


# ---- The run ----

def compile_programs(prefix, folder):
    config = subprocess.run(["find", prefix, "-name", "librfs.pc"], capture_output=True, text=True).stdout.split()
    if not config:
        sys.exit(f"{prefix}: librfs is not installed there")
    libraries = os.path.dirname(config[0])
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "librfs", "json-c"], check=True, text=True,
                           env={**os.environ, "PKG_CONFIG_PATH": libraries}, stdout=subprocess.PIPE).stdout.split()
    cc = os.environ.get("CC", "cc")
    # watch.c kills a container's process in which librfs allocates, or takes more stack than it may.
    subprocess.run([cc, "-O2", "-o", folder + "/rfsrun", *RFSRUN, WATCH, *flags,
                    f"-Wl,-rpath,{os.path.dirname(os.path.abspath(libraries))}"], check=True)
    subprocess.run([cc, "-static", "-s", "-O2", "-Wall", "-Wextra", "-Werror", "-o", folder + "/probe",
                    HERE + "/probe.c"], check=True)
    subprocess.run([cc, "-D_GNU_SOURCE", "-o", folder + "/refuse", *REFUSE], check=True)


def run_cases(cases, folder, work, peers):
    for case in cases:
        for runtime in ("rfsrun", *peers):
            group = f"librfs-parity-{os.getpid()}"
            pid = os.fork()
            if pid == 0:
                signal.alarm(2 * TIMEOUT)
                try:
                    result = run_container(case, runtime, work, folder + "/rfsrun", folder + "/probe", group)
                except Exception as problem:  # shown as a case that failed
                    result = {"facts": {"result": "broken"}, "code": -1, "message": repr(problem)}
                with open(f"{folder}/{case.name.replace('/', '.')}.{runtime}", "w") as file:
                    json.dump(result, file)
                os._exit(0)
            os.waitpid(pid, 0)


def run_all(cases, prefix, peers):
    """(case's name, runtime) -> what run_container() saw."""
    folder = tempfile.mkdtemp(prefix="librfs-parity-")
    os.chmod(folder, 0o755)
    os.mkdir(folder + "/work")
    results = {}
    try:
        compile_programs(prefix, folder)
        watch = os.environ["RFS_WATCH"] = folder + "/watch"  # any user's rfsrun writes there
        os.close(os.open(watch, os.O_CREAT | os.O_WRONLY))
        os.chmod(watch, 0o666)
        workers = []
        count = min(os.cpu_count() or 1, 4)
        for index in range(count):
            pid = os.fork()
            if pid == 0:
                run_cases(cases[index::count], folder, folder + "/work", peers)
                os._exit(0)
            workers.append(pid)
        for pid in workers:
            os.waitpid(pid, 0)
        for case in cases:
            for runtime in ("rfsrun", *peers):
                with open(f"{folder}/{case.name.replace('/', '.')}.{runtime}") as file:
                    results[case.name, runtime] = json.load(file)
        with open(watch, "rb") as file:  # struct watched of c-tests/watch.h
            most = struct.unpack_from("QQ", file.read())
        print(f"of the stack at most {most[0]} bytes in rfs_prepare, {most[1]} in rfs_finalize")
    finally:
        shutil.rmtree(folder)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-v", "--verbose", action="store_true", help="show explained differences and messages too")
    parser.add_argument("--refuse", metavar="'ERRNO CALL,...'", action="append",
                        help="see c-tests/refuse.c; for more than one, again")
    parser.add_argument("--own-namespace", dest="refuse", action="store_const", const=[OWN_NAMESPACE], help="see above")
    parser.add_argument("prefix")
    parser.add_argument("pattern", nargs="*")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("parity: containers take root")
    sys.dont_write_bytecode = True
    sys.path.insert(0, HERE)
    from cases import CASES
    cases = [case for case in CASES if not arguments.pattern
             or any(fnmatch.fnmatchcase(case.name, pattern) for pattern in arguments.pattern)]
    peers = arguments.refuse or PEERS
    rows = read_refusals(peers) if arguments.refuse else read_differences()
    for peer in () if arguments.refuse else peers:
        version = subprocess.run([program_of(peer), "--version"], check=True, text=True, stdout=subprocess.PIPE)
        print(f"{peer}: {version.stdout.splitlines()[0]}")
    results = run_all(cases, arguments.prefix, peers)
    if arguments.refuse:  # then a failure has the same reason, too
        for case in cases:
            for result in (results[case.name, peer] for peer in peers):
                failed = result["facts"]["result"] == "failed"
                if failed and (case.fails is None or case.fails not in result["message"]):
                    result["facts"]["result"] += ": " + result["message"]
    sys.exit(report(cases, results, rows, peers, arguments.verbose, whole=not arguments.pattern))


def report(cases, results, rows, peers, verbose, whole):
    counts = {peer: {"same": 0, "explained": 0, "DIFFERENT": 0} for peer in peers}
    width = max(len(case.name) for case in cases)
    print(f"{'case':{width}}", *(f"{peer:9}" for peer in peers), sep="  ")
    wrong = 0
    for case in cases:
        ours, verdicts, details = results[case.name, "rfsrun"], [], []
        expected = "ran" if case.fails is None else "failed"
        as_expected = ours["facts"]["result"] == expected and (case.fails or "") in ours["message"]
        if not as_expected:
            details.append(f"rfsrun: {ours['facts']['result']}, not {expected}"
                           + (f" with {case.fails!r}" if case.fails else ""))
        for fact, value in case.expects.items():
            if ours["facts"].get(fact, "-") != value:
                as_expected = False
                details.append(f"{fact}: rfsrun {ours['facts'].get(fact, '-')!r}, not {value!r}")
        for peer in peers:
            theirs = results[case.name, peer]
            verdict = "same"
            for fact, their_value, our_value in compare(theirs["facts"], ours["facts"]):
                row = explain(rows, case.name, peer, fact, their_value, our_value)
                if row is None:
                    verdict = "DIFFERENT"
                    details.append(f"{fact}: {peer} {their_value!r}, rfsrun {our_value!r}")
                else:
                    verdict = "explained" if verdict == "same" else verdict
                    if verbose:
                        details.append(f"{fact}: {peer} {their_value!r}, rfsrun {our_value!r}: {row['at']}")
            if not as_expected:  # whatever the others do
                verdict = "DIFFERENT"
            counts[peer][verdict] += 1
            verdicts.append(verdict)
        print(f"{case.name:{width}}", *(f"{verdict:{max(9, len(peer))}}" for verdict, peer in zip(verdicts, peers)),
              sep="  ")
        for detail in details:
            print(f"    {detail}")
        if verbose or "DIFFERENT" in verdicts:
            for runtime in ("rfsrun", *peers):
                if results[case.name, runtime]["facts"]["result"] != "ran" or not as_expected:
                    print(f"    {runtime} said: {results[case.name, runtime]['message'][-400:]}")
    if whole:
        for row in rows:
            for peer in row["peers"]:
                if peer not in row["used"] and not row["optional"]:
                    wrong += 1
                    print(f"{row['at']}: stale: {peer} no longer differs so")
    print()
    for peer, count in counts.items():
        wrong += count["DIFFERENT"]
        print(f"parity {peer}: {count['same']} same, {count['explained']} explained, {count['DIFFERENT']} unexplained")
    return 1 if wrong else 0


if __name__ == "__main__":
    main()
