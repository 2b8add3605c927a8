#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes this host's facts as a tree for `iovd --sysroot`.

    ./dev record [--anonymous] DIR

Only what iovd reads is written (PATHS, below), links as links, and device nodes as empty files.
That includes names of interfaces, mount points, MAC addresses and serial numbers: with --anonymous
the last three are replaced by made-up ones, the same for the same, so that relations stay (those in
configuration spaces by zeros). Left out are mounts of nothing (proc, tmpfs, ...), and all routes but the default one.

Run it as root: some facts are for root only. To keep a tree: tar -C DIR -cJf NAME.tar.xz .
"""
import argparse
import glob
import hashlib
import os
import re
import sys
from pathlib import Path

# What lib/device_*.c, lib/iommu/*.c, daemon/host_claims.c and daemon/*facts*.c read; a test compares the answers
# from a tree recorded here with those from the host.
PATHS = (
    ("/sys/bus/pci/devices/*/", """vendor device subsystem_vendor subsystem_device class numa_node
        reset_method sriov_totalvfs driver iommu_group iommu physfn virtfn* config resource boot_vga
        dma_mask_bits power_state aer_dev_fatal modalias vfio-dev current_link_width
        max_link_width current_link_speed max_link_speed"""),
    ("/sys/devices/platform/*/", "of_node/iommu-map of_node/iommu-map-mask"),
    ("/sys/firmware/acpi/tables/", "DMAR IVRS IORT VIOT"),
    ("/sys/class/iommu/", "*"),
    ("/sys/class/iommu/*/", "intel-iommu/cap intel-iommu/ecap"),
    ("/sys/class/misc/", "vfio"),
    ("/sys/module/*/parameters/", "allow_unsafe_interrupts enable_unsafe_noiommu_mode disable_denylist"),
    ("/proc/", "cpuinfo interrupts meminfo"),
    ("/proc/sys/kernel/", "osrelease io_uring_disabled yama/ptrace_scope seccomp/actions_avail"),
    ("/sys/class/net/*/", """address addr_assign_type dev_port ifindex operstate uevent master
        lower_* device/driver"""),
    ("/sys/class/block/*/", """dev size ro removable hidden partition start
        queue/logical_block_size queue/rotational holders/* slaves/* loop/backing_file
        dm/name dm/uuid md/level md/uuid serial wwid device/serial device/wwid device/cid
        device/model device/vpd_pg80 device/driver device/device/driver device/nvme*"""),
    ("/sys/kernel/iommu_groups/*/", "type reserved_regions devices/*"),
    ("/sys/fs/btrfs/*/devices/", "*"),
    ("/sys/fs/bcache/*/", "bdev[0-9]* cache[0-9]*"),
    ("/sys/dev/block/", "*"),
)
FOLDERS = ("sys/bus/pci/devices", "sys/class/net", "sys/class/block", "sys/firmware/acpi/tables")
NODES = ("/dev/kvm", "/dev/iommu", "/dev/vfio/vfio")
# The words of the kernel's command line that rules know; others name disks and hosts.
WORDS = r"(intel_|amd_)?iommu\b|pcie?_|pci=|intremap|nointremap|vfio|iommufd"
# Tables of /proc, and which of their lines: of the routes only the default ones.
TABLES = {"proc/swaps": "", "proc/net/route": r"\S+\s+0{8}\s", "proc/net/ipv6_route": "0{32} 00 "}
MAX_BYTES = 65536


def without_serial(config):
    """A PCI configuration space whose device serial number (extended capability 3) is zero."""
    data = bytearray(config)
    at, seen = 0x100, set()
    while 0x100 <= at <= len(data) - 12 and at not in seen:
        seen.add(at)
        header = int.from_bytes(data[at:at + 4], "little")
        if header & 0xffff == 3:
            data[at + 4:at + 12] = bytes(8)
        at = header >> 20 & 0xffc
    return bytes(data)


