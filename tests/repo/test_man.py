# SPDX-License-Identifier: GPL-2.0-or-later
"""The manual pages: well formed, and they name every option that the programs print."""
import re
import shutil
import subprocess

import tree

# Page, program, and the arguments with which the program lists what it takes.
PROGRAMS = (
    ("man/iovctl.1", "iovctl", ["--help"]),
    ("man/iovd.8", "iovd", ["--help"]),
    ("man/iov-worker.1", "iov-worker", ["--help"]),
)


def options_of(text):
    """The long options in a help text."""
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text))


def plain(page_source):
    """A page's source with its escaped and split hyphens made plain."""
    text = re.sub(r"\\(?:-|\(hy|f[A-Z]|&)", lambda m: "-" if m.group(0)[1] in "-(" else "",
                  page_source)
    # mdoc: ".Fl -help" is --help.
    return re.sub(r"\bFl -(?=[a-z])", "Fl --", text)


def check_options(page, help_text, page_source):
    documented = options_of(plain(page_source))
    return [f"{page}: does not say what {option} does"
            for option in sorted(options_of(help_text) - documented)]


def check_lint(pages):
    if not shutil.which("mandoc"):
        print("mandoc is not here: its part was left out")
        return []
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning",
                           *(str(tree.TOP / page) for page in pages)],
                          capture_output=True, text=True)
    return [line.replace(f"{tree.TOP}/", "") for line in done.stdout.splitlines()]


def self_test():
    help_text = "  --socket-path=PATH  where\n  --help\n"
    samples = ((".Fl -socket-path\n.Fl -help", 0), (r"\-\-socket\-path \fB\-\-help\fR", 0),
               (".Fl -socket-path", 1), ("", 2))
    return [f"self-test: not {count} problems in {source!r}" for source, count in samples
            if len(check_options("page", help_text, source)) != count]


def main():
    problems = self_test()
    pages = [name for name in tree.files() if re.fullmatch(r"man/[^/]+\.[1-8]", name)]
    if not pages:
        tree.skip("no manual page yet")
    problems += check_lint(pages)
    for page, program, arguments in PROGRAMS:
        if not (tree.BUILD / program).exists():
            continue
        if page not in pages:
            problems.append(f"{page}: {program} has no manual page")
            continue
        done = subprocess.run([str(tree.BUILD / program), *arguments], capture_output=True,
                              text=True, timeout=20)
        if done.returncode or not options_of(done.stdout):
            problems.append(f"{program} --help: exit status {done.returncode}, no options")
        problems += check_options(page, done.stdout, tree.text(page))
    tree.finish(problems, "manual pages")


main()
