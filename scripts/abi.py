#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Keeps the binary interface: what a program that was compiled once relies on.

usage: abi.py check     (the interface of include/librfs.h is the recorded one; ends with 1 if not)
       abi.py symbols   (writes pkgconfig/librfs.map and debian/librfs1.symbols anew)
       abi.py write     (these, and c-tests/abi.c; refuses what is not an addition)
       abi.py break     (the same, but writes that too: before the first release, or with a new SONAME)

c-tests/abi.c is the record: an assertion for each constant, type, struct, field and function, which every user of the
header can compile. An addition is a new constant, type or function, or a field at the end of a struct that begins
with its size."""

import os
import re
import sys
import textwrap

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
HEADER, RECORD = "include/librfs.h", "c-tests/abi.c"
VERSION_SCRIPT, DEBIAN_SYMBOLS = "pkgconfig/librfs.map", "debian/librfs1.symbols"
FIRST = "0.1.0"

# Size and alignment where pointers have 64 bits, 32 bits, and on i386, which aligns 64 bits to 4 bytes.
SCALARS = {
    "char": [(1, 1)] * 3,
    "int": [(4, 4)] * 3,
    "int32_t": [(4, 4)] * 3,
    "uint32_t": [(4, 4)] * 3,
    "uint64_t": [(8, 8), (8, 8), (8, 4)],
    "int64_t": [(8, 8), (8, 8), (8, 4)],
    "size_t": [(8, 8), (4, 4), (4, 4)],
    "*": [(8, 8), (4, 4), (4, 4)],
}

PREAMBLE = """/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The binary interface of librfs.h, on every kind of machine: it compiles, or something changed that a program compiled
 * before relies on. Written by scripts/abi.py: `make abi`. */
#include <librfs.h>

