# SPDX-License-Identifier: GPL-2.0-or-later
"""A test's frame: one line with the result, and the exit status that tests/run knows."""
import sys
import time
import traceback

from .proc import Failed, Skipped, end_on_sigterm, scratch


def show_logs(directory):
    """What the programs of the test said last: without it a failure is a riddle."""
    for path in sorted(directory.glob("*.log")):
        print(f"--- {path.name}")
        print("\n".join(path.read_text(errors="replace").splitlines()[-20:]))


def main(test, where=None):
    """Runs test(scratch_directory); what it returns is added to the line."""
    name = sys.argv[0].rsplit("/", 1)[-1].removesuffix(".py")
    begin = time.monotonic()
    end_on_sigterm()
    try:
        with scratch(where) as directory:
            try:
                note = test(directory)
            except Failed:
                show_logs(directory)
                raise
        verdict, status = f"ok    {name}: {note}" if note else f"ok    {name}", 0
    except Skipped as reason:
        verdict, status = f"SKIP  {name}: {reason}", 77
    except Failed as error:
        verdict, status = f"FAIL  {name}: {error}", 1
    except (
        Exception
    ):  # a mistake in the test itself must be told apart from a failure, and fail too
        traceback.print_exc()
        verdict, status = f"ERROR {name}", 1
    print(f"{verdict} ({time.monotonic() - begin:.1f} s)", flush=True)
    sys.exit(status)
