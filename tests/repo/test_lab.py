# SPDX-License-Identifier: GPL-2.0-or-later
"""The lab without booting one: names of hosts, heads of topics, fragments, faults, dead hosts."""
import os
import sys
import tempfile
from pathlib import Path

import tree

sys.path[:0] = [str(tree.TOP / "tests"), str(tree.TOP / "tests" / "e2e")]
sys.path.append(str(tree.TOP / "tests" / "lab"))
os.environ["LAB_IOMMU"] = "vtd"

import inside  # noqa: E402
from lab import devices, hosts, kernels, lab, machine  # noqa: E402

# What the kernels log, and what it means.
FAULTS = (
    ("vtd", "DMAR: [DMA Write NO_PASID] Request device [05:00.0] fault addr 0x2000000 [fault "
     "reason 0x05] PTE Write access is not set", "0000:05:00.0", 0x2000000),
    ("vtd", "DMAR: [DMA Read NO_PASID] Request device [0000:05:00.0] fault addr 0x2000 [fault",
     "0000:05:00.0", 0x2000),
    ("amdvi", "vfio-pci 0000:00:10.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0000 "
     "address=0x10 flags=0x000a]", "0000:00:10.0", 0x10),
    ("virtio", "virtio_iommu virtio0: page fault from EP 1281 at 0x2000000 []", "0000:05:00.1",
     0x2000000),
    ("smmuv3", "\n".join(f"arm-smmu-v3 arm-smmu-v3.0.auto: {line}" for line in (
        "event 0x10 received:", "\t0x0000060000000010", "\t0x0000020000000000",
        "\t0x0000000043a00004", "\t0x0000000000000000")), "0000:06:00.0", 0x43a00004),
)
# Heads of topics: where they run, how long, what they need; None: not a head.
HEADS = (
    ("# lab: vtd virtio\n# timeout: 7\n", (("vtd", "virtio"), 7, ())),
    ("# lab: smmuv3\n", (("smmuv3",), lab.DEFAULT_TIMEOUT, ())),
    ("# lab: vtd\n# needs: systemd history\n",
     (("vtd",), lab.DEFAULT_TIMEOUT, ("systemd", "history"))),
    ("# timeout: 7\n", None),
    ("# lab: vtd nonsense\n", None),
    ("# lab: vtd\n# needs: nonsense\n", None),
)
NAMES = (
    ("vtd", ("vtd", "debian", ())),
    ("amdvi-own", ("amdvi", "own", ())),
    ("vtd-own+pt+strict", ("vtd", "own", ("pt", "strict"))),
    ("vtx", None), ("vtd-ours", None), ("vtd+fast", None), ("", None),
)
# How the boots of a host end, one after the other: how many topics ended before, the cause of its
# death (None: it lived; REBOOT: it boots again), and whether that was innocent. Then what the topics
# come to, and how often the host was rebooted when it booted.
REBOOT = "reboot"
BOOTS = (
    ([(3, None, False)], [lab.PASSED] * 3, [0]),
    ([(0, "no boot", True), (3, None, False)], [lab.PASSED] * 3, [0, 0]),
    ([(1, "abort", True), (2, None, False)], [lab.PASSED] * 3, [0, 0]),
    ([(1, "panic", False)], [lab.PASSED, lab.FAILED, lab.FAILED], [0]),
    ([(0, "no boot", True)] * lab.BOOTS_MOST, [lab.FAILED] * 3, [0] * lab.BOOTS_MOST),
    ([(1, REBOOT, False), (0, REBOOT, False), (2, None, False)], [lab.PASSED] * 3, [0, 1, 2]),
    ([(1, REBOOT, False), (0, "abort", True), (2, None, False)], [lab.PASSED] * 3, [0, 1, 0]),
    ([(1, REBOOT, False)] + [(0, REBOOT, False)] * (lab.BOOTS_MOST - 1),
     [lab.PASSED, lab.FAILED, lab.FAILED], list(range(lab.BOOTS_MOST))),
)


def raised(call, *words):
    try:
        return call(*words)
    except lab.Failed:
        return None


def check_faults():
    for iommu, text, device, address in FAULTS:
        found = [inside._fault(f)[:2] for f in inside.FAULTS[iommu].finditer(f"x\n{text}\ny")]
        if found != [(device, address)]:
            yield f"{iommu}: {text!r} is taken for {found}"


def check_heads():
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "topic_x.py"
        for head, wanted in HEADS:
            path.write_text(head)
            topic = raised(lab.topic, path)
            if (topic and (topic.iommus, topic.timeout, topic.needs)) != wanted:
                yield f"head {head!r}: {topic}"
    lab.topics()  # and those that there are


def check_names():
    for name, wanted in NAMES:
        host = raised(hosts.parse, name)
        if (host and (host.iommu, host.kernel, host.variants)) != wanted:
            yield f"host '{name}': {host}"


def check_fragments():
    if kernels.dropped("CONFIG_A=y\n# CONFIG_B\nCONFIG_C=m\n", "CONFIG_A=y\nCONFIG_C=y\n") != [
            "CONFIG_C=m"]:
        yield "a dropped line is not seen"
    for architecture in kernels.TARGETS:
        lines = "".join(path.read_text() for path in kernels.fragments(architecture)).splitlines()
        options = [line.split("=")[0] for line in lines if line.startswith("CONFIG_")]
        yield from (f"{architecture}: {o} twice" for o in set(options) if options.count(o) > 1)


def check_roles():
    slots = [role.slot for role in devices.ROLES.values()]
    if len(set(slots)) != len(slots):
        yield "two roles share a slot"


def check_boots():
    """run_host(), with a boot that only tells how it ended."""
    wanted = [lab.Topic(name, Path(name), ("vtd",), 1, ()) for name in "abc"]
    for ends, results, counts in BOOTS:
        left, counted = list(ends), []

        def boot(host, _folder, topics, verdicts, reboots):
            count, cause, innocent = left.pop(0)
            counted.append(reboots)
            verdicts += [lab.Verdict(host.name, t.name, lab.PASSED) for t in topics[:count]]
            if cause == REBOOT:
                return True
            if cause:
                raise machine.Dead(cause, innocent)
            return False

        lab.boot = boot
        seen = [verdict.result for verdict in lab.run_host(hosts.parse("vtd"), wanted)]
        if seen != results or left or counted != counts:
            yield f"boots {ends}: {seen}, reboots {counted}, not made: {left}"


def main():
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["IOVD_BUILD"] = folder
        for check in (check_faults, check_heads, check_names, check_fragments, check_roles,
                      check_boots):
            problems += check()
    tree.finish(problems, "lab")


main()
