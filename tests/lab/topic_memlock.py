# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 120
"""Locked memory: the sum that is told is the one that the kernel counts, to the page."""
import re

import inside
from inside import device, expect, expect_equal
from owner import API, MEBI, Owner, give_back, take

COUNTER = {"type1": "type1 counts it for the process", "iommufd": "iommufd counts it for the user"}


def needed(sentence):
    """The limit that a refusal asks for, in bytes."""
    return int(re.search(r"set the limit to (\d+) KiB", sentence).group(1)) << 10


def refusal(edu, limit):
    with Owner() as owner:
        owner.open(edu)
        owner.do("limit", limit)
        owner.buffer(0, MEBI)
        sentence = owner.refused("MEMLOCK", "buffer", 1, 3 * MEBI, 64)
        expect(COUNTER[API] in sentence, f"who counts: {sentence}")
        print(sentence)
        return needed(sentence)


def test(_):
    edu = device("edu_a")
    take(edu)
    sum_told = refusal(edu, 2 * MEBI)
    expect_equal(sum_told, 4 * MEBI, "the sum")
    expect_equal(refusal(edu, sum_told - inside.PAGE), sum_told, "the sum, a page below it")
    with Owner() as owner:
        owner.open(edu)
        owner.do("limit", sum_told)
        owner.buffer(0, MEBI)
        owner.buffer(1, 3 * MEBI)
        # What is unmapped counts no more.
        owner.refused("MEMLOCK", "buffer", 2, inside.PAGE, 64)
        owner.do("unmap", 0)
        owner.buffer(2, MEBI)
    give_back(edu)
    return f"{sum_told >> 10} KiB, as told"


inside.main(test)
