# SPDX-License-Identifier: GPL-2.0-or-later
# lab: vtd amdvi virtio smmuv3
# timeout: 180
"""A device of 28 address bits gets 64 MiB of scattered pages as one range that it reaches."""
import random

import inside
from inside import device, expect, expect_equal
from owner import MEBI, Owner, give_back, take

BITS, SIZE, TRIES = 28, 64 * MEBI, 24


def page_text(page):
    return f"page-{page:08d}"


def check_page(owner, edu, where, page):
    """The device finds at its address what the process has in its page, and the other way."""
    text, offset = page_text(page), page * inside.PAGE
    owner.do("poke", 0, offset, text)
    owner.do("fetch", edu, where + offset, len(text))
    owner.do("store", edu, where + offset + inside.PAGE - len(text), len(text))
    expect_equal(owner.peek(0, offset + inside.PAGE - len(text), len(text)), text, f"page {page}")


def test(_):
    edu = device("edu28")
    take(edu)
    with Owner() as owner:
        owner.open_master(edu)
        where = owner.buffer(0, SIZE, BITS, "scattered")
        fragments, pages = int(owner.do("fragments", 0)[0]), SIZE // inside.PAGE
        expect(fragments > pages // 2, f"{pages} pages in {fragments} pieces are not scattered")
        expect(where + SIZE <= 1 << BITS, f"{where:#x} is not all below {BITS} bits")
        chosen = {0, pages - 1, *random.sample(range(pages), TRIES)}
        for page in sorted(chosen):
            check_page(owner, edu, where, page)
        # What it has got is not given again, and what is left is below its mask, too.
        second = owner.buffer(1, 16 * MEBI, BITS)
        expect(second + 16 * MEBI <= min(1 << BITS, where) or second >= where + SIZE, "overlap")
        expect(second + 16 * MEBI <= 1 << BITS, f"{second:#x} is not below {BITS} bits")
        owner.refused("IOVA-NOSPC", "buffer", 2, 256 * MEBI, BITS)
        wide = owner.buffer(3, MEBI)
        expect(wide >= 1 << 32, f"{wide:#x} takes an address that narrow devices need")
    give_back(edu)
    return f"{pages} pages in {fragments} pieces, at {where:#x}; {len(chosen)} of them tried"


inside.main(test)
