# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may include whom: the table of HACKING.md, held against every #include of the tree."""
import re

import tree

BASE = (
    "err", "log", "cleanup", "buf", r"codes\w*", "crc32c", "fault", "fdio", "list", "nbd_uri", "util",
    "watch", "xml",
)

# The rooms, most special first; a file belongs to the first that matches its name.
ROOMS = (
    ("base", rf"lib/({'|'.join(BASE)})\.[ch]"),
    ("iommu", r"lib/iommu/.*"),
    ("backends", r"lib/backends/.*"),
    ("migrate", r"lib/migrate/.*"),
    ("host", r"lib/[^/]*"),
    ("proto", r"proto/.*"),
    ("cli", r"cli/.*"),
    ("worker", r"daemon/worker_.*"),
    ("daemon", r"daemon/.*"),
    ("tests", r"tests/.*"),
)

# What a room may include of ours: rooms, or single headers. Itself always.
MAY_INCLUDE = {
    "base": (),
    "host": ("base",),
    "iommu": ("base", "lib/kmod.h", "lib/sysfs.h", "lib/pci.h"),
    "backends": ("base", "lib/iommu/iommu.h"),
    "migrate": ("base", "lib/journal.h", "lib/backends/backend.h", "lib/backends/inflight.h"),
    "proto": ("base",),
    "cli": ("proto", "base", "lib/migrate/iostate.h", "lib/migrate/iostate_file.h"),
    "worker": ("base", "backends", "iommu", "daemon/keeper_proto.h"),
    "daemon": ("base", "host", "iommu", "backends", "migrate", "proto", "worker"),
    "tests": ("base", "host", "iommu", "backends", "migrate", "proto", "worker", "daemon", "cli"),
}

# Each outside library has one home; tests may use any.
HOMES = (
    (r"event2?/.*|event\.h", r"daemon/loop\.c"),
    (r"sqlite3\.h", r"lib/store\.c"),
    (r"netlink/.*", r"lib/netlink\.c"),
    (r"libvirt/.*", r"lib/virt(_\w+)?\.[ch]"),
    (r"json-c/.*|json\.h", r"proto/.*|cli/out_json\.c"),
    (r"liburing\.h", r"lib/backends/((blk|net)_)?uring\.[ch]"),
    (r"linux/(vfio|iommufd)\.h", r"lib/iommu/.*"),
    (r"libnbd\.h", r"lib/backends/blk_nbd\.c"),
    (r"seccomp\.h|cap-ng\.h", r"daemon/worker_sandbox\.c"),
    (r"libkmod\.h", r"lib/kmod\.c"),
    (r"pci/.*", r"lib/pci\.c"),
    (r"systemd/.*", r"daemon/notify\.c"),
    (r"check\.h", r"tests/.*"),
)

GENERATED = ("config.h",)


def room_of(name):
    for room, pattern in ROOMS:
        if re.fullmatch(pattern, name):
            return room
    return None


def check_own(name, header, known):
    """Why `name` may not include our `header`, or None."""
    if header in GENERATED:
        return None
    if header not in known:
        return "is no file of the tree (names are relative to the top)"
    here, there = room_of(name), room_of(header)
    if here is None or there is None:
        return f"{name if here is None else header} is in no room of the table"
    if here == there or there in MAY_INCLUDE[here] or header in MAY_INCLUDE[here]:
        return None
    return f"{here} may not include {there}"


def check_outside(name, header, known):
    """Why `name` may not include the outside `header`, or None."""
    if header in known:
        return "is ours: write it in quotes"
    for pattern, home in HOMES:
        if re.fullmatch(pattern, header):
            allowed = re.fullmatch(home, name) or room_of(name) == "tests"
            return None if allowed else f"has its home in {home}"
    return None


def check_file(name, content, known):
    problems = []
    for number, line in enumerate(content.splitlines(), 1):
        found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not found:
            continue
        check = check_own if found.group(1) == '"' else check_outside
        why = check(name, found.group(2), known)
        if why:
            problems.append(f"{name}:{number}: {found.group(2)}: {why}")
    return problems


# Each sample is one file with one include, and whether the check must object.
SAMPLES = (
    ("lib/err.c", '"lib/util.h"', False),
    ("lib/err.c", '"lib/sysfs.h"', True),
    ("lib/pci.c", '"lib/sysfs.h"', False),
    ("lib/pci.c", '"lib/backends/virtq.h"', True),
    ("lib/iommu/bind.c", '"lib/sysfs.h"', False),
    ("lib/iommu/bind.c", '"lib/store.h"', True),
    ("lib/backends/blk.c", '"lib/sysfs.h"', True),
    ("lib/backends/blk.c", '"lib/iommu/iommu.h"', False),
    ("proto/client.c", '"daemon/server.h"', True),
    ("cli/main.c", '"proto/client.h"', False),
    ("cli/main.c", '"daemon/server.h"', True),
    ("cli/main.c", '"lib/sysfs.h"', True),
    ("cli/main.c", '"lib/migrate/iostate.h"', False),
    ("cli/main.c", '"lib/migrate/stages.h"', True),
    ("daemon/server.c", '"cli/cmd.h"', True),
    ("daemon/server.c", '"lib/sysfs.h"', False),
    ("daemon/worker_main.c", '"daemon/server.h"', True),
    ("daemon/worker_main.c", '"lib/backends/virtq.h"', False),
    ("daemon/server.c", '"lib/absent.h"', True),
    ("daemon/server.c", '"config.h"', False),
    ("daemon/server.c", "<lib/err.h>", True),
    ("daemon/server.c", "<sqlite3.h>", True),
    ("lib/store.c", "<sqlite3.h>", False),
    ("lib/store.h", "<sqlite3.h>", True),
    ("daemon/loop.c", "<event2/event.h>", False),
    ("daemon/server.c", "<event2/event.h>", True),
    ("tests/unit/test_store.c", "<sqlite3.h>", False),
    ("odd/place.c", '"lib/err.h"', True),
)
SAMPLE_TREE = {"lib/util.h", "lib/err.h", "lib/sysfs.h", "lib/store.h", "lib/iommu/iommu.h",
               "lib/migrate/iostate.h", "lib/migrate/stages.h",
               "lib/backends/virtq.h", "proto/client.h", "daemon/server.h", "cli/cmd.h"}


def self_test():
    """The check itself: a bad include must be found, a good one must not."""
    problems = []
    for name, include, bad in SAMPLES:
        found = check_file(name, f"#include {include}\n", SAMPLE_TREE)
        if bool(found) != bad:
            problems.append(f"self-test: {name} with {include}: {'not ' * bad}found {found}")
    return problems


def main():
    problems = self_test()
    names = tree.files(".c", ".h")
    if not names:
        problems.append("no C file found: nothing was checked")
    known = set(names)
    for name in names:
        problems += check_file(name, tree.text(name), known)
    tree.finish(problems, "includes")


main()
