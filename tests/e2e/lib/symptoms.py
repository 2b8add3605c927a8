# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest under QEMU that no longer answers looks like from outside.

A wait that timed out is a riddle: a lost kick, a lost call, a processor that sleeps through its
interrupt, or only a slow machine? The rings' indexes and the processor's state tell them apart:

    avail over used         requests are with the server (or it has not heard of them: see
                            avail_event, the index at which it wants to be kicked)
    avail equal to used     all is answered; used_event is where the guest wants to be called
    HLT=1                   the processor sleeps
"""
import re

from .proc import Failed

# Never more than this for each question: QEMU may be the one that hangs.
_SECONDS = 3


def _ask(qmp, name, **arguments):
    return qmp.command(name, seconds=_SECONDS, **arguments)


def _monitor(qmp, line):
    return _ask(qmp, "human-monitor-command", **{"command-line": line})


def _word(qmp, address):
    """A 16-bit word of the guest's memory."""
    return int(_monitor(qmp, f"xp /1hx {address:#x}").split(":")[1], 16)


def _ring(qmp, path, queue):
    ring = _ask(qmp, "x-query-virtio-vhost-queue-status", path=path, queue=queue)
    avail, used, size = ring["avail-phys"], ring["used-phys"], ring["num"]
    words = {
        "avail": avail + 2,
        "used": used + 2,
        "used_event": avail + 4 + 2 * size,
        "avail_event": used + 4 + 8 * size,
    }
    told = ", ".join(f"{name} {_word(qmp, at)}" for name, at in words.items())
    return f"{path} ring {queue} of {size}: {told}"


def _rings(qmp):
    for device in _ask(qmp, "x-query-virtio"):
        status = _ask(qmp, "x-query-virtio-status", path=device["path"])
        for queue in range(status.get("vhost-dev", {}).get("nvqs", 0)):
            yield _ring(qmp, device["path"], queue)


def _processors(qmp):
    registers = _monitor(qmp, "info registers -a")
    for found in re.findall(r"RIP=\w+|HLT=\d", registers):
        yield found


def _kinds(qmp):
    yield f"state {_ask(qmp, 'query-status')['status']}"
    yield f"migration {_ask(qmp, 'query-migrate').get('status', 'none')}"
    yield " ".join(_processors(qmp))
    yield from _rings(qmp)


def look(qmp):
    """Lines for a message; never raises, for it is asked where something has failed already."""
    lines = ["QEMU's view:"]
    try:
        lines.extend(_kinds(qmp))
    except (Failed, OSError, KeyError, ValueError, IndexError) as error:
        lines.append(f"(no more: {error!r})")
    return "\n    ".join(lines)
