#!/usr/bin/python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Checks the manual pages: mandoc finds no fault in them, every function, struct and type of the header is found by its
own name, and the HTML of `make html` has every page and no broken link.

usage: check.py PREFIX     PREFIX: where librfs is installed
"""

import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[2]
HTML = TOP / "build/html"
faults = []


def names_in_header():
    text = re.sub(r"/\*.*?\*/", "", (TOP / "include/librfs.h").read_text(), flags=re.S)
    functions = re.findall(r"\b(rfs_\w+) ?\(", text)
    types = re.findall(r"^typedef [^;{]*?\b(rfs_\w+)(?:;| \{)", text, flags=re.M)
    return sorted(set(functions) | set(types))


def name_section(page):
    return page.read_text().split(".Sh SYNOPSIS", 1)[0]


def lint(page):
    run = subprocess.run(["mandoc", "-Tlint", "-Wwarning", page], capture_output=True, text=True)
    # Pages of the kernel and the C library may not be installed here.
    faults.extend(line for line in run.stdout.splitlines() if "referenced manual not found" not in line)


def main(prefix):
    pages = sorted((TOP / "man").glob("*.[1-9]"))
    for page in pages:
        lint(page)

    installed = next(pathlib.Path(prefix).rglob("man3"))
    names = names_in_header()
    if len(names) < 40:
        faults.append(f"only {len(names)} names were found in librfs.h")
    for name in names:
        page = installed / f"{name}.3"
        if not page.is_file():
            faults.append(f"{page}: missing, or a link to nothing")
        elif f".Nm {name}" not in name_section(page):
            faults.append(f"{page}: its section NAME lacks {name}")
        if not (HTML / f"{name}.3.html").is_file():
            faults.append(f"{HTML / name}.3.html: missing")

    for page in pages:
        if not (HTML / f"{page.name}.html").stat().st_size > 1000:
            faults.append(f"{HTML / page.name}.html: empty")
    links = 0
    for file in sorted(HTML.glob("*.html")):
        if file.is_symlink():
            continue
        text = file.read_text()
        anchors = set(re.findall(r'id="([^"]*)"', text))
        for link in re.findall(r'href="([^"]*)"', text):
            target, _, anchor = link.partition("#")
            if "://" in target:
                # A name of this library is never a page of the system.
                if re.search(r"/(rfs|librfs)\w*\.\d\.html$", target):
                    faults.append(f"{file.name}: {link} leads elsewhere")
                continue
            links += 1
            if target and not (HTML / target).is_file() or not target and anchor not in anchors:
                faults.append(f"{file.name}: {link} leads nowhere")
    for fault in faults:
        print(fault)
    print(f"{len(names)} names, {len(pages)} pages, {links} links, {len(faults)} faults")
    return bool(faults)


sys.exit(main(sys.argv[1]))