class Recorder:
    def __init__(self, top, anonymous):
        self.top = top
        self.anonymous = anonymous

    def place(self, path):
        where = self.top / path.lstrip("/")
        where.parent.mkdir(parents=True, exist_ok=True)
        return where

    def link(self, path):
        where = self.place(path)
        if not where.is_symlink():
            where.symlink_to(os.readlink(path))

    def file(self, path, data):
        self.place(path).write_bytes(data)

    def walk(self, path):
        """Records the links on the way to `path`; returns the path without them."""
        done = ""
        parts = path.strip("/").split("/")
        while parts:
            part = parts.pop(0)
            if part == "..":
                done = os.path.dirname(done)
                continue
            step = f"{done}/{part}"
            if os.path.islink(step) and parts:
                self.link(step)
                target = os.readlink(step)
                if target.startswith("/"):
                    done = ""
                parts = [p for p in target.split("/") if p not in ("", ".")] + parts
            else:
                done = step
        return done

    def record(self, path):
        try:
            path = self.walk(path)
            if os.path.islink(path):
                self.link(path)
            elif os.path.isdir(path):
                (self.top / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif os.path.isfile(path):
                with open(path, "rb") as f:
                    self.file(path, self.hide(os.path.basename(path), f.read(MAX_BYTES)))
        except OSError as e:  # an attribute may say that it has no value; a device may go away
            if path.startswith("/proc"):
                raise
            print(f"left out: {path}: {e.strerror}", file=sys.stderr)

    def made_up(self, text):
        return hashlib.sha256(text.encode()).hexdigest()

    def hide(self, name, data):
        if not self.anonymous or not data.strip():
            return data
        if name == "config":
            return without_serial(data)
        text = data.decode(errors="replace").strip()
        if name == "address" and re.fullmatch("[0-9a-f:]+", text) and text.strip("0:"):
            digits = "02" + self.made_up(text)[:10]
            return (":".join(re.findall("..", digits)) + "\n").encode()
        if name in ("serial", "wwid", "cid", "uuid", "backing_file"):
            start = "/" if name == "backing_file" else text.split(".")[0] + "." if "." in text else ""
            return f"{start}{self.made_up(text)[:16]}\n".encode()
        if name == "vpd_pg80":
            serial = self.made_up(text)[:16].encode()
            return b"\0\x80" + len(serial).to_bytes(2, "big") + serial
        return data

    def node(self, path):
        """A name in /dev: a link, or a node of its own, which becomes a link to the kernel's name."""
        number = os.stat(path).st_rdev
        try:
            name = os.path.basename(os.readlink(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}"))
        except FileNotFoundError:
            return  # dm's control node, a tape, ...
        if os.path.islink(path):
            self.link(path)
        else:
            up = "../" * (path.count("/") - 2)
            self.place(path).symlink_to(up + name.replace("!", "/"))

    def mounts(self):
        """Ours and those of the host's first process: in a container they differ."""
        for path in "/proc/self/mountinfo", "/proc/1/mountinfo":
            try:
                self.file(path, self.mount_lines(path).encode(errors="surrogateescape"))
            except PermissionError:
                if path == "/proc/self/mountinfo":
                    raise

    def mount_lines(self, path):
        lines = []
        with open(path, encoding="utf-8", errors="surrogateescape") as f:
            for line in f:
                words = line.split(" ")
                source = words[words.index("-") + 2]
                if words[2].startswith("0:") and not source.startswith("/dev/"):
                    continue
                if self.anonymous:
                    words[3] = "/"
                    words[4] = words[4] if words[4] == "/" else "/" + self.made_up(words[4])[:8]
                    words[5] = "rw"
                    line = " ".join(words[:words.index("-") + 3]) + " rw\n"
                lines.append(line)
        return "".join(lines)

    def all(self):
        for folder in FOLDERS:
            (self.top / folder).mkdir(parents=True, exist_ok=True)
        for folder, names in PATHS:
            for name in names.split():
                for path in glob.glob(folder + name):
                    self.record(path)
        for path in glob.glob("/dev/disk/*/*") + glob.glob("/dev/mapper/*"):
            self.node(path)
        for table, wanted in TABLES.items():
            if os.path.exists("/" + table):
                lines = Path("/" + table).read_text(errors="surrogateescape").splitlines(True)
                lines = [line for line in lines if re.match(wanted, line)]
                self.file("/" + table, "".join(lines).encode(errors="surrogateescape"))
        self.mounts()
        words = Path("/proc/cmdline").read_text(errors="replace").split()
        self.file("/proc/cmdline", (" ".join(w for w in words if re.match(WORDS, w)) + "\n").encode())
        self.file("/proc/self/limits", Path("/proc/self/limits").read_bytes())
        for path in filter(os.path.exists, NODES):
            self.file(path, b"")
        for path in glob.glob("/sys/class/block/*"):
            self.file("/dev/" + os.path.basename(path).replace("!", "/"), b"")


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--anonymous", action="store_true", help="hide MACs, serials, mount points")
    options.add_argument("dir", type=Path, help="where to write the tree; must not exist")
    arguments = options.parse_args()
    if arguments.dir.exists():
        sys.exit(f"{arguments.dir} exists")
    Recorder(arguments.dir, arguments.anonymous).all()
    count = sum(len(files) for _, _, files in os.walk(arguments.dir))
    print(f"{arguments.dir}: {count} facts")


if __name__ == "__main__":
    main()
