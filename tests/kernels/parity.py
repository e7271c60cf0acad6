#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the bundles of tests/parity under rfsrun on another kernel: each container must see there what it sees here.

usage: parity.py record PREFIX FOLDER    here: FOLDER gets rfsrun, the probe, and what each container saw. Prints the
                                         files of Python that the other needs. PREFIX: where librfs is installed
       parity.py check FOLDER            there: runs and compares them, and reports as TAP
       parity.py lacks                   there: the line of tests/refusals/filters that the kernel is like, if any
"""
import ctypes
import errno
import json
import os
import re
import shutil
import socket  # noqa: F401: for the cases' own use
import sys
import tempfile

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
sys.path.insert(0, TESTS + "/parity")
import run  # noqa: E402
from cases import CASES  # noqa: E402

# Cases and facts that differ by kernel or machine, whatever librfs does.
DIFFERENT = [
    # Not every kernel is built with these.
    *(("*", f"* {path} or * {path} *")
      for path in ("/proc/kcore", "/dev/core", "/proc/sysrq-trigger", "/proc/sched_debug")),
    # In a new mount namespace an unbindable mount stays so on 6.1, and is left out of a recursive bind; on 6.18 it
    # does not.
    ("root/unbindable-below", "* /t or * /t *"),
    # Not every kernel names the option that devpts refuses: c-tests/options.c looks closer.
    ("devpts/unknown-option", "message"),
    # A ramfs has no source on 5.10, whatever it is given.
    ("other/ramfs", "mount /t/a source"),
    # A tenth of the machine's memory.
    ("tmpfs/size", "mount /t/b data"),
]


def can(attempt):
    """Whether it succeeds, in a process of its own."""
    pid = os.fork()
    if pid == 0:
        try:
            attempt()
            os._exit(0)
        except (OSError, RuntimeError):
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def idmap_a_tmpfs():
    open_tree, mount_setattr, AT_EMPTY_PATH, MOUNT_ATTR_IDMAP = 428, 442, 0x1000, 0x100000
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        run.enter_user_namespace()
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    with open(f"/proc/{pid}/ns/user") as namespace:
        attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_IDMAP, 0, 0, namespace.fileno())
        tree = run.LIBC.syscall(open_tree, -100, b"/dev/shm", 1)
        failed = run.LIBC.syscall(mount_setattr, tree, b"", AT_EMPTY_PATH, attributes, 32)
    os.write(done[1], b"x")
    if failed:
        raise OSError(ctypes.get_errno(), "mount_setattr")


def lacks():
    mount_setattr = 442
    run.LIBC.syscall(mount_setattr, -1, b"", 0, None, 0)
    return "ENOSYS mount_setattr" if ctypes.get_errno() == errno.ENOSYS else None


def overlay_in_a_user_namespace():
    run.enter_user_namespace()
    run.shell("mount -t tmpfs x /tmp; mkdir /tmp/l /tmp/u /tmp/w\n"
              "mount -t overlay -o lowerdir=/tmp/l,upperdir=/tmp/u,workdir=/tmp/w x /tmp/l")


# Features that a kernel may lack, the cases that must fail then, and the words of their errors.
LACKING = [
    (idmap_a_tmpfs, "idmap/*", "*(tmpfs)* does not support idmapped mounts on this kernel*"),
    (overlay_in_a_user_namespace, "user/overlay", "*mount overlay: Operation not permitted*"),
]


def cases():
    """Without those that keep the host's version 1 hierarchies, which no two machines have in common, and the one whose
    image can't be made where a tmpfs has no user.* attributes (before Linux 6.6)."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        try:
            os.setxattr(file.name, "user.x", b"x")
            left_out = ""
        except OSError:
            left_out = "tmpfs/copy-up-xattrs"
    return [case for case in CASES if not case.hybrid_cgroups and case.name != left_out]


def outcomes(folder):
    """What each container saw, one after the other."""
    work = tempfile.mkdtemp(prefix="librfs-parity-")
    os.chmod(work, 0o755)
    os.mkdir(work + "/work")
    for program in ("rfsrun", "probe"):
        os.symlink(f"{folder}/{program}", f"{work}/{program}")
    for case in cases():
        run.run_cases([case], work, work + "/work", ())
        with open(f"{work}/{case.name.replace('/', '.')}.rfsrun") as file:
            result = json.loads(file.read().replace(work, "WORK"))
        yield case, result["facts"], result["message"]
    shutil.rmtree(work)


def comparable(fact, value):
    if fact.endswith(" data"):
        # A devtmpfs is as large as the machine's memory allows; the others are defaults that a kernel is built with.
        value = re.sub(r"size=\d+k,nr_inodes=\d{5,}", "size", value)
        value = re.sub(r",(inode64|uuid=\w+|redirect_dir=\w+)\b", "", value)
    if re.match(r"reads /(t/)?(proc|sys)(/|$)", fact):
        value = re.sub(r"^[1-9]\d* entries$", "entries", value)
    return value


def check(folder):
    with open(folder + "/expected.json") as file:
        expected = json.load(file)
    lacking = [(names, says) for attempt, names, says in LACKING if not can(attempt)]
    lacking += [(row["cases"], row["says"]) for row in run.read_refusals([lacks() or ""]) if row["peers"]]
    number = failed = 0
    print(f"1..{len(cases())}")
    for case, facts, message in outcomes(folder):
        number += 1
        there = {**expected[case.name], "message": case.fails or ""}
        facts["message"] = case.fails or "" if (case.fails or "") in message else message
        different = [fact for fact in sorted({**there, **facts})
                     if comparable(fact, there.get(fact, "-")) != comparable(fact, facts.get(fact, "-"))
                     and not any(run.matches(names, case.name) and run.matches(known, fact)
                                 for names, known in DIFFERENT)]
        is_lacking = any(run.matches(names, case.name) and run.matches(says, message) for names, says in lacking)
        if facts["result"] == "failed" and is_lacking:
            different = []
        if different and message:
            print(f"# rfsrun said: {message!r}")
        for fact in different:
            print(f"# {fact}: {facts.get(fact, '-')!r}, on the host's kernel {there.get(fact, '-')!r}")
        failed += bool(different)
        print(f"{'not ' if different else ''}ok {number} - {case.name}", flush=True)
    return failed > 0


def record(prefix, folder):
    os.makedirs(folder)
    run.compile_programs(prefix, folder)
    with open(folder + "/expected.json", "w") as file:
        json.dump({case.name: facts for case, facts, _ in outcomes(folder)}, file)
    files = {getattr(module, "__file__", None) for module in sys.modules.values()}
    print(*sorted(files - {None, __file__}), sep="\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["record", prefix, folder]:
            record(prefix, folder)
        case ["check", folder]:
            sys.exit(check(folder))
        case ["lacks"]:
            print(lacks() or "")
        case _:
            sys.exit(__doc__)
