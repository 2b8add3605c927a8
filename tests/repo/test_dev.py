# SPDX-License-Identifier: GPL-2.0-or-later
"""The functions of ./dev that can go wrong without anybody seeing it: apt sources, names, errors."""
import subprocess
import tempfile
from pathlib import Path

import tree

ONE_LINE = "\n".join((
    "# deb http://mirror.example/debian bookworm main",
    "deb-src http://mirror.example/debian bookworm main",
    "deb http://mirror.example/debian bookworm-updates main",
    "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib",
    "deb http://other.example/debian bookworm main", ""))
DEB822 = "\n".join((
    "# a comment", "Types: deb", "URIs: http://mirror.example/security",
    "Suites: bookworm-security", "Components: main", "",
    "Types: deb-src", "URIs: http://mirror.example/debian", "Suites: bookworm",
    "Components: main", "",
    "Types: deb deb-src", "URIs: http://mirror.example/debian",
    "Suites: bookworm bookworm-updates", "Components: main contrib",
    "Signed-By:", " -----BEGIN PGP PUBLIC KEY BLOCK-----", " .", " abc", ""))

ENTRIES = (
    ("old.list", ONE_LINE,
     "deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm-backports main\n"),
    ("new.sources", DEB822,
     "Types: deb\nURIs: http://mirror.example/debian\nSuites: bookworm-backports\n"
     "Components: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n"),
    ("none.list", "deb http://mirror.example/debian trixie main\n", ""),
)


def dev(script, *arguments):
    """Runs a line of bash with dev's functions at hand."""
    return subprocess.run(["bash", "-c", f'. "$1"; shift; {script}', "dev", tree.TOP / "dev",
                           *arguments], capture_output=True, text=True)


def check_entries():
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        for name, content, wanted in ENTRIES:
            path = Path(folder) / name
            path.write_text(content)
            done = dev('backports_entry bookworm "$@"', path)
            if (done.returncode, done.stdout) != (0, wanted):
                problems.append(f"{name}: exit {done.returncode}, {done.stdout!r} {done.stderr}")
        # The first file that has one wins; a file without is passed over.
        done = dev('backports_entry bookworm "$@"', *(Path(folder) / name for name in
                                                    ("none.list", "old.list", "new.sources")))
        if done.stdout != ENTRIES[0][2]:
            problems.append(f"three files: {done.stdout!r}")
    return problems


def check_missing_packages():
    done = dev('missing_packages "$@"', "no-such-package-at-all", "dpkg", "bash")
    if done.returncode == 127 or done.stdout != "no-such-package-at-all\n":
        return [f"missing_packages: {done.stdout!r} {done.stderr}"]
    return []


def check_steps_fail():
    """An error inside a step ends the script, with that status."""
    done = dev("f() { false; echo went on; }; step name f; echo went on")
    if done.returncode == 0 or "went on" in done.stdout:
        return [f"a failing step: exit {done.returncode}, {done.stdout!r}"]
    return []


def check_verbs():
    problems = []
    usage = subprocess.run([tree.TOP / "dev"], capture_output=True, text=True)
    for verb in "setup build demo test lint bench fuzz campaign record".split():
        if f"\n  {verb} " not in usage.stdout:
            problems.append(f"./dev does not list {verb}")
        if dev(f"declare -F do_{verb}").returncode:
            problems.append(f"./dev {verb} is not there")
    unknown = subprocess.run([tree.TOP / "dev", "nonsense"], capture_output=True, text=True)
    if unknown.returncode != 2:
        problems.append(f"./dev nonsense: exit status {unknown.returncode}, not 2")
    return problems


def main():
    problems = check_entries() + check_steps_fail() + check_verbs()
    if Path("/usr/bin/dpkg-query").exists():
        problems += check_missing_packages()
    tree.finish(problems, "dev")


main()
