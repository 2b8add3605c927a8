#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The tests of libvirt's domains with the libvirtd and QEMU of Debian 13, in a root of their own:
./dev campaign libvirt-13 [NAME]..., names as in tests/e2e/test_NAME.py."""
import importlib
import pathlib
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "e2e"), str(TESTS)]

from guest import cache  # noqa: E402
from lab import libvirt_root  # noqa: E402
from lib.proc import Skipped  # noqa: E402
from lib.report import main  # noqa: E402

NAMES = sys.argv[1:] or ["domains", "domain_attach", "domain_start"]


def campaign(scratch):
    try:
        base = libvirt_root.libvirt()
    except cache.Unavailable as error:
        raise Skipped(str(error)) from error
    for name in NAMES:
        room = scratch / name
        room.mkdir()
        cache.progress(f"{name}: {importlib.import_module(f'test_{name}').test(room, base)}")
    return f"{', '.join(NAMES)} with libvirt of {base}"


main(campaign)
