# SPDX-License-Identifier: GPL-2.0-or-later
"""The bash completion: what it offers is what iovctl takes."""
import shutil
import subprocess

import tree

SCRIPT = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
_iovctl "$1"
printf '%s\\n' "${COMPREPLY[@]}"
"""

# The words so far, the last one being typed; and what must and must not be offered.
CASES = (
    ([""], {"list", "show", "attach", "detach", "run", "vf", "job", "watch"}, {"help", "-s"}),
    (["de"], {"detach"}, {"list"}),
    (["-o", ""], {"table", "json", "jsonl", "plain"}, {"list"}),
    (["-o", "json", "li"], {"list"}, {"attach"}),
    (["list", ""], {"devices", "groups", "attachments", "vms", "faults", "jobs", "codes"}, {"list"}),
    (["list", "devices", "--"], {"--class", "--vm", "--free", "--help"}, {"--path"}),
    (["attach", "/dev/null", "vm", "--"],
     {"--path", "--as", "--readonly", "--queues", "--cache", "--owner", "--dry-run"}, {"--free"}),
    (["attach", "/dev/nul"], {"/dev/null"}, set()),
    (["attach", "a", "b", "--path", ""], {"auto", "paravirt"}, {"none"}),
    (["attach", "a", "b", "--cache", "w"], {"writeback"}, {"none"}),
    (["attach", "a", "b", "--owner", "roo"], {"root"}, set()),
    (["bind", "x", ""], {"vfio"}, {"devices"}),
    (["explain", "x", "--"], {"--vm"}, {"--path"}),
    (["explain", "GRP-S"], {"GRP-SPLIT"}, {"GRP-NONE"}),
    (["release", "x", "--"], {"--group", "--dry-run"}, {"--path"}),
    (["run", "web1", "--"], {"--user"}, {"--owner"}),
    (["run", "web1", "--user", "roo"], {"root"}, set()),
    (["vf", ""], {"create", "set"}, {"--wait"}),
    (["vf", "set", "41:10.0", "sp"], {"spoofchk=on", "spoofchk=off"}, {"trust=on"}),
    (["show", "hos"], {"host"}, set()),
    (["show", "host", "--"], {"--tree", "--svg", "--dot"}, {"--vm"}),
    (["top", "--"], {"--interval"}, {"--since"}),
    (["watch", "--"], {"--since", "--daemon"}, {"--wait"}),
    (["job", "1", "--"], {"--wait", "--cancel"}, {"--path"}),
)


def offered(words):
    argv = ["bash", "--norc", "-c", SCRIPT, "bash", str(tree.TOP / "cli/iovctl.bash"),
            str(tree.BUILD / "iovctl"), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    if done.stderr:
        return {f"<{done.stderr.strip()}>"}
    return set(done.stdout.split())


def main():
    if not shutil.which("bash"):
        tree.skip("no bash")
    if not (tree.BUILD / "iovctl").exists():
        tree.skip("iovctl is not built")
    problems = []
    for words, wanted, unwanted in CASES:
        found = offered(words)
        if not wanted <= found or unwanted & found:
            problems.append(f"iovctl {' '.join(words)}: offers {sorted(found)}")
    tree.finish(problems, "completion")


main()
