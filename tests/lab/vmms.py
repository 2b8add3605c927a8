# SPDX-License-Identifier: GPL-2.0-or-later
"""VMMs that topics give devices to, and what is asked of their attachments."""
import contextlib
import datetime
import json
import signal
import subprocess

import inside
from inside import Failed, expect, expect_equal, lab_program, load_kvm, program, wait_for


class SmallVmm:
    """tests/lab/small_vmm.c: an edu that writes into its memory without end; or other `words` that
    come to that."""

    def __init__(self, bdf, mebibytes=64, words=()):
        self._process = subprocess.Popen(
            words or [lab_program("small_vmm"), bdf, str(mebibytes)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        first = self._process.stdout.readline()
        if first != "running\n":
            raise Failed(f"small_vmm does not run: {self._process.communicate()[1]}")

    @property
    def pid(self):
        return self._process.pid

    def kill(self):
        """kill -9. Its end is awaited, the kernel's letting go of the device is not."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self._process.stdout.close()
        self._process.stderr.close()


class Events:
    """What `iovctl watch` tells, while the context lasts: when a state began, by the daemon's clock."""

    def __init__(self, iovd):
        words = [program("iovctl"), "-s", iovd.socket, "-o", "jsonl", "watch"]
        self._process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        expect("watching" in self._process.stdout.readline(), "watch does not begin")

    def wait(self, attachment, state):
        """The time of the next event by which an attachment came to be in a state."""
        for line in self._process.stdout:
            event = json.loads(line)
            data = event["data"] or {}
            if event["kind"] == "attachment" and data["id"] == attachment and data["state"] == state:
                return datetime.datetime.fromisoformat(event["time"]).timestamp()
        raise Failed("watch has ended")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


def shown(iovd, attachment):
    return iovd.ask("Show", name=attachment)["attachment"]


def wait_state(iovd, attachment, state, seconds=20):
    """Waits until an attachment is in a state; what it shows then."""
    seen = []

    def reached():
        seen[:] = [shown(iovd, attachment)]
        return seen[0]["state"] == state

    try:
        wait_for(reached, f"{attachment} to become {state}", seconds)
    except Failed as error:
        raise Failed(f"{error}: {seen[0]}") from error
    return seen[0]


def attach(iovd, bdf, vm, *words):
    """Attaches a function, which is ready then; what it shows."""
    done = iovd.ok("attach", bdf, vm, *words)["attachment"]
    expect_equal((done["state"], done["path"]), ("ready", "passthrough"), f"{bdf} attached")
    return done


@contextlib.contextmanager
def attached(iovd, bdf, vm, *words):
    """A function attached, while the context lasts: its id. However that ends, the host has it again, as
    later topics expect."""
    attachment = attach(iovd, bdf, vm, *words)["id"]
    try:
        yield attachment
        iovd.ok("detach", attachment)
    finally:
        if inside.driver_of(bdf) == "vfio-pci":  # only where the topic failed
            iovd.iovctl("detach", attachment)
            inside.unbind(bdf)


@contextlib.contextmanager
def nested_guest(scratch, args, memory=256):
    """A Linux guest under KVM in the lab host, with more words for QEMU."""
    from lib import guest, proc

    load_kvm()
    guest.accelerator = lambda kernel=None: ("kvm", "host")  # whether it works is not asked: it must
    proc.PATIENCE *= 5  # an emulated machine in an emulated machine
    with guest.Qemu(scratch, args, memory=memory) as machine:
        yield machine
