# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 300
"""NBD volumes, over a UNIX socket and over TCP, by nbdkit and by qemu-nbd.

Workers, iovd and both are killed under I/O whose every read is checked; what the guest wants
flushed, discarded or zeroed arrives at the server as that. What the name, the server or the export
is wrong with is said, and changes nothing. With the last attachment the process between ends.
"""
import os

from lib import disk
from lib.clients import blkio_client
from lib.daemon import Daemon
from lib.history import History
from lib.nbd import Liar, Nbdkit, QemuNbd, free_port, greet, relays, wait_gone
from lib.proc import Failed, until
from lib.report import main

KILLS = 10
ODD = (
    "nbd://", "nbd:///x", "nbds://host/x", "nbd+vsock://2/x", "nbd://user@host/x", "nbd://host:0/x",
    "nbd://host:99999/x", "nbd://host/x?socket=/etc/passwd", "nbd://host/%zz", "nbd://host/a%00b",
    "nbd+unix:///x", "nbd+unix:///x?socket=relative", "nbd+unix://host/x?socket=/s", "nbd://-h/x",
    "nbd+unix:///x?socket=/s&tls-certificates=/etc", "nbd://h;reboot/x", "nbd://$(reboot)/", "nbd://h/#x",
    "nbd+unix:///x?socket=/" + "s" * 107, "nbd://h/" + "x" * 257,
)  # fmt: skip


def refuses(daemon, status, code, *words):
    done = daemon.ctl("attach", *words, check=False)
    if done.returncode != status or code not in done.stderr:
        raise Failed(f"{words}: not {status}, {code}, but {done.returncode}: {done.stderr}")


def odd_names(daemon):
    for uri in ODD:
        refuses(daemon, 2, "NBD-URI", uri, "vm1")
    refuses(daemon, 10, "NO-SUCH", "nbd:host:10809", "vm1")


def wrong_servers(daemon, scratch, image):
    nobody = f"nbd://127.0.0.1:{free_port()}/"
    refuses(daemon, 1, "NBD-CONNECT", nobody, "vm1")
    refuses(daemon, 1, "NBD-CONNECT", f"nbd+unix:///?socket={image}", "vm1")
    with Liar(lambda connection, _: connection.sendall(os.urandom(4096))) as liar:
        refuses(daemon, 1, "NBD-CONNECT", liar.uri, "vm1")
    with Liar(lambda connection, _: wait_gone(connection)) as silent:
        refuses(daemon, 1, "NBD-CONNECT", silent.uri, "vm1")
    with Liar(lambda connection, _: (greet(connection, 100), wait_gone(connection))) as tiny:
        refuses(daemon, 4, "DEV-EMPTY", tiny.uri, "vm1")
    with QemuNbd(image, scratch, "named") as server:
        refuses(daemon, 1, "NBD-CONNECT", server.uri.replace("disk", "other", 1), "vm1")
    with Nbdkit(image, scratch, "sealed", readonly=True) as server:
        refuses(daemon, 4, "DEV-READONLY", server.uri, "vm1")
        one = daemon.attach(server.uri, "vm1", "sealed", "--readonly")
        daemon.ctl("detach", one.id)
    if daemon.attachments():
        raise Failed(f"something is left: {daemon.attachments()}")


def is_known(daemon, one, server):
    """list, show and explain know it, by any way of writing it."""
    listed = daemon.ctl("list", "devices", "--class", "nbd")["devices"]
    device = next(d for d in listed if d["id"] == one.now()["device"])
    if device["state"] != "attached" or device["in_use_by"][0]["what"] != f"attachment {one.id}":
        raise Failed(f"not in use: {device}")
    other = server.uri.replace("127.0.0.1", "127.0.0.%31").replace("/?socket=", "/?socket=%2F", 1)
    other = other.replace("127.0.0.%31", "127.0.0.1").replace("%2F/", "%2F", 1)
    if daemon.ctl("show", other)["device"]["fingerprint"] != device["fingerprint"]:
        raise Failed(f"{other} is another volume than {server.uri}")
    refuses(daemon, 4, "DEV-TAKEN", other, "vm2")


def kinds(one, server):
    """One of each kind of request, and what the server hears of them."""
    before = server.commands()
    done = blkio_client(one.socket, job="verify")
    heard = server.commands() - before
    missing = [kind for kind in ("Read", "Write", "Flush", "Trim", "Zero") if not heard[kind]]
    if missing:
        raise Failed(f"the server did not hear {missing}, but {heard}: {done}")
    return dict(heard)


def storm(daemon, disks, kills):
    for n in range(kills):
        for one in disks:
            before = one.now()["requests_completed"]
            one.kill_worker()
            until(lambda o=one, b=before: o.now()["requests_completed"] > b, 30, "further I/O")
        if n % 3 == 2:
            worker = disks[0].worker()
            old = daemon.kill()
            if n % 2:
                disks[0].kill_worker(worker)
            daemon.wait_restart(old)


def test(scratch, kills=KILLS):
    images = [disk.blank(scratch / f"{n}.img", 8) for n in range(3)]
    with Daemon(scratch) as daemon, \
            Nbdkit(images[0], scratch, "unix") as first, \
            Nbdkit(images[1], scratch, "tcp", port=free_port()) as second, \
            QemuNbd(images[2], scratch) as third:  # fmt: skip
        odd_names(daemon)
        wrong_servers(daemon, scratch, images[0])
        disks = [daemon.attach(server.uri, "vm1", f"disk{n}", "--queues", "2")
                 for n, server in enumerate((first, second, third))]  # fmt: skip
        is_known(daemon, disks[0], first)
        heard = [kinds(one, server) for one, server in zip(disks, (first, second))]
        histories = [History(one.socket, scratch, f"h{n}", image=images[n], queues=2, depth=16)
                     for n, one in enumerate(disks)]  # fmt: skip
        for one in disks:
            one.wait("active")
        storm(daemon, disks, kills)
        checked = [history.end() for history in histories]
        for one in disks:
            daemon.ctl("detach", one.id)
        until(lambda: not relays(), 10, "the end of the processes between")
    return f"{kills} kills of each of {len(disks)}: {'; '.join(map(str, checked))}; heard: {heard}"


if __name__ == "__main__":
    main(test)
