#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the bundles of tests/parity under rfsrun on another kernel: each container must see there what it sees here.

usage: parity.py record PREFIX FOLDER    here: FOLDER gets rfsrun, the probe, and what each container saw. Prints the
                                         files of Python that the other needs. PREFIX: where librfs is installed
       parity.py check FOLDER            there: runs and compares them, and reports as TAP
"""
import json
import os
import re
import shutil
import socket  # noqa: F401: for the cases' own use
import sys
import tempfile

PARITY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../parity")
sys.dont_write_bytecode = True
sys.path.insert(0, PARITY)
import run  # noqa: E402
from cases import CASES  # noqa: E402

run.RUNTIMES = ("rfsrun",)
# What differs by kernel or machine, whatever librfs does: cases, facts.
DIFFERENT = [
    # Not every kernel is built with these.
    ("*", "* /proc/kcore or * /proc/kcore * or dev /dev/core or * /proc/sysrq-trigger or * /proc/sysrq-trigger *"),
    # In a new mount namespace an unbindable mount stays so on 6.1, and is left out of a recursive bind; on 6.18 it does not.
    ("root/unbindable-below", "* /t or * /t *"),
    # Not every kernel names the option that devpts refuses: c-tests/options.c looks closer.
    ("devpts/unknown-option", "message"),
    # A tenth of the machine's memory.
    ("tmpfs/size", "mount /t/b data"),
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
        run.run_cases([case], work, work + "/work")
        with open(f"{work}/{case.name.replace('/', '.')}.rfsrun") as file:
            result = json.loads(file.read().replace(work, "WORK"))
        yield case, {**result["facts"], "message": result["message"] if result["facts"]["result"] != "ran" else ""}
    shutil.rmtree(work)


def comparable(fact, value):
    if fact.endswith(" data"):
        # A devtmpfs is as large as the machine's memory allows; the others are defaults that a kernel is built with.
        value = re.sub(r"size=\d+k,nr_inodes=\d{5,}", "size", value)
        value = re.sub(r",(inode64|uuid=on|redirect_dir=on)\b", "", value)
    if re.match(r"reads /(t/)?(proc|sys)(/|$)", fact):
        value = re.sub(r"^[1-9]\d* entries$", "entries", value)
    return value


def check(folder):
    with open(folder + "/expected.json") as file:
        expected = json.load(file)
    number = failed = 0
    print(f"1..{len(cases())}")
    for case, facts in outcomes(folder):
        number += 1
        there = expected[case.name]
        different = [fact for fact in sorted({**there, **facts})
                     if comparable(fact, there.get(fact, "-")) != comparable(fact, facts.get(fact, "-"))
                     and not any(run.matches(names, case.name) and run.matches(known, fact) for names, known in DIFFERENT)]
        for fact in different:
            print(f"# {fact}: {facts.get(fact, '-')!r}, on the host's kernel {there.get(fact, '-')!r}")
        failed += bool(different)
        print(f"{'not ' if different else ''}ok {number} - {case.name}", flush=True)
    return failed > 0


def record(prefix, folder):
    os.makedirs(folder)
    run.compile_programs(prefix, folder)
    with open(folder + "/expected.json", "w") as file:
        json.dump({case.name: facts for case, facts in outcomes(folder)}, file)
    files = {getattr(module, "__file__", None) for module in sys.modules.values()}
    print(*sorted(files - {None, __file__}), sep="\n")


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["record", prefix, folder]:
            record(prefix, folder)
        case ["check", folder]:
            sys.exit(check(folder))
        case _:
            sys.exit(__doc__)