#if UINTPTR_MAX == UINT64_MAX
#define BY_MACHINE(lp64, ilp32, i386) (lp64)
#elif defined(__i386__)
#define BY_MACHINE(lp64, ilp32, i386) (i386)
#else
#define BY_MACHINE(lp64, ilp32, i386) (ilp32)
#endif
#define IS(pointer, type) _Generic((pointer), type: 1, default: 0)
#define CONSTANT(name, value) _Static_assert((name) == (value), #name)
#define TYPE(name, type) _Static_assert(IS((name *)0, type *), #name)
#define SIZE(name, lp64, ilp32, i386) _Static_assert(sizeof(name) == BY_MACHINE(lp64, ilp32, i386), #name)
#define FIELD(name, field, type, lp64, ilp32, i386) \\
    _Static_assert(offsetof(name, field) == BY_MACHINE(lp64, ilp32, i386), #name "." #field " has moved"); \\
    _Static_assert(IS(&((name *)0)->field, type), #name "." #field " has another type")
#define FUNCTION(name, type) _Static_assert(IS(&name, type), #name)
"""


def read(path):
    try:
        with open(os.path.join(root, path), encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def declarations():
    """The header without comments, preprocessor's lines but constants, and what C++ needs, a declaration an entry."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", read(HEADER), flags=re.S)
    text = re.sub(r"\bRFS_MUST_USE\b(?!\s*(__|\n))", "", text)
    constants = re.findall(r"^#define (RFS_(?!VERSION|MUST_USE)\w+) (.+)$", text, re.M)
    text = re.sub(r"^#.*$|^RFS_MUST_USE$|^extern \"C\" \{$|^\}$", "", text, flags=re.M)
    entries = re.findall(r"[^;{]+(?:\{[^}]*\}[^;]*)?;", text)
    return constants, [" ".join(entry.split()).rstrip(";") for entry in entries]


def parameters(text):
    """Types alone: "const char *json, size_t len" becomes "const char *, size_t"."""
    kept = []
    for parameter in text.split(","):
        parameter = parameter.strip()
        kept.append(parameter if parameter == "void" else re.sub(r"\w+$", "", parameter).strip())
    return ", ".join(kept)


def field(text):
    """Name, type of a pointer to it, the scalar that lays it out, and how many of that."""
    if match := re.fullmatch(r"(.+?) ?\(\*(\w+)\)\((.*)\)", text):
        return match[2], f"{match[1]} (**)({parameters(match[3])})", "*", 1
    match = re.fullmatch(r"(.*?)(\w+)(?:\[(\d+)\])?", text)
    kind, name, count = match[1].strip(), match[2], match[3]
    scalar = "*" if kind.endswith("*") else kind
    if count:
        return name, f"{kind} (*)[{count}]", scalar, int(count)
    return name, kind + ("*" if kind.endswith("*") else " *"), scalar, 1


def interface():
    """The lines of the record, and the functions."""
    constants, entries = declarations()
    lines, functions, scalars = [], [], dict(SCALARS)
    lines += [f"CONSTANT({name}, {value});" for name, value in constants]
    for entry in entries:
        if re.fullmatch(r"typedef struct (\w+) \1", entry):
            continue  # opaque
        if match := re.fullmatch(r"typedef (\w+) (\w+)", entry):
            scalars[match[2]] = scalars[match[1]]
            lines.append(f"TYPE({match[2]}, {match[1]});")
        elif match := re.fullmatch(r"typedef struct (\w+) \{(.*)\} \1", entry):
            name, ends, aligned = match[1], [0, 0, 0], [1, 1, 1]
            fields = []
            for text in match[2].split(";"):
                if not text.strip():
                    continue
                label, pointer, scalar, count = field(text.strip())
                offsets = []
                for machine, (size, alignment) in enumerate(scalars[scalar]):
                    offset = -(-ends[machine] // alignment) * alignment
                    offsets.append(offset)
                    ends[machine] = offset + size * count
                    aligned[machine] = max(aligned[machine], alignment)
                fields.append(f"FIELD({name}, {label}, {pointer}, {', '.join(map(str, offsets))});")
            sizes = [-(-end // alignment) * alignment for end, alignment in zip(ends, aligned)]
            lines += [f"SIZE({name}, {', '.join(map(str, sizes))});"] + fields
            scalars[name] = list(zip(sizes, aligned))
        elif match := re.fullmatch(r"(.+?)(\w+)\((.*)\)", entry):
            functions.append(match[2])
            start = f"FUNCTION({match[2]}, {match[1].strip()} (*)("
            line = f"{start}{parameters(match[3])}));"
            lines += textwrap.wrap(line, 120, subsequent_indent=" " * len(start))
        else:
            sys.exit(f"abi.py: {HEADER}: not understood: {entry}")
    return lines, functions


def recorded():
    return re.findall(r"^(?:CONSTANT|TYPE|SIZE|FIELD|FUNCTION)\(.*\);$", read(RECORD), re.M)


def broken(before, now):
    """What of the record is no longer so. A struct that begins with its size may grow, behind its old end: what lies
    before that, padding too, may be anything in a program that was compiled before."""
    growing = {match[1] for line in now if (match := re.match(r"FIELD\((\w+), size, uint64_t \*, 0, 0, 0\)", line))}
    sizes = {match[1]: match[2] for line in now if (match := re.fullmatch(r"SIZE\((\w+), (.*)\);", line))}
    gone = []
    for line in before:
        match = re.fullmatch(r"SIZE\((\w+), (.*)\);", line)
        if match and match[1] in growing and match[1] in sizes:
            grown = zip(match[2].split(", "), sizes[match[1]].split(", "))
            if all(int(old) <= int(new) for old, new in grown):
                continue
        if line not in now:
            gone.append(line)
    old_ends = {match[1]: match[2].split(", ")
                for line in before if (match := re.fullmatch(r"SIZE\((\w+), (.*)\);", line))}
    for line in now:
        match = re.fullmatch(r"FIELD\((\w+), .*, (\d+), (\d+), (\d+)\);", line)
        if match and line not in before and match[1] in old_ends:
            if any(int(offset) < int(end) for offset, end in zip(match.groups()[1:], old_ends[match[1]])):
                gone.append(f"{line} lies where the struct had an end of {' or '.join(old_ends[match[1]])} bytes")
    return gone


def version():
    return re.search(r'^version = "(.*)"', read("Cargo.toml"), re.M)[1]


def node_of(release):
    return "LIBRFS_1" if release == FIRST else f"LIBRFS_{release}"


def nodes(functions):
    """The version script's nodes, with each function in the node that has it, and a new one in that of this version."""
    present = {name: re.findall(r"\b(rfs_\w+);", body)
               for name, body in re.findall(r"^(LIBRFS_\S+) \{(.*?)\}", read(VERSION_SCRIPT), re.M | re.S)}
    newest = node_of(version())
    kept = {name: [function for function in functions if function in of_node] for name, of_node in present.items()}
    known = {function for of_node in kept.values() for function in of_node if of_node}
    added = [function for function in functions if function not in known]
    if added or newest in kept:
        of_node = kept.get(newest, []) + added
        kept[newest] = [function for function in functions if function in of_node]
    return kept


def version_script(by_node):
    head = read(VERSION_SCRIPT).split("*/")[0] + "*/\n"
    text, before = head, ""
    for name, functions in by_node.items():
        text += f"{name} {{\n\tglobal:\n" + "".join(f"\t\t{function};\n" for function in functions)
        text += ("" if before else "\tlocal:\n\t\t*;\n") + f"}}{before};\n"
        before = f" {name}"
    return text


def debian_symbols(by_node):
    text = "librfs.so.1 librfs1 #MINVER#\n* Build-Depends-Package: librfs-dev\n"
    lines = []
    for name, functions in by_node.items():
        release = FIRST if name == "LIBRFS_1" else name.removeprefix("LIBRFS_")
        lines += [f" {name}@{name} {release}\n"] + [f" {function}@{name} {release}\n" for function in functions]
    return text + "".join(sorted(lines))


def write(path, text):
    os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
    with open(os.path.join(root, path), "w", encoding="utf-8") as file:
        file.write(text)


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in ("check", "symbols", "write", "break"):
        sys.exit("usage: abi.py check|symbols|write|break")
    command = sys.argv[1]
    lines, functions = interface()
    by_node = nodes(functions)
    files = {VERSION_SCRIPT: version_script(by_node), DEBIAN_SYMBOLS: debian_symbols(by_node)}
    gone = broken(recorded(), lines)
    if command != "symbols":
        files[RECORD] = PREAMBLE + "".join(f"{line}\n" for line in lines)
    if command in ("check", "write") and gone:
        print(f"abi.py: {HEADER} breaks what {RECORD} records:", *gone, sep="\n    ", file=sys.stderr)
        sys.exit("A program that is compiled already relies on it: take the change back, or make it an addition. "
                 "Before the first release, or with a new SONAME, `make abi BREAK=yes` records it.")
    if command == "check":
        for path, text in files.items():
            if read(path) != text:
                sys.exit(f"abi.py: {path} is not what belongs to {HEADER}: run `make abi`")
        print(f"{len(lines)} assertions, {len(functions)} functions")
        return
    for path, text in files.items():
        write(path, text)


main()
