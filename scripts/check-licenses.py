#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Checks the licence and the origin of each crate in Cargo.lock by deny.toml, and that each of our own source files has
an SPDX line. It needs only Python and cargo. `cargo deny check` also looks at advisories."""

import json
import os
import re
import subprocess
import sys
import tomllib

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
with open("deny.toml", "rb") as file:
    allowed = set(tomllib.load(file)["licenses"]["allow"])
SOURCE = re.compile(r"\.(rs|c|h|cpp|py|sh|toml|ini|spec|[1-8])$"
                    r"|(^|/)(meson\.build|meson_options\.txt|Makefile|rules)$|^\.ci/")
WITHOUT = {"Cargo.toml"}  # which has the field `license`


def is_allowed(expression):
    """An SPDX expression without parentheses inside parentheses: OR binds looser than AND. cargo's old "/" is OR."""
    expression = expression.replace("/", " OR ")
    while match := re.search(r"\(([^()]*)\)", expression):
        expression = expression.replace(match[0], "MIT" if is_allowed(match[1]) else "refused")
    return any(all(term.strip() in allowed for term in option.split(" AND ")) for option in expression.split(" OR "))


def main():
    metadata = json.loads(subprocess.run(
        ["cargo", "metadata", "--format-version=1", "--locked", "--all-features"],
        check=True, capture_output=True).stdout)
    wrong = []
    for package in metadata["packages"]:
        if not is_allowed(package["license"] or "none"):
            wrong.append(f"{package['name']} {package['version']}: {package['license']} is not allowed in deny.toml")
        if package["source"] not in (None, "registry+https://github.com/rust-lang/crates.io-index"):
            wrong.append(f"{package['name']} {package['version']}: comes from {package['source']}")
    files = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True).stdout.split()
    sources = [path for path in files if SOURCE.search(path) and path not in WITHOUT]
    for path in sources:
        with open(path, encoding="utf-8") as file:
            if "SPDX-License-Identifier: " not in file.read(2000):
                wrong.append(f"{path}: no SPDX-License-Identifier")
    print(*wrong, f"{len(metadata['packages'])} crates, {len(sources)} source files", sep="\n")
    sys.exit(1 if wrong else 0)


main()
