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


def verify_on_queues(filename, queues, depth=32, mib=4, loops=1):
    """The same on all queues of a disk: a job for each, together `depth` requests in flight. After
    fio's result come its logs, of the longest request of each second: pauses() reads them."""
    log = "/tmp/" + filename.replace("/", "-")
    fio = verify(
        filename,
        mib,
        numjobs=queues,
        iodepth=depth // queues,
        offset_increment=f"{mib}m",
        loops=loops,
        group_reporting=1,
        write_lat_log=log,
        log_avg_msec=1000,
        log_max_value=1,
    )
    return f"{fio} && cat {log}_lat.*.log && rm {log}_*.log"


def pauses(result):
    """The longest request of each second in ms, from verify_on_queues()."""
    longest = {}
    for line in result.output[result.output.rindex("}") + 1 :].splitlines():
        if len(words := line.split(",")) >= 3:
            second, ms = int(words[0]) // 1000, int(words[1]) / 1e6
            longest[second] = max(ms, longest.get(second, 0))
    if not longest:
        raise Failed(f"fio's logs are empty: {result.output[-500:]}")
    return list(longest.values())


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
