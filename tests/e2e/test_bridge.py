# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 60
"""iovctl bridge: calls go there and replies come back, small and large, while the other direction is
full; the end of input still lets the answers through; and without a daemon it says so."""
import json
import subprocess

from lib.daemon import Daemon
from lib.proc import Failed
from lib.report import main
from lib.servers import program

# As much as a call may be, so that it fills every buffer on its way.
LARGE = 1000 << 10
CALLS = 12


def call(method, **parameters):
    return json.dumps({"method": method, "parameters": parameters}).encode() + b"\0"


def bridge(socket, data):
    argv = [str(program("iovctl")), "-s", str(socket), "bridge"]
    return subprocess.run(argv, input=data, capture_output=True, timeout=60, check=False)


def replies(done):
    if done.returncode or done.stderr:
        raise Failed(f"bridge: status {done.returncode}: {done.stderr}")
    if done.stdout[-1:] != b"\0":
        raise Failed(f"the last message is cut: {done.stdout[-80:]}")
    return [json.loads(text) for text in done.stdout[:-1].split(b"\0")]


def test(scratch):
    info = call("org.varlink.service.GetInfo")
    text = call("org.varlink.service.GetInterfaceDescription", interface="org.iovd.Manager")
    large = call("org.iovd.Manager.Restore", state="A" * LARGE)
    with Daemon(scratch) as daemon:
        one = replies(bridge(daemon.socket, info))
        if one[0]["parameters"]["interfaces"][-1] != "org.iovd.Manager":
            raise Failed(f"a call: {one}")
        many = replies(bridge(daemon.socket, (large + text) * CALLS))
        if len(many) != 2 * CALLS:
            raise Failed(f"{len(many)} replies to {2 * CALLS} calls")
        for refused, described in zip(many[::2], many[1::2]):
            if refused.get("error") != "org.iovd.Refused":
                raise Failed(f"a large call: {refused}")
            if "interface org.iovd.Manager" not in described["parameters"]["description"]:
                raise Failed(f"a large reply: {str(described)[:200]}")
    gone = bridge(daemon.socket, info)
    if gone.returncode != 8 or b"no daemon answers" not in gone.stderr:
        raise Failed(f"without a daemon: {gone.returncode}: {gone.stderr}")
    return f"{2 * CALLS + 1} calls, up to {LARGE >> 10} KiB"


main(test)
