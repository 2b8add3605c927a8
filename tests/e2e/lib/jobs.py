# SPDX-License-Identifier: GPL-2.0-or-later
"""fio jobs to run in a guest, and what they tell."""
import json
import typing

from .proc import Failed


class Work(typing.NamedTuple):
    written: int  # bytes
    verified: int  # bytes read back and compared
    longest_ms: float  # the longest time a request took, as the guest sees it


def _fio(options):
    return "fio --name=job " + " ".join(f"--{key}={value}" for key, value in options.items())


def verify(filename, mib=32, **more):
    """Random 4 KiB writes at depth 32, past the guest's cache; then all is read and compared."""
    options = {
        "filename": filename,
        "size": f"{mib}m",
        "rw": "randwrite",
        "bs": "4k",
        "iodepth": 32,
        "ioengine": "io_uring",
        "direct": 1,
        "verify": "crc32c",
        "verify_fatal": 1,
        "output-format": "json",
    }
    return _fio(options | more)


def work(result):
    """What a finished fio did."""
    text = result.output
    if result.status or "{" not in text:
        raise Failed(f"fio in the guest: status {result.status}: {text[-1500:]}")
    job = json.loads(text[text.index("{") : text.rindex("}") + 1])["jobs"][0]
    if job["error"]:
        raise Failed(f"fio in the guest: error {job['error']}")
    longest = max(job[side]["clat_ns"]["max"] for side in ("read", "write"))
    return Work(job["write"]["io_bytes"], job["read"]["io_bytes"], longest / 1e6)
