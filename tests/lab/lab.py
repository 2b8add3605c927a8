#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab: boots hosts with an IOMMU in virtual machines, and runs topics in them.

    lab.py                          lists hosts and topics
    lab.py HOST[,HOST...] [TOPIC...]

A topic is a program tests/lab/topic_NAME.py; its head says `# lab: IOMMU...`, where it runs, and
`# timeout: SECONDS`; `# needs: WORD...` what else: `guest`, it starts guests of its own; `full-guest`,
such with drivers of hardware; `vf-guest`, such with a virtual function's only; `history`, the history checker; `systemd`, a host with +systemd, where no
others run unless they are named; `asking`, it runs only where it is named: it has yet to show that it is
steady. All topics of a host run in one boot, one after the other; one that ends with inside.reboot() runs
again after the next boot. What they print, the kernel's log and the console are kept in BUILD/lab/HOST/.

Exit status: 0 when something passed and nothing failed, 77 when nothing could run, otherwise 1.
"""
import fcntl
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import typing

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "e2e")]

from guest import blkio, cache, image  # noqa: E402
from lab import hosts, machine  # noqa: E402
from lib.proc import Failed, Skipped, end_on_sigterm  # noqa: E402

DEFAULT_TIMEOUT = 120
# QEMU's TCG now and then aborts (iotlb_to_section) when devices' address spaces change under it.
BOOTS_MOST = 6
# What a topic may need, and how it is made: a host has no network, and finds it in the cache.
NEEDS = {
    "guest": image.qemu,
    "full-guest": image.qemu_full,
    "vf-guest": image.qemu_vf,
    "history": lambda: blkio.client("history_client"),
    "systemd": lambda: None,
    "asking": lambda: None,
}
PASSED, FAILED, SKIPPED = "passed", "FAILED", "SKIP"
_locks = {}  # of hosts' folders, by folder


class Topic(typing.NamedTuple):
    name: str
    path: pathlib.Path
    iommus: tuple
    timeout: int
    needs: tuple  # names in NEEDS


class Verdict(typing.NamedTuple):
    host: str
    topic: str
    result: str
    seconds: float = 0
    why: str = ""

    def __str__(self):
        reason = f": {self.why}" if self.why else ""
        return f"{self.result:7} {self.seconds:6.1f} s  {self.host} {self.topic}{reason}"


def topic(path):
    """Reads the head of a topic."""
    head = "".join(path.read_text().splitlines(keepends=True)[:20])
    where = re.search(r"^# lab: (.+)$", head, re.M)
    limit = re.search(r"^# timeout: (\d+)$", head, re.M)
    needs = re.search(r"^# needs: (.+)$", head, re.M)
    iommus = tuple(where.group(1).split()) if where else ()
    needs = tuple(needs.group(1).split()) if needs else ()
    unknown = set(iommus) - set(hosts.IOMMUS) | set(needs) - set(NEEDS)
    if not iommus or unknown:
        raise Failed(f"{path.name}: its head must have a line '# lab: IOMMU...': {unknown or 'none'}")
    name = path.stem.removeprefix("topic_")
    return Topic(name, path, iommus, int(limit.group(1)) if limit else DEFAULT_TIMEOUT, needs)


def topics():
    """All topics by name."""
    return {t.name: t for t in map(topic, sorted(HERE.glob("topic_*.py")))}


def choose(host, names):
    """The topics that are named, or all that are made for a host."""

    def fits(t):
        asked = "asking" in t.needs
        return host.iommu in t.iommus and host.has_systemd == ("systemd" in t.needs) and not asked

    known = topics()
    missing = [name for name in names if name not in known]
    if missing:
        raise Failed(f"no topic named {', '.join(missing)}; there are: {', '.join(known)}")
    return [known[name] for name in names] or [t for t in known.values() if fits(t)]


def follow(lab, host, wanted, verdicts):
    """Takes the host's events, prints them, adds a verdict per topic. Whether it boots again."""
    limit = machine.deadline(machine.BOOT_SECONDS)
    limits = {t.name: t.timeout for t in wanted}
    while True:
        event = lab.event(limit)
        kind = event["event"]
        if kind == "over":
            return False
        if kind == "reboot":
            lab.wait_down(machine.deadline(machine.GRACE_SECONDS))
            return True
        if kind == "up":
            print(f"    {host.name} is up, its clock says {event['seconds']:.1f} s", flush=True)
            limit = machine.deadline(machine.GRACE_SECONDS)
        elif kind == "begin":
            print(f"--- {host.name} {event['topic']}", flush=True)
            limit = machine.deadline(limits[event["topic"]] + machine.GRACE_SECONDS)
        elif kind == "out":
            print(f"    {event['text']}", flush=True)
        elif kind == "end":
            result = {0: PASSED, 77: SKIPPED}.get(event["status"], FAILED)
            verdicts.append(
                Verdict(host.name, event["topic"], result, event["seconds"], event["why"])
            )
            print(verdicts[-1], flush=True)
            limit = machine.deadline(machine.GRACE_SECONDS)


