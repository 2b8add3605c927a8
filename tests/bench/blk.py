#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures iov-worker against qemu-storage-daemon, driven by fio's libblkio engine.

    ./dev bench blk [--rounds N] [--seconds S] [--only WORKLOAD,..] [--servers NAME,..]

Absolute figures of a virtual machine are worth little, so every server is measured in every round,
one after the other, and what counts are ratios of medians. A server that is listed twice (ours and
ours-again) shows the noise floor of the run: no difference below it means anything.

What was learnt about measuring this, and is done here: client and server are pinned to a processor
each; with autogroups a nice value does nothing across sessions, so the whole session is lifted;
fio opens the disk twice, so a server must survive a reconnect; libblkio needs three descriptors per
request, so the ring has 512; the image is written in full first; on ext4 everything is direct,
where the page cache has no say. At depth 1 an interrupt-driven client measures mostly how long the
machine takes to wake up: "q1-poll" is the figure for the server's own latency.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import typing

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

from lib import disk, proc, servers  # noqa: E402
from lib.clients import blkio_client  # noqa: E402
from guest import cache, fio  # noqa: E402

CLIENT_CPU, SERVER_CPU = 0, 1
RING = 512
TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")


class Workload(typing.NamedTuple):
    name: str
    place: str  # tmpfs: memory, buffered or not as the server likes; ext4: direct
    rw: str
    bs: int
    depth: int
    wait: str = "block"


WORKLOADS = (
    Workload("read-q32", "tmpfs", "randread", 4096, 32),
    Workload("read-q128", "tmpfs", "randread", 4096, 128),
    Workload("write-q32", "tmpfs", "randwrite", 4096, 32),
    Workload("write-q128", "tmpfs", "randwrite", 4096, 128),
    Workload("read-q1-poll", "tmpfs", "randread", 4096, 1, "loop"),
    Workload("write-q1-poll", "tmpfs", "randwrite", 4096, 1, "loop"),
    Workload("read-q1", "tmpfs", "randread", 4096, 1),
    Workload("seq-read-128k-q8", "tmpfs", "read", 131072, 8),
    Workload("seq-write-128k-q8", "tmpfs", "write", 131072, 8),
    Workload("ext4-read-q1", "ext4", "randread", 4096, 1),
    Workload("ext4-read-q32", "ext4", "randread", 4096, 32),
    Workload("ext4-write-q32", "ext4", "randwrite", 4096, 32),
)


def _ours(image, scratch, direct):
    return servers.Worker(image, scratch, cpu=SERVER_CPU, cache="none" if direct else "writeback")


def _peer(aio):
    # Linux AIO works on direct descriptors only.
    def start(image, scratch, direct):
        return servers.Qsd(
            image, scratch, cpu=SERVER_CPU, aio=aio, direct=direct or aio == "native"
        )

    return start


def _ceiling(image, scratch, direct):
    return servers.Qsd(None, scratch, cpu=SERVER_CPU, size=str(image.stat().st_size))


SERVERS = {
    "ours": _ours,
    "ours-again": _ours,
    "qsd-uring": _peer("io_uring"),
    "qsd-native": _peer("native"),
    "qsd-null": _ceiling,
}

# Issue 2's bars: (workload, peer, how many times as fast).
BARS = (
    ("read-q32", "qsd-uring", 1.5),
    ("write-q32", "qsd-uring", 1.5),
    ("read-q1-poll", "qsd-uring", 1.5),
    ("write-q1-poll", "qsd-uring", 1.5),
)
MEMORY_BAR_MIB = 5.0


class Fio:
    """fio with its libblkio engine as the load generator."""

    def __init__(self):
        self._command = fio.with_libblkio()

    def can(self, workload):
        return True

    def run(self, workload, server, seconds, sample):
        job = {
            "name": workload.name,
            "rw": workload.rw,
            "bs": workload.bs,
            "iodepth": workload.depth,
            "thread": 1,
            "ioengine": "libblkio",
            "libblkio_driver": "virtio-blk-vhost-user",
            "libblkio_path": server.socket,
            "libblkio_wait_mode": workload.wait,
            "libblkio_queue_size": RING,
            "size": "100%",
            "runtime": f"{seconds}s",
            "ramp_time": "300ms",
            "time_based": 1,
            "norandommap": 1,
            "output-format": "json",
        }
        words = [*self._command, *(f"--{key}={value}" for key, value in job.items())]
        side = json.loads(_pinned(words, seconds, sample))["jobs"][0]
        side = side["read" if "read" in workload.rw else "write"]
        percentile = side["clat_ns"]["percentile"]
        return {
            "iops": side["iops"],
            "requests": side["total_ios"],
            "p50_us": percentile["50.000000"] / 1000,
            "p99_us": percentile["99.000000"] / 1000,
        }


