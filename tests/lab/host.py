# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs inside a lab host, as child of its first process (a service, where that is systemd): sets the
host up, runs the topics, powers off.

The results folder has job.json (what to run) and takes kernel.log. What happens is told over the
virtio port `lab`, one JSON object in a line:

    {"event": "up", "seconds": S}                        the host is ready
    {"event": "begin", "topic": T}
    {"event": "out", "topic": T, "text": LINE}           what the topic prints
    {"event": "end", "topic": T, "status": N, "seconds": S, "why": TEXT}
    {"event": "reboot"}                                  the topic asks for it; the host goes down
    {"event": "over"}                                    all done, power goes off

Every topic has a control group of its own. What is left in it at the topic's end is killed, and
the topic has failed: the next one must find a clean host.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import select
import signal
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
CGROUPS = pathlib.Path("/sys/fs/cgroup")
RESULTS = pathlib.Path("/run/lab/results")
MOUNTS = (
    ("tmpfs", "/dev/shm", "mode=1777"),
    ("devpts", "/dev/pts", "mode=620"),
    ("cgroup2", CGROUPS, ""),
    ("tracefs", "/sys/kernel/tracing", ""),
)
# Drivers that a host has loaded long before iovd starts.
DRIVERS = ("nvme", "igb")
RB_POWER_OFF = 0x4321FEDC
REBOOT = 75  # exit status of a topic that goes on after the next boot


def run(*argv):
    subprocess.run([str(word) for word in argv], check=True)


def until(condition, seconds, every=0.05):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        select.select([], [], [], every)
    return True


class Port:
    """The line to whoever runs the lab; topics' output comes from a thread each."""

    def __init__(self, name):
        for port in pathlib.Path("/sys/class/virtio-ports").iterdir():
            if (port / "name").read_text().strip() == name:
                self._file = open(f"/dev/{port.name}", "wb", buffering=0)
        self._lock = threading.Lock()

    def tell(self, event, **fields):
        line = json.dumps({"event": event, **fields}).encode() + b"\n"
        with self._lock:
            while line:
                line = line[self._file.write(line):]


def set_up():
    """What an init would do: file systems, drivers, the network with its default route."""
    known = pathlib.Path("/proc/filesystems").read_text().split()
    for kind, path, options in MOUNTS:
        # The own kernel has no tracefs; systemd has mounted all of them.
        if kind not in known or os.path.ismount(path):
            continue
        pathlib.Path(path).mkdir(parents=True, exist_ok=True)
        run("mount", "-t", kind, *(("-o", options) if options else ()), kind, path)
    for name in DRIVERS:
        run("modprobe", name)
    import inside

    run("ip", "link", "set", "lo", "up")
    uplink = inside.netdev(inside.device("uplink"))
    run("ip", "addr", "add", "10.0.2.15/24", "dev", uplink)
    run("ip", "link", "set", uplink, "up")
    run("ip", "route", "add", "default", "via", "10.0.2.2")


class Group:
    """The control group of a topic: whatever it started, daemonised or not, is in there."""

    def __init__(self, name):
        self._path = CGROUPS / name
        self._path.mkdir()

    def enter(self):
        (self._path / "cgroup.procs").write_text("0")

    def processes(self):
        found = {}
        for pid in (self._path / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                found[pid] = b" ".join(words).decode(errors="replace").strip() or f"process {pid}"
        return found

    def end(self):
        """Kills what is left; its command lines."""
        left = self.processes()
        if left:
            (self._path / "cgroup.kill").write_text("1")
        if until(lambda: not self.processes(), 10):
            with contextlib.suppress(OSError):
                self._path.rmdir()
        else:
            left = {pid: f"{what} (cannot be killed)" for pid, what in self.processes().items()}
        return list(left.values())


def forward(port, topic, stream, last):
    """Passes a topic's output on, and keeps its last line."""
    for line in stream:
        text = line.decode(errors="replace").rstrip("\n")
        last[0] = text or last[0]
        port.tell("out", topic=topic, text=text)


def wait(process, seconds):
    """The exit status, or None when time is up."""
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None


def run_topic(port, topic, job):
    """True if it asks for a reboot."""
    port.tell("begin", topic=topic["name"])
    begin, last = time.monotonic(), [""]
    group = Group(f"topic-{topic['name']}")
    process = subprocess.Popen(
        [sys.executable, topic["path"]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **job["environment"]},
        preexec_fn=group.enter,
        start_new_session=True,
    )
    reader = threading.Thread(
        target=forward, args=(port, topic["name"], process.stdout, last), daemon=True
    )
    reader.start()
    status = wait(process, topic["timeout"])
    why = "" if status is not None else f"not done after {topic['timeout']} s"
    if status is None:
        process.send_signal(signal.SIGTERM)  # a moment to clean up and to say where it was
        wait(process, 10)
        group.end()
    left = group.end() if status is not None else []
    if left and status in (0, 77, REBOOT):
        status, why = 1, f"left behind: {'; '.join(left)}"
    reader.join(10)
    if status == REBOOT:
        return True
    why = why or (last[0] if status == 77 else f"exit status {status}" if status else "")
    port.tell("end", topic=topic["name"], status=1 if status is None else status, why=why,
              seconds=round(time.monotonic() - begin, 1))
    return False


def reboot(port):
    """As an administrator does it; what runs ends first, this program too."""
    port.tell("reboot")
    run("systemctl", "reboot", "--no-block")
    signal.pause()


def main():
    port = Port("lab")
    job = json.loads((RESULTS / "job.json").read_text())
    os.environ.update(job["environment"])
    sys.path.insert(0, str(HERE))
    set_up()
    port.tell("up", seconds=float(pathlib.Path("/proc/uptime").read_text().split()[0]))
    for topic in job["topics"]:
        if run_topic(port, topic, job):
            reboot(port)
    with open(RESULTS / "kernel.log", "wb") as log:
        subprocess.run(["dmesg"], stdout=log, check=True)
    os.sync()
    port.tell("over")
    ctypes.CDLL(None).reboot(RB_POWER_OFF)


if __name__ == "__main__":
    main()
