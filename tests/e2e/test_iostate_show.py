# SPDX-License-Identifier: GPL-2.0-or-later
"""iovctl shows I/O state files by itself, without a daemon; and says by name what is wrong."""
import json
import os
import pathlib

from lib import proc
from lib.proc import Failed
from lib.report import main
from lib.servers import program

# The first byte of an input is the harness's.
CORPUS = pathlib.Path(os.environ["IOVD_SRC"]) / "tests/corpus/iostate"


def show(path, *words):
    argv = [program("iovctl"), "-s", path.parent / "no.sock", *words, "show", path]
    return proc.run(argv, 20, check=False)


def state(scratch, name):
    path = scratch / f"{name}.state"
    path.write_bytes((CORPUS / name).read_bytes()[1:])
    return path


def expect(condition, what, done):
    if not condition:
        raise Failed(f"{what}: status {done.returncode}\n{done.stdout}{done.stderr}")


def test(scratch):
    good = state(scratch, "plain")
    done = show(good)
    expect(done.returncode == 0 and "I/O state of web1" in done.stdout, "for people", done)
    expect("in flight    none" in done.stdout, "for people", done)
    document = json.loads(show(good, "-o", "json").stdout)
    attachment = document["iostate"]["attachments"][0]
    expect(document["schema"] == "iovd.iostate/1" and document["kind"] == "iostate", "json", done)
    expect(attachment["rings"][0]["size"] == 64, "json: rings", done)
    done = show(good, "-o", "plain")
    expect(done.stdout.split("\t")[:2] == ["web1", "disk0"], "plain", done)

    for name, code in (("flipped", "STATE-DAMAGED"), ("cut", "STATE-CUT")):
        done = show(state(scratch, name))
        expect(done.returncode == 4 and f"[{code}]" in done.stderr, name, done)
    # What does not begin like one may be the name of something: the daemon is asked.
    done = show(state(scratch, "foreign"))
    expect(done.returncode == 8, "foreign", done)
    return "a good one in three forms, two bad ones by name"


main(test)
