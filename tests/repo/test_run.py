# SPDX-License-Identifier: GPL-2.0-or-later
"""tests/run itself: every way in which a test can end must be counted as that."""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tree

PASS = "print('fine')\n"
STEPS = "print('=== one: 3 s')\nprint('not shown')\n"
SKIP = "import sys\nprint('words')\nprint('no such device here')\nsys.exit(77)\n"
FAIL = "import sys\nprint('the cause')\nsys.exit(1)\n"
SLOW = "# timeout: 1\nimport time\ntime.sleep(60)\n"
LEAVES = "import subprocess\nsubprocess.Popen(['sleep', '1234'], start_new_session=True)\n"

# A stand-in for a configured build: its `make check` leaves result files as automake's does.
MAKEFILE = """check:
\t@mkdir -p tests/unit
\t@printf ':global-test-result: PASS\\n' >tests/unit/test_a.trs; echo >tests/unit/test_a.log
\t@printf ':global-test-result: {second}\\n' >tests/unit/test_b.trs; echo why >tests/unit/test_b.log
\t@exit {status}
"""

# What the tests are, extra arguments; exit status, last line, and words that must be printed.
CASES = (
    ({"test_a": PASS}, "PASS", 0, [], 0, "3 passed, 0 failed, 0 skipped", []),
    ({"test_a": SKIP}, "SKIP", 0, [], 0, "1 passed, 0 failed, 2 skipped",
     ["test_a.py: no such device here", "test_b: why"]),
    ({"test_a": FAIL, "test_b": PASS}, "PASS", 0, ["-j2"], 1, "3 passed, 1 failed, 0 skipped",
     ["the cause", "exit status 1"]),
    ({"test_a": SLOW}, "PASS", 0, [], 1, "2 passed, 1 failed, 0 skipped", ["not done after 1 s"]),
    ({"test_a": LEAVES}, "PASS", 0, [], 1, "2 passed, 1 failed, 0 skipped",
     ["left behind: sleep 1234"]),
    ({}, "FAIL", 2, [], 1, "1 passed, 1 failed, 0 skipped", ["| why"]),
    ({}, "PASS", 2, [], 1, "2 passed, 1 failed, 0 skipped", ["exit status 2"]),
    ({}, "SKIP", 0, ["--no-unit"], 1, "0 passed, 0 failed, 0 skipped", ["nothing was tested"]),
    ({"test_a": SKIP}, "SKIP", 0, ["--no-unit"], 1, "0 passed, 0 failed, 1 skipped", []),
    ({"test_a": FAIL, "test_b": PASS}, "FAIL", 2, ["--only", "_b"], 0,
     "1 passed, 0 failed, 0 skipped", []),
)


def run_case(folder, tests, second, make_status, arguments):
    (folder / "tests" / "e2e").mkdir(parents=True)
    (folder / "build").mkdir()
    shutil.copy(tree.TOP / "tests" / "run", folder / "tests" / "run")
    (folder / "build" / "Makefile").write_text(MAKEFILE.format(second=second, status=make_status))
    for name, content in tests.items():
        (folder / "tests" / "e2e" / f"{name}.py").write_text(content)
    # The outer run's mark must not be on what the inner one starts, nor its jobserver used, nor
    # its patience change what the inner one waits for.
    env = {key: value for key, value in os.environ.items()
           if key not in ("IOVD_TEST_ID", "IOVD_TEST_PATIENCE", "MAKEFLAGS", "MFLAGS",
                          "MAKELEVEL")}
    return subprocess.run([sys.executable, folder / "tests" / "run", "--build", folder / "build",
                           *arguments], capture_output=True, text=True, env=env, timeout=60)


def main():
    problems = []
    for number, (tests, second, make_status, arguments, status, last, words) in enumerate(CASES):
        with tempfile.TemporaryDirectory() as folder:
            done = run_case(Path(folder), tests, second, make_status, arguments)
        lines = done.stdout.splitlines() or [""]
        if (done.returncode, lines[-1]) != (status, last):
            problems.append(f"case {number}: exit {done.returncode}, '{lines[-1]}', "
                            f"not {status}, '{last}'\n{done.stdout}{done.stderr}")
        problems += [f"case {number}: '{word}' was not printed\n{done.stdout}"
                     for word in words if word not in done.stdout]
    tree.finish(problems, "tests/run")


main()
