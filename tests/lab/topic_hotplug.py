# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 180
"""A device that is plugged in gets the driver that is kept for it; one that is not it, does not."""
import sqlite3

import inside
from inside import PCI, Iovd, device, driver_of, expect, expect_equal, wait_for, write

# How a job ends whose device was pulled out again before iovd had come to it.
PULLED = ("is gone", "is not there")
DRIVER = "igb"  # which the host has loaded, and which takes its devices as they come


def replug(bdf):
    """Out and in again, without a moment between."""
    write(PCI / bdf / "remove", 1)
    expect(not (PCI / bdf).exists(), f"{bdf} is there after it was removed")
    write("/sys/bus/pci/rescan", 1)
    expect((PCI / bdf).exists(), f"{bdf} does not come back")


def wait_driver(bdf, driver, what):
    wait_for(lambda: driver_of(bdf) == driver, f"{bdf} to have {driver}: {what}")


def check_others(iovd, bdf):
    """Whoever is not bound for good is the host's again."""
    replug(bdf)
    wait_driver(bdf, DRIVER, "nothing is kept for it")
    wait_for(lambda: iovd.ok("show", bdf)["device"]["driver"] == DRIVER, "iovd to see it")


def check_kept(iovd, bdf):
    iovd.ok("bind", bdf, "vfio")
    for turn in range(3):
        replug(bdf)
        wait_driver(bdf, "vfio-pci", f"turn {turn}")
    jobs = [j for j in iovd.ok("list", "jobs")["jobs"] if bdf in str(j)]
    failed = [j for j in jobs if j["state"] == "failed" and not j["error"].endswith(PULLED)]
    expect(not failed, f"a job failed: {failed}")


def check_by_hand(iovd, bdf):
    """What an administrator does himself to a device that stays plugged in is left alone."""
    inside.unbind(bdf)
    wait_driver(bdf, DRIVER, "it was given to it by hand")
    wait_for(lambda: iovd.ok("show", bdf)["device"]["driver"] == DRIVER, "iovd to see it")
    expect_equal(driver_of(bdf), DRIVER, "driver, once iovd has seen it")
    replug(bdf)
    wait_driver(bdf, "vfio-pci", "plugged in anew")


def check_other_device(scratch, iovd, bdf):
    """Another device in the same place: as if the kept row were of one that had been there before."""
    with sqlite3.connect(scratch / "state/iovd.db") as store:
        (before,) = store.execute("SELECT fingerprint FROM binding").fetchone()
        store.execute("UPDATE binding SET fingerprint = 'another'")
    replug(bdf)
    wait_driver(bdf, DRIVER, "it is another device")
    wait_for(lambda: "another device is in its place" in iovd.log(), "iovd to say so")
    expect_equal(driver_of(bdf), DRIVER, "driver of another device")
    with sqlite3.connect(scratch / "state/iovd.db") as store:
        store.execute("UPDATE binding SET fingerprint = ?", (before,))
    replug(bdf)
    wait_driver(bdf, "vfio-pci", "it is the same again")


def release(iovd, bdf):
    """Asked again while iovd still works on the device itself: it was plugged in just now."""
    answers = []

    def asked():
        answers.append(iovd.iovctl("release", bdf))
        return "JOB-BUSY" not in answers[-1].text

    wait_for(asked, "iovd to be done with the device")
    expect_equal(answers[-1].status, 0, f"exit status of release: {answers[-1].text}")


def check_released(iovd, bdf):
    release(iovd, bdf)
    wait_driver(bdf, DRIVER, "released")
    check_others(iovd, bdf)


def test(scratch):
    bdf = device("igb")
    with Iovd(scratch) as iovd:
        check_others(iovd, bdf)
        check_kept(iovd, bdf)
        check_by_hand(iovd, bdf)
        check_other_device(scratch, iovd, bdf)
        check_released(iovd, bdf)
    return "plugged in 8 times"


inside.main(test)
