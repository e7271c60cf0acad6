#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Runs the C tests of containers without the system calls that librfs has a fallback for.

The file filters has one filter a line, and the tests run with each.

usage: run.py TESTS [FILTER-PATTERN]...     TESTS: a meson build folder with the C tests
       run.py --log LOG                     LOG: of tests/kernels; prints it, and has passed what the kernel lacks
"""
import fnmatch
import json
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE + "/../parity")
from run import matches, read_table

COLUMNS = ("test", "case", "filter", "says", "why")


def explain(rows, test, case, name, problem):
    for row in rows:
        if (matches(row["test"], test) and matches(row["case"], case) and matches(row["filter"], name)
                and matches(row["says"], problem)):
            row["used"].add(name)
            return True
    return False


def run(tests, name):
    """What each test program said."""
    log = "refused " + name
    subprocess.run(["meson", "test", "-C", tests, "--no-rebuild", "--suite", "container", "--logbase", log,
                    "--wrap", f"{tests}/c-tests/refuse {name} --"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    with open(f"{tests}/meson-logs/{log}-refuse.json") as file:  # meson adds the wrapper's name
        return [json.loads(line) for line in file]


def cases_of(output):
    """The cases of a TAP stream: name, whether it passed, and the lines that say what failed in it."""
    problems = []
    for line in output.split("\n"):
        if line.startswith("# FAILED"):
            problems.append(re.sub(r"^# FAILED (?:\S+ \(errno \d+\))?: ?", "", line))
        result = re.match(r"(not )?ok \d+ - (.*)", line)
        if result:
            yield result[2], not result[1], problems
            problems = []


def pass_what_lacks(path):
    """Of a kernel that lacks a call a case that fails as it does with a filter for the call has passed."""
    rows = read_table(HERE + "/differences.md", COLUMNS)
    with open(path, errors="replace") as file:
        log = file.read()
    lacks = re.search(r"^@@ lacks (.+)$", log, re.M)
    for part in re.split(r"^(?=@@ begin )", log, flags=re.M):
        begin = re.match(r"@@ begin test-(\S+)\n", part)
        cases = list(cases_of(part)) if begin and lacks else []
        for case, ok, problems in cases:
            if not ok and problems and all(explain(rows, begin[1], case, lacks[1], problem) for problem in problems):
                part = re.sub(rf"^not (ok \d+ - {re.escape(case)})$", r"\1 # lacks it", part, flags=re.M)
        if begin and f"\n1..{len(cases)}\n" in part and not re.search(r"^not ok ", part, re.M):
            part = re.sub(r"^(@@ end \S+) 1$", r"\1 0", part, flags=re.M)
        print(part, end="")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if sys.argv[1] == "--log":
        return pass_what_lacks(sys.argv[2])
    tests, patterns = os.path.realpath(sys.argv[1]), sys.argv[2:]
    rows = read_table(HERE + "/differences.md", COLUMNS)
    passed = explained = wrong = 0
    with open(HERE + "/filters") as file:
        filters = file.read().splitlines()
    for name in filters:
        if patterns and not any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns):
            continue
        counts = {"passed": 0, "explained": 0, "failed": 0}
        for program in run(tests, name):
            test, output = program["name"].split(" / ")[-1], program.get("stdout", "")
            cases = list(cases_of(output))
            for case, ok, problems in cases:
                unexplained = [problem for problem in problems if not explain(rows, test, case, name, problem)]
                verdict = "passed" if ok else "failed" if unexplained or not problems else "explained"
                counts[verdict] += 1
                if verdict == "failed":
                    print(f"{name}: {test}: {case}", *(problem[:400] for problem in unexplained), sep="\n    ")
            if not cases or not output.startswith(f"1..{len(cases)}\n"):
                counts["failed"] += 1
                print(f"{name}: {test}: not all cases ran", program["result"], program.get("stderr", "")[-400:],
                      sep="\n    ")
        print(f"{name}: {counts['passed']} passed, {counts['explained']} explained, {counts['failed']} failed",
              flush=True)
        passed += counts["passed"]
        explained += counts["explained"]
        wrong += counts["failed"]
    if not patterns:
        for row in rows:
            names = [name for name in filters if matches(row["filter"], name)]
            for name in names or ["no filter"]:
                if name not in row["used"]:
                    wrong += 1
                    print(f"{row['at']}: stale: with {name} nothing fails so any more")
    print(f"\ntest result: {'FAILED' if wrong else 'ok'}. {passed} passed; {wrong} failed; {explained} explained")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
