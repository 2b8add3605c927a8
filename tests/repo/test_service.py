# SPDX-License-Identifier: GPL-2.0-or-later
"""The service files: what they must say, what they must not, and what systemd thinks of them."""
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import tree

UNITS = tree.BUILD / "systemd"

# With systemd's defaults for these, a restart of the daemon kills every worker.
MUST_SAY = {
    "iovd.service": ("Type=notify", "NotifyAccess=all", "KillMode=process", "OOMPolicy=continue",
                     "Delegate=yes", "RuntimeDirectory=iovd", "RuntimeDirectoryMode=0711",
                     "RuntimeDirectoryPreserve=yes", "StateDirectory=iovd", "Restart=on-failure"),
    "iovd-bind.service": ("Type=oneshot", "DefaultDependencies=no", "KillMode=process",
                          "RemainAfterExit=yes"),
    "iovd-bind-early.service": ("Type=oneshot", "DefaultDependencies=no", "KillMode=process"),
    "iovd.socket": ("SocketMode=0660", "SocketGroup=iovd", "DirectoryMode=0711"),
}
# The daemon writes /sys, opens any disk, sees the host's mounts, network and users.
MUST_NOT_SAY = r"""(ProtectSystem|ProtectHome|ProtectKernel\w+|ProtectClock|ProtectControlGroups
    |PrivateDevices|PrivateTmp|PrivateUsers|PrivateNetwork|PrivateMounts|DevicePolicy|DeviceAllow
    |RootDirectory|RootImage|InaccessiblePaths|ReadOnlyPaths|CapabilityBoundingSet|User
    |DynamicUser|RestrictNamespaces|NoNewPrivileges|SystemCallFilter|WatchdogSec)="""


def check_unit(name, content):
    lines = [line.strip() for line in content.splitlines()]
    problems = [f"{name}: does not say {word}" for word in MUST_SAY[name] if word not in lines]
    for line in lines:
        if re.match(MUST_NOT_SAY, line, re.X):
            problems.append(f"{name}: must not say {line}")
        if "@" in line and not line.startswith("#"):
            problems.append(f"{name}: not substituted: {line}")
    return problems


def check_systemd(names):
    """`systemd-analyze verify`, with a program that exists in the place of ours."""
    if not shutil.which("systemd-analyze"):
        print("systemd-analyze is not here: its part was left out")
        return []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            content = (UNITS / name).read_text()
            content = re.sub(r"^ExecStart=\S+/iovd( --[a-z-]+)?$", "ExecStart=/bin/true", content, flags=re.M)
            (Path(folder) / name).write_text(content)
        done = subprocess.run(["systemd-analyze", "verify", "--man=no",
                               *(str(Path(folder) / name) for name in names)],
                              env=dict(os.environ, SYSTEMD_LOG_LEVEL="warning"),
                              capture_output=True, text=True)
        said = [line for line in (done.stdout + done.stderr).splitlines() if folder in line or
                any(line.startswith(name) for name in names)]
        if done.returncode and not said:
            said = [f"exit status {done.returncode}: {done.stderr.strip()}"]
        return [f"systemd-analyze: {line}" for line in said]


def check_users_and_folders():
    """What systemd-sysusers and systemd-tmpfiles make of our files, in a root of its own."""
    if not shutil.which("systemd-sysusers") or os.getuid():
        print("no systemd-sysusers here, or not root: its part was left out")
        return []
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "etc").mkdir()
        for command in (["systemd-sysusers", tree.TOP / "systemd" / "iovd.sysusers"],
                        ["systemd-tmpfiles", "--create", UNITS / "iovd.tmpfiles"]):
            done = subprocess.run([*command, f"--root={root}"], capture_output=True, text=True)
            if done.returncode:
                problems.append(f"{command[0]}: {done.stderr.strip()}")
        if not problems:
            groups = [line.split(":")[0] for line in (root / "etc/group").read_text().splitlines()]
            users = [line.split(":") for line in (root / "etc/passwd").read_text().splitlines()]
            if "iovd" not in groups:
                problems.append(f"iovd.sysusers: no group iovd in {groups}")
            if ["iovd-worker"] != [user[0] for user in users] or "nologin" not in users[0][6]:
                problems.append(f"iovd.sysusers: not one user iovd-worker who cannot log in: {users}")
            for name, mode in (("run/iovd", 0o711), ("run/iovd/vm", 0o711),
                               ("var/lib/iovd", 0o700)):
                if (root / name).stat().st_mode & 0o7777 != mode:
                    problems.append(f"iovd.tmpfiles: {name} is not {mode:o}")
    return problems


def check_vhost_user_description():
    """What QEMU and libvirt read to find the backend program."""
    found = json.loads((UNITS / "50-iov-worker.json").read_text())
    problems = []
    if found.get("type") != "block" or not found.get("description"):
        problems.append(f"50-iov-worker.json: no block device described: {found}")
    if not re.fullmatch(r"/[^@]*/iov-worker", found.get("binary", "")):
        problems.append(f"50-iov-worker.json: not a program: {found.get('binary')}")
    return problems


def self_test():
    good = "\n".join(MUST_SAY["iovd.service"])
    samples = ((good, 0), (good.replace("KillMode=process", ""), 1),
               (good + "\nProtectSystem=strict", 1), (good + "\n  PrivateDevices=yes", 1),
               (good + "\nExecStart=@sbindir@/iovd", 1))
    return [f"self-test: not {count} problems in: {content}" for content, count in samples
            if len(check_unit("iovd.service", content)) != count]


def main():
    problems = self_test()
    for name in MUST_SAY:
        problems += check_unit(name, (UNITS / name).read_text())
    problems += check_systemd(MUST_SAY)
    problems += check_users_and_folders()
    problems += check_vhost_user_description()
    tree.finish(problems, "service files")


main()