def folder_of(host):
    """Its folder, emptied, and no other process's until this one ends."""
    folder = pathlib.Path(os.environ["IOVD_BUILD"]).absolute() / "lab" / host.name
    if folder not in _locks:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _locks[folder] = folder.with_name(f"{host.name}.lock").open("w")
        fcntl.flock(_locks[folder], fcntl.LOCK_EX)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def boot(host, folder, wanted, verdicts, reboots=0):
    """One boot of a host, with these topics to run; adds the verdicts of those that ended. True: the
    first of the others asks for a reboot, and runs again after it."""
    begin = time.monotonic()
    job = {
        "environment": {**machine.environment(host), "LAB_BOOT": str(1 + reboots)},
        "topics": [{"name": t.name, "path": str(t.path), "timeout": t.timeout} for t in wanted],
    }
    for need in sorted({need for t in wanted for need in t.needs}):
        NEEDS[need]()
    with machine.Machine(host, folder, job, keeps_disks=reboots > 0) as lab:
        cache.step(f"{host.name}: prepared in {time.monotonic() - begin:.1f} s")
        return follow(lab, host, wanted, verdicts)


def run_host(host, wanted):
    """Boots a host and runs topics in it; their verdicts."""
    verdicts = []
    begin, folder, boots, reboots, why = time.monotonic(), folder_of(host), 0, 0, None
    while why is None and len(verdicts) < len(wanted):
        try:
            boots += 1
            again = boot(host, folder, wanted[len(verdicts):], verdicts, reboots)
            reboots = reboots + 1 if again else 0
            if again and boots == BOOTS_MOST:
                why = "reboots without end"
        except cache.Unavailable as error:
            raise Skipped(str(error)) from error
        except machine.Dead as error:
            print(error, flush=True)
            reboots = 0
            if error.innocent and boots < BOOTS_MOST:
                cache.step(f"{host.name}: boots again: {str(error).splitlines()[0]}")
            else:
                why = str(error).splitlines()[0]
    for t in wanted[len(verdicts):]:
        verdicts.append(Verdict(host.name, t.name, FAILED, 0, why))
        print(verdicts[-1], flush=True)
    for name in ("data.img", "root.img"):
        (folder / name).unlink(missing_ok=True)
    cache.step(f"{host.name}: {time.monotonic() - begin:.1f} s in all; logs in {folder}")
    return verdicts


def build_programs():
    """Makes what topics start besides iovd; hosts may begin at the same time."""
    build = pathlib.Path(os.environ["IOVD_BUILD"]).absolute()
    with (build / "lab-programs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(["make", "-s", "-C", build, "lab-programs"])
    if done.returncode:
        raise Failed("the lab's programs cannot be built")


def run_or_skip(host, chosen):
    """run_host(); where that cannot be, its topics are skipped."""
    elsewhere = [
        t for t in chosen
        if host.iommu not in t.iommus or ("systemd" in t.needs and not host.has_systemd)
    ]
    here = [t for t in chosen if t not in elsewhere]
    verdicts = [Verdict(host.name, t.name, SKIPPED, 0, "not made for it") for t in elsewhere]
    try:
        return verdicts + (run_host(host, here) if here else [])
    except Skipped as reason:
        return verdicts + [Verdict(host.name, t.name, SKIPPED, 0, str(reason)) for t in here]


def run(names, wanted=()):
    """Runs topics (all that are made for it, if none is named) on hosts, each by its full name; all
    verdicts."""
    verdicts = []
    build_programs()
    for host in map(hosts.parse, names):
        verdicts += run_or_skip(host, choose(host, wanted))
    return verdicts


def tell(verdicts):
    """One line for each; those that failed come last, where they are seen."""
    for verdict in sorted(verdicts, key=lambda v: v.result == FAILED):
        cache.step(verdict)


def status(verdicts):
    """The exit status that the verdicts come to."""
    results = {verdict.result for verdict in verdicts}
    if FAILED in results or not results:
        return 1
    return 0 if PASSED in results else 77


def main(argv):
    if not argv:
        print("hosts:  " + " ".join(hosts.IOMMUS) + "   (with -own, "
              + ", ".join(f"+{name}" for name in hosts.VARIANTS) + ")")
        for t in topics().values():
            print(f"topic:  {t.name:12} on {' '.join(t.iommus)}")
        return 0
    end_on_sigterm()
    try:
        verdicts = run(argv[0].split(","), argv[1:])
        tell(verdicts)
        return status(verdicts)
    except Failed as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
