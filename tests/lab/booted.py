# SPDX-License-Identifier: GPL-2.0-or-later
"""What a host that systemd boots has in its root besides the machine's own file system.

iovd is installed there as `make install` does it. Its folders are where a distribution has them,
/var/lib and /run, whatever prefix the build has: its unit says RuntimeDirectory=iovd.
"""
import pathlib
import re
import shutil

from lib import proc

HERE = pathlib.Path(__file__).resolve().parent
SYSTEM = "etc/systemd/system"
# What a host under TCG, without a console or udev of its own, need not wait for.
MASKED = (
    "getty.target",
    "systemd-logind.service",
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udev-trigger.service",
    "tmp.mount",
)
FILES = {
    # The machine that runs the lab has its own.
    "etc/fstab": "",
    "etc/machine-id": "1ab" + "0" * 28 + "1\n",
    # Without --remove, which empties /tmp: source, build and cache may lie there.
    f"{SYSTEM}/systemd-tmpfiles-setup.service.d/lab.conf": """[Service]
ExecStart=
ExecStart=systemd-tmpfiles --create --boot
""",
    # The machine may be very busy.
    **{
        f"{SYSTEM}/{unit}.service.d/lab.conf": "[Service]\nTimeoutStartSec=900\n"
        for unit in ("iovd", "iovd-bind", "iovd-bind-early")
    },
    f"{SYSTEM}/default.target": "[Unit]\nRequires=multi-user.target\nWants=lab.service\n",
}


def _setting(stage, unit, pattern):
    """What an installed unit says."""
    (path,) = stage.rglob(f"lib/systemd/system/{unit}")
    return pathlib.Path(re.search(pattern, path.read_text(), re.M).group(1))


def _link(stage, folder, target):
    """Makes a folder another name of `target`."""
    if str(folder) == target:
        return
    path = stage / folder.relative_to("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def stage(build, into):
    """Fills the folder."""
    shutil.rmtree(into, ignore_errors=True)
    proc.run(["make", "-s", "-C", build, "install", f"DESTDIR={into}"], 300)
    _link(into, _setting(into, "iovd-bind.service", r"^RequiresMountsFor=(.+)/iovd$"), "/var/lib")
    _link(into, _setting(into, "iovd.socket", r"^ListenStream=(.+)/iovd/iovd.sock$"), "/run")
    unit = (HERE / "lab.service.in").read_text().replace("@host@", str(HERE / "host.py"))
    for name, text in {**FILES, f"{SYSTEM}/lab.service": unit}.items():
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        (into / name).write_text(text)
    for name in MASKED:
        (into / SYSTEM / name).symlink_to("/dev/null")