class Small:
    """Our own client on libblkio, where fio's source cannot be had: no latencies, random only."""

    def can(self, workload):
        return workload.rw.startswith("rand")

    def run(self, workload, server, seconds, sample):
        sample()
        done = blkio_client(
            server.socket,
            job="load",
            wait=workload.wait,
            depth=workload.depth,
            bs=workload.bs,
            seconds=seconds,
            queue_size=RING,
            write=int(workload.rw == "randwrite"),
        )
        return {"iops": done["iops"], "requests": done["requests"], "p50_us": 0, "p99_us": 0}


def _pinned(words, seconds, sample):
    """Runs the client on its processor; samples the server halfway. The client's output."""
    child = subprocess.Popen(
        ["taskset", "-c", str(CLIENT_CPU), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        child.wait(seconds / 2 + 0.3)
    except subprocess.TimeoutExpired:
        sample()
    try:
        out, err = child.communicate(timeout=seconds + 30)
    finally:
        child.kill()
    if child.returncode:
        raise proc.Failed(f"fio: status {child.returncode}: {err.decode()[-600:]}")
    return out[out.index(b"{") :]


def _family(pid):
    """A process and what it started."""
    pids = [pid]
    for parent in pids:
        children = pathlib.Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        pids += map(int, children)
    return pids


def _rss_mib(pid):
    """Memory of a server: anonymous and file pages. What it shares with its guest is RssShmem."""
    kib = 0
    for member in _family(pid):
        for line in pathlib.Path(f"/proc/{member}/status").read_text().splitlines():
            if line.startswith(("RssAnon:", "RssFile:")):
                kib += int(line.split()[1])
    return kib / 1024


def _cpu_us(pid):
    """Processor time of a server so far."""
    ticks = 0
    for member in _family(pid):
        fields = pathlib.Path(f"/proc/{member}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks * TICK_US


def measure(client, start, image, workload, seconds):
    """One server, one workload, once."""
    with proc.scratch() as scratch:
        with start(image, scratch, workload.place == "ext4") as server:
            memory = []
            before = _cpu_us(server.pid)
            result = client.run(
                workload, server, seconds, lambda: memory.append(_rss_mib(server.pid))
            )
            # fio's warming up is in the processor time and not in its count of requests.
            spent = (_cpu_us(server.pid) - before) * seconds / (seconds + 0.3)
            result["cpu_us"] = spent / max(result["requests"], 1)
            result["rss_mib"] = max(memory, default=0)
    return result


def _images(directory, mib):
    """One image in memory, one on the disk, both with data in every block."""
    images = {
        "tmpfs": pathlib.Path(proc.tmpfs()) / f"{directory.name}.img",
        "ext4": directory / "img",
    }
    for path in images.values():
        with open(path, "wb") as image:
            for _ in range(mib):
                image.write(os.urandom(disk.MIB))
            os.fsync(image.fileno())
    return images


def collect(options, client, images):
    """{workload: {server: [result of each round]}}"""
    table = {w.name: {s: [] for s in options.servers} for w in options.only if client.can(w)}
    for number in range(options.rounds):
        for workload in options.only:
            if workload.name not in table:
                continue
            for name in options.servers:
                result = measure(
                    client, SERVERS[name], images[workload.place], workload, options.seconds
                )
                table[workload.name][name].append(result)
            done = "  ".join(
                f"{s} {table[workload.name][s][-1]['iops'] / 1000:.1f}k" for s in options.servers
            )
            cache.progress(f"round {number + 1}/{options.rounds} {workload.name}: {done}")
    return table


def summary(table):
    """Medians, and the spread as half the range in percent of the median."""
    rows = []
    for workload, by_server in table.items():
        base = statistics.median(r["iops"] for r in next(iter(by_server.values())))
        for server, results in by_server.items():
            iops = [r["iops"] for r in results]
            median = statistics.median(iops)
            row = {key: statistics.median(r[key] for r in results) for key in results[0]}
            row |= {
                "workload": workload,
                "server": server,
                "iops": median,
                "spread": (max(iops) - min(iops)) / 2 / median * 100,
                "ratio": base / median,
            }
            rows.append(row)
    return rows


def show(rows):
    first = rows[0]["server"]
    print(f"\n{'workload':18} {'server':11} {'kIOPS':>8} {'+-%':>5} {first + ' is':>9} ", end="")
    print(f"{'p50 us':>8} {'p99 us':>8} {'cpu us':>7} {'MiB':>5}")
    for row in rows:
        print(
            f"{row['workload']:18} {row['server']:11} {row['iops'] / 1000:8.1f} "
            f"{row['spread']:5.1f} {row['ratio']:8.2f}x {row['p50_us']:8.1f} {row['p99_us']:8.1f} "
            f"{row['cpu_us']:7.2f} {row['rss_mib']:5.1f}"
        )


def judge(rows):
    """Holds the figures against the bars; True when all that were measured are met."""
    iops = {(row["workload"], row["server"]): row["iops"] for row in rows}
    verdicts = []
    for workload, peer, times in BARS:
        if (workload, "ours") in iops and (workload, peer) in iops:
            ratio = iops[workload, "ours"] / iops[workload, peer]
            verdicts.append((ratio >= times, f"{workload}: {ratio:.2f} times {peer} (bar {times})"))
    memory = [row["rss_mib"] for row in rows if row["server"] == "ours"]
    if memory:
        text = f"memory of the worker: {max(memory):.1f} MiB (bar {MEMORY_BAR_MIB})"
        verdicts.append((max(memory) <= MEMORY_BAR_MIB, text))
    print()
    for met, text in verdicts:
        print(f"{'met   ' if met else 'MISSED'} {text}")
    return all(met for met, _ in verdicts)


def load_generator():
    try:
        return Fio()
    except cache.Unavailable as error:
        print(f"bench: fio with libblkio cannot be had ({error}); using the small client instead")
        return Small()


def lift_priority():
    """A share of the processors that other work on the machine cannot take away."""
    try:
        pathlib.Path("/proc/self/autogroup").write_text("-20")
        os.setpriority(os.PRIO_PROCESS, 0, -20)
    except OSError as error:
        print(f"bench: runs without priority ({error})")


def _choice(kind, known):
    def parse(text):
        unknown = [name for name in text.split(",") if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"no {kind} {unknown[0]}; there are {', '.join(known)}"
            )
        return [known[name] for name in text.split(",")]

    return parse


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    by_name = {w.name: w for w in WORKLOADS}
    parser.add_argument("--only", type=_choice("workload", by_name), default=list(WORKLOADS))
    names = {name: name for name in SERVERS}
    parser.add_argument("--servers", type=_choice("server", names), default=list(SERVERS))
    parser.add_argument("--mib", type=int, default=1024, help="size of the image")
    parser.add_argument("--dir", help="where the image on a disk goes (ext4 or the like)")
    parser.add_argument("--json", type=pathlib.Path, help="writes all results there")
    parser.add_argument("--no-prio", action="store_true")
    parser.add_argument("--check", action="store_true", help="status 1 when a bar is missed")
    return parser.parse_args()


def main():
    options = parse()
    proc.end_on_sigterm()
    client = load_generator()
    if not options.no_prio:
        lift_priority()
    with proc.scratch(options.dir) as directory:
        images = _images(directory, options.mib)
        try:
            table = collect(options, client, images)
        finally:
            images["tmpfs"].unlink()
    rows = summary(table)
    show(rows)
    met = judge(rows)
    if options.json:
        document = {"schema": "iovd.bench/1", "summary": rows, "rounds": table}
        options.json.write_text(json.dumps(document, indent=1))
    return 1 if options.check and not met else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (proc.Failed, proc.Skipped) as reason:
        sys.exit(f"bench: {reason}")
