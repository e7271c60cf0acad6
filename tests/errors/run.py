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
from run import program_of, run_all

AT_LEAST = 80
WIDTH = 116
# A busy machine may end a peer early.
TRIES = 3
INTRODUCTION = """# Mistakes and what is said of them

Each mistake is a bundle, which rfsrun, runc and crun are asked to run; what they print stands here. The page is made by
`tests/errors/run.py --write PREFIX`, and `make test` compares it with what is printed now. In the messages `BUNDLE` is
the bundle's directory, whose `host` has what is bound, `PID` a process, and `N` a number that differs from run to run.
What crun says of a hook differs from run to run; one of its messages stands here.

A message of librfs names the object of the configuration, the system call, the component or value, what the kernel
said, and the remedy. `rfs_error.detail` is the same without the words of the errno.
"""


def versions(peers):
    """What the messages depend on."""
    found = [f"Linux {'.'.join(os.uname().release.split('.')[:2])}"]
    for peer in peers:
        said = subprocess.run([program_of(peer), "--version"], capture_output=True, text=True, check=True).stdout
        found.append(said.split("\n")[0].replace("version ", ""))
    return found


def plain(runtime, text, work):
    """A message without what differs from run to run."""
    text = re.sub(re.escape(work) + r"\b", "BUNDLE", text)
    text = re.sub(r"librfs-parity-\d+", "CGROUP", text)
    text = re.sub(r"/proc/\d+/", "/proc/PID/", text)
    text = re.sub(r"(/proc/(?:self|thread-self|PID)(?:/task/\d+)?/fd/)\d+", r"\1N", text)
    text = re.sub(r"\bpid \d+", "pid PID", text)
    # config.json has a cgroup's name with a process's number in it.
    text = re.sub(r"(at line 1 column )\d+", r"\1N", text)
    if runtime == "rfsrun":
        text = re.sub(r"^rfsrun: ", "", text, flags=re.M)
    if runtime.endswith("crun"):
        text = re.sub(r"^\d{4}-\d\d-\d\dT[\d:.]+Z: ", "", text, flags=re.M)
    if runtime.endswith("runc"):
        # Its warnings are of the cgroup, which this test has removed by then.
        text = "\n".join(re.sub(r'\\(["\\])', r"\1", message) for message in
                         re.findall(r'^time="[^"]*" level=error msg="((?:[^"\\]|\\.)*)"', text, flags=re.M)) or text
        text = re.sub(r"(runctop|runctmpdir)\d+", r"\1N", text)
    text = text.split("\ngoroutine ")[0]  # of a Go program that has panicked
    text = re.sub(r"\S{100,}", lambda word: f"{word[0][:36]}[...]{word[0][-36:]}", text)
    # The page has no control characters, which one of the three prints raw.
    def escaped(c):
        return "".join(f"<{byte:02x}>" for byte in c.encode("utf-8", "surrogateescape"))
    return "".join(c if c == "\n" or c.isprintable() else escaped(c) for c in text)


def column(runtime):
    return "librfs" if runtime == "rfsrun" else runtime.split()[-1]


def entry(mistake, messages):
    lines = [f"### {mistake.title}", "", "```text"]
    for runtime, message in messages.items():
        name = column(runtime)
        for paragraph in message.split("\n"):
            lines += textwrap.wrap(paragraph, WIDTH, initial_indent=f"{name:8}", subsequent_indent=" " * 8,
                                   break_long_words=False, break_on_hyphens=False)
            name = ""
    return "\n".join([*lines, "```", ""])


def page(messages, found):
    count = sum(isinstance(it, Mistake) for it in MISTAKES)
    parts = [INTRODUCTION, f"{count} mistakes, on {', '.join(found)}.\n"]
    for it in MISTAKES:
        parts.append(entry(it, messages[it.name]) if isinstance(it, Mistake) else f"## {it}\n")
    return "\n".join(parts)


