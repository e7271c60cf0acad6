#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Makes each mistake of mistakes.py under rfsrun, runc and crun, and compares what they say with docs/errors.md.

usage: run.py [--write] PREFIX [NUMBER]...     PREFIX: where librfs is installed; NUMBER: only these, which are printed
--write makes docs/errors.md anew.
"""
import argparse
import difflib
import os
import re
import subprocess
import sys
import textwrap

HERE = os.path.dirname(os.path.abspath(__file__))
PAGE = HERE + "/../../docs/errors.md"
sys.dont_write_bytecode = True
sys.path.insert(0, HERE + "/../parity")
from mistakes import MISTAKES, Mistake
from run import run_all

AT_LEAST = 80
# By their names in tests/parity.
PEERS = {"runc": "old runc", "crun": "old crun"}
RUNTIMES = ("rfsrun", *PEERS)
NAMES = {"rfsrun": "librfs"}
WIDTH = 116
INTRODUCTION = """# Mistakes and what is said of them

`tests/errors/run.py --write` made this page: each mistake is a bundle, which rfsrun, runc and crun are asked to run; what they
print stands here. `make test` compares. In the messages `BUNDLE` is the bundle's directory, whose `host` has what is
bound, `PID` a process, `N` a descriptor.

A message of librfs names the object of the configuration, the system call, the component or value, what the kernel said, and
what to do about it. `rfs_error.detail` is the same without the words of the errno.
"""


def versions():
    """What the messages depend on."""
    first = lambda *command: subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[0]
    kernel = ".".join(os.uname().release.split(".")[:2])
    return [f"Linux {kernel}", first("runc", "--version").replace("version ", ""), first("crun", "--version").replace("version ", "")]


def plain(runtime, text, work):
    """A message without what differs from run to run."""
    text = re.sub(re.escape(work) + r"\b", "BUNDLE", text)
    text = re.sub(r"librfs-parity-\d+", "CGROUP", text)
    text = re.sub(r"/proc/\d+/", "/proc/PID/", text)
    text = re.sub(r"(/proc/(?:self|thread-self|PID)(?:/task/\d+)?/fd/)\d+", r"\1N", text)
    text = re.sub(r"\bpid \d+", "pid PID", text)
    if runtime == "rfsrun":
        text = re.sub(r"^rfsrun: ", "", text, flags=re.M)
    if runtime == "crun":
        text = re.sub(r"^\d{4}-\d\d-\d\dT[\d:.]+Z: ", "", text, flags=re.M)
    if runtime == "runc":
        # Its warnings are of the cgroup, which this test has removed by then.
        text = "\n".join(re.sub(r'\\(["\\])', r"\1", message) for message in
                         re.findall(r'^time="[^"]*" level=error msg="((?:[^"\\]|\\.)*)"', text, flags=re.M)) or text
        text = re.sub(r"(runctop|runctmpdir)\d+", r"\1N", text)
    text = re.sub(r"\S{100,}", lambda word: f"{word[0][:36]}[...]{word[0][-36:]}", text)
    # The page has no control characters, which one of the three prints raw.
    return "".join(c if c == "\n" or c.isprintable() else "".join(f"<{b:02x}>" for b in c.encode("utf-8", "surrogateescape"))
                   for c in text)


def entry(mistake, messages):
    lines = [f"### {mistake.title}", "", "```text"]
    for runtime in RUNTIMES:
        name = NAMES.get(runtime, runtime)
        for paragraph in messages[runtime].split("\n"):
            lines += textwrap.wrap(paragraph, WIDTH, initial_indent=f"{name:8}", subsequent_indent=" " * 8,
                                   break_long_words=False, break_on_hyphens=False)
            name = ""
    return "\n".join([*lines, "```", ""])


def page(messages):
    count = sum(isinstance(it, Mistake) for it in MISTAKES)
    parts = [INTRODUCTION, f"{count} mistakes, on {', '.join(versions())}.\n"]
    for it in MISTAKES:
        parts.append(entry(it, messages[it.name]) if isinstance(it, Mistake) else f"## {it}\n")
    return "\n".join(parts)


def comparable(text):
    """Without what another kernel or another version of a peer says in other words, if this machine has another."""
    others = [version for version in versions() if version not in text]
    text = re.sub(r"(?m)^\d+ mistakes, on .*$", "", text) if others else text
    joined = re.sub(r"\n {8}(?=\S)", " ", text)
    for version in others:
        name = version.split()[0]
        pattern = r" \(the kernel says: [^\n]*?\)(?=;|$)" if name == "Linux" else rf"^{name} .*$"
        joined = re.sub(pattern, "", joined, flags=re.M)
    return joined.splitlines(keepends=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("prefix")
    parser.add_argument("number", nargs="*", type=int)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("errors: containers take root")
    chosen = [it for it in MISTAKES if isinstance(it, Mistake)]
    chosen = [it for it in chosen if not arguments.number or int(it.name[-3:]) in arguments.number]
    results = run_all(chosen, arguments.prefix, PEERS.values())
    messages, wrong = {}, 0
    for mistake in chosen:
        said = messages[mistake.name] = {}
        for runtime in RUNTIMES:
            result = results[mistake.name, PEERS.get(runtime, runtime)]
            outcome = result["facts"]["result"]
            said[runtime] = plain(runtime, result["message"], result.get("work", "")) or f"(says nothing: {outcome})"
            if outcome != "failed":
                said[runtime] = f"(no error: {outcome})" if outcome != "broken" else result["message"]
            if outcome == "broken" or (runtime == "rfsrun" and outcome != "failed"):
                wrong += 1
                print(f"{mistake.title}: {runtime}: {outcome}: {result['message']}")
        for needed in mistake.says:
            if needed not in said["rfsrun"]:
                wrong += 1
                print(f"{mistake.title}: the message does not say {needed!r}: {said['rfsrun']}")
        for path in (fact for fact in results[mistake.name, "rfsrun"]["facts"] if fact.startswith("leaked ")):
            wrong += 1
            print(f"{mistake.title}: {path}")
    if len(chosen) < AT_LEAST and not arguments.number:
        sys.exit(f"errors: only {len(chosen)} mistakes")
    if arguments.number:
        for mistake in chosen:
            print(entry(mistake, messages[mistake.name]))
    elif arguments.write:
        with open(PAGE, "w") as file:
            file.write(page(messages))
    else:
        with open(PAGE) as file:
            committed = comparable(file.read())
        difference = list(difflib.unified_diff(committed, comparable(page(messages)), "docs/errors.md", "what is said now"))
        sys.stdout.writelines(difference)
        wrong += bool(difference)
    print(f"errors: {len(chosen)} mistakes, {wrong} problems")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
