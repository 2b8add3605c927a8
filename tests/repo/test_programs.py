# SPDX-License-Identifier: GPL-2.0-or-later
"""The built programs: each links only the libraries that its job needs, and is hardened."""
import re
import shutil
import subprocess

import tree

# The daemon knows the host; the worker holds guest memory and knows as little as it can.
MAY_LINK = {
    "iovd": "event_core|json-c|sqlite3|nl-3|nl-route-3|nl-genl-3|pci|kmod|virt|systemd",
    "iovd-keeper": "event_core|uring|seccomp|cap-ng|systemd",
    "iov-worker": "uring|seccomp|cap-ng",
    "iovctl": "json-c",
}
ALWAYS = r"c|m|pthread|gcc_s|asan|ubsan"


def needed(dynamic_section):
    """The libraries in the output of `readelf -d`."""
    return re.findall(r"\(NEEDED\).*\[lib([^\]]+?)(?:-2\.1)?\.so[^\]]*\]", dynamic_section)


def check_links(name, dynamic_section):
    found = needed(dynamic_section)
    if "c" not in found:
        return [f"{name}: not linked with the C library: {found}"]
    return [f"{name}: links lib{library}, which its job does not need" for library in found
            if not re.fullmatch(f"{MAY_LINK[name]}|{ALWAYS}", library)]


def check_hardening(name, headers):
    """What `readelf -W -h -l -d` shows of a hardened program."""
    marks = (("position independent", r"Type:\s+DYN"), ("read-only relocations", r"GNU_RELRO"),
             ("bound at start", r"BIND_NOW|Flags: .*NOW"),
             ("a stack that is not executable", r"GNU_STACK.* RW +0x"))
    return [f"{name}: not {mark}" for mark, pattern in marks if not re.search(pattern, headers)]


def self_test():
    line = " 0x01 (NEEDED)  Shared library: [lib{}]\n"
    good = line.format("c.so.6") + line.format("event_core-2.1.so.7") + line.format("nl-3.so.200")
    hardened = "Type:  DYN (PIE)\nGNU_RELRO x\nGNU_STACK 0x0 RW  0x10\nFlags: NOW PIE\n"
    problems = []
    for name, section, count in (("iovd", good, 0), ("iovctl", good, 2), ("iovd", "", 1),
                                 ("iov-worker", good + line.format("virt.so.0"), 3)):
        if len(check_links(name, section)) != count:
            problems.append(f"self-test: {name}: not {count} problems: {needed(section)}")
    for headers, count in ((hardened, 0), (hardened.replace("DYN", "EXEC"), 1),
                           (hardened.replace("RW ", "RWE"), 1), ("", 4)):
        if len(check_hardening("sample", headers)) != count:
            problems.append(f"self-test: not {count} problems: {headers!r}")
    return problems


def main():
    if not shutil.which("readelf"):
        tree.skip("readelf is not here")
    problems = self_test()
    config = (tree.BUILD / "Makefile").read_text()
    plain = "-D_FORTIFY_SOURCE=2" in config
    programs = [name for name in MAY_LINK if (tree.BUILD / name).exists()]
    if not programs:
        tree.finish(problems + ["no program was built: nothing was checked"], "programs")
    for name in programs:
        shown = subprocess.run(["readelf", "-W", "-h", "-l", "-d", tree.BUILD / name],
                               capture_output=True, text=True, check=True).stdout
        problems += check_links(name, shown)
        if plain:
            problems += check_hardening(name, shown)
    tree.finish(problems, f"programs ({', '.join(programs)})")


main()
