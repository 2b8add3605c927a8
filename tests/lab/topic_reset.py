# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 180
"""Resets: of a function alone, of all on a bus, of none; and the check that sees what is wrong."""
import inside
from inside import device, devices, expect, expect_equal
from owner import Owner, give_back, take


def alone(owner, bdf):
    """A function that is reset alone; what the check sees."""
    function, *_ = owner.do("resets", bdf)
    expect_equal(function, "function", f"resets of {bdf}: {owner.do('resets', bdf)}")
    owner.do("master", bdf, "on")
    owner.do("reset", bdf)
    expect_equal(owner.do("master", bdf), ["off"], f"bus mastering of {bdf} after its reset")
    owner.do("check", bdf)


def check_sees(owner, bdf):
    """A device that is wrong is found wrong."""
    inside.bus_master(bdf, True)
    expect("bus master" in owner.refused("DEV-RESET", "check", bdf), "the wrong reason")
    owner.do("master", bdf, "off")
    bar = inside.config(bdf, 0x10, 4)
    write_config(bdf, 0x10, 0)
    expect("BAR 0" in owner.refused("DEV-RESET", "check", bdf), "the wrong reason")
    write_config(bdf, 0x10, bar)
    owner.do("check", bdf)


def write_config(bdf, offset, value):
    with open(inside.PCI / bdf / "config", "r+b", buffering=0) as file:
        file.seek(offset)
        file.write(value.to_bytes(4, "little"))


def together(pair):
    """Two on one bus: none is reset alone, both are by their bus."""
    first, second = pair
    with Owner() as owner:
        owner.open(first)
        function, bus, *companions = owner.do("resets", first)
        expect_equal((function, bus), ("-", "bus"), f"resets of {first}")
        expect({c.split("=")[0] for c in companions} >= set(pair), f"companions: {companions}")
        sentence = owner.refused("DEV-NO-RESET", "reset", first)
        print(sentence)
        owner.open(second)
        for bdf in pair:
            owner.do("master", bdf, "on")
        owner.do("reset", first, "bus")
        for bdf in pair:
            expect_equal(owner.do("master", bdf), ["off"], f"bus mastering of {bdf}")
            owner.do("check", bdf)


def test(_):
    single, nvme, pair = device("edu_a"), device("nvme"), devices(inside.UNSPLIT)
    take(single, nvme, *pair)
    with Owner() as owner:
        for bdf in (single, nvme):
            owner.open(bdf)
            alone(owner, bdf)
            check_sees(owner, bdf)
    together(pair)
    give_back(single, nvme, *pair)
    return "reset alone, reset by bus, refused; wrong states are seen"


inside.main(test)