def comparable(text, others):
    """Without the words of what is another version here: of the kernel's messages, or of a peer."""
    if others:
        text = re.sub(r"(?m)^\d+ mistakes, on .*$", "", text)
    text = re.sub(r"\n {8}(?=\S)", " ", text)
    # crun prints one of several messages for a hook.
    text = re.sub(r"(?m)^crun .*(?:executing hook|timeout expired for) (`[^`]*`).*$", r"crun \1", text)
    for version in others:
        name = version.split()[0]
        words = r" \(the kernel says: [^\n]*?\)(?=;|$)" if name == "Linux" else rf"^{name} .*$"
        text = re.sub(words, "", text, flags=re.M)
    return text.splitlines(keepends=True)


def say(mistake, results, peers):
    """What each runtime says of a mistake."""
    said = {}
    for runtime in ("rfsrun", *peers):
        result = results[mistake.name, runtime]
        outcome = result["facts"]["result"]
        if outcome == "failed":
            said[runtime] = plain(runtime, result["message"], result["work"]) or "(no message)"
        else:
            said[runtime] = f"(no error: {outcome})" if outcome != "broken" else f"broken: {result['message']}"
    return said


def problems_of(mistake, said, facts):
    if said["rfsrun"].startswith("(no "):
        yield f"rfsrun: {said['rfsrun']}"
    yield from (f"{runtime}: {message}" for runtime, message in said.items() if message.startswith("broken: "))
    yield from (f"the message does not say {needed!r}: {said['rfsrun']}" for needed in mistake.says
                if needed not in said["rfsrun"])
    yield from (f"{fact}" for fact in facts if fact.startswith("leaked "))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--newer", action="store_true",
                        help="with newer runc and crun: see ../parity/README.md. Only prints")
    parser.add_argument("prefix")
    parser.add_argument("number", nargs="*", type=int)
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("errors: containers take root")
    peers = ("new runc", "new crun") if arguments.newer else ("old runc", "old crun")
    chosen = [it for it in MISTAKES if isinstance(it, Mistake)]
    chosen = [it for it in chosen if not arguments.number or int(it.name[-3:]) in arguments.number]
    only_print = bool(arguments.number or arguments.newer)
    if len(chosen) < AT_LEAST and not only_print:
        sys.exit(f"errors: only {len(chosen)} mistakes")
    found = versions(peers)
    results = run_all(chosen, arguments.prefix, peers)
    messages = {mistake.name: say(mistake, results, peers) for mistake in chosen}
    wrong = 0
    for mistake in chosen:
        for problem in problems_of(mistake, messages[mistake.name], results[mistake.name, "rfsrun"]["facts"]):
            wrong += 1
            print(f"{mistake.title}: {problem}")
    if only_print:
        print("\n".join(entry(mistake, messages[mistake.name]) for mistake in chosen))
    elif arguments.write:
        with open(PAGE, "w") as file:
            file.write(page(messages, found))
    else:
        wrong += check(chosen, messages, found, arguments.prefix, peers)
    print(f"errors: {len(chosen)} mistakes, {wrong} problems")
    sys.exit(1 if wrong else 0)


def check(chosen, messages, found, prefix, peers):
    """How many lines of the page are not what is said now."""
    with open(PAGE) as file:
        text = file.read()
    others = [version for version in found if version not in text]
    committed = comparable(text, others)
    entries = "".join(committed)
    for _ in range(TRIES - 1):
        differ = [it for it in chosen if "".join(comparable(entry(it, messages[it.name]), others)) not in entries]
        if not differ:
            break
        results = run_all(differ, prefix, peers)
        for mistake in differ:
            ours = messages[mistake.name]["rfsrun"]
            messages[mistake.name] = {**say(mistake, results, peers), "rfsrun": ours}
    now = comparable(page(messages, found), others)
    difference = list(difflib.unified_diff(committed, now, "docs/errors.md", "what is said now"))
    sys.stdout.writelines(difference)
    return sum(line[0] in "+-" for line in difference[2:])


if __name__ == "__main__":
    main()
