# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 240
"""The control socket of a real daemon: who may do what, and what a client can cost the others."""
import contextlib
import grp
import json
import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import time

from lib import proc, report
from lib.proc import Failed, Process, until
from lib.servers import program
from lib.varlink import MANAGER, SERVICE, Client, Closed, Interface, VarlinkError, message

MAX_MESSAGE = 1 << 20
MAX_UNTRUSTED = 64 << 10
MAX_CLIENTS = 1024
GROUP = "nogroup"  # a group that every host has, and that no user of a test is in
USER = "nobody"


class Control(Process):
    """A daemon, by default without a keeper: all of the control plane, and no attachments."""

    def __init__(self, scratch, tag="host", prefix=(), env=None, wait=True, keeper=False):
        self.runtime = scratch / tag
        self.socket = self.runtime / "iovd.sock"
        conf = scratch / f"{tag}.conf"
        conf.write_text(f"# of a test\nsocket_group = {GROUP}\n")
        argv = [program("iovd"), "--runtime-dir", self.runtime,
                "--state-dir", scratch / f"{tag}-state", "--config", conf, "--libvirt=none",
                *([] if keeper else ["--keeper-fd=-1"])]
        super().__init__([*prefix, *argv], scratch / f"{tag}.log", env=env)
        if wait:
            until(self._serves, 20, "the daemon to serve")

    def _serves(self):
        if not self.alive():
            raise Failed(f"the daemon ended at its start\n    {self.tail()}")
        try:
            Client(self.socket).close()
        except OSError:
            return False
        return True

    def client(self):
        return Client(self.socket)

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def resident_kib(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def check_answers(self, within=2):
        """Somebody else's question gets its answer soon."""
        with self.client() as client:
            client.call(SERVICE + "GetInfo", seconds=within)


def expect(condition, what):
    if not condition:
        raise Failed(what)


def expect_error(name, client, *call, **flags):
    try:
        client.call(*call, **flags)
    except VarlinkError as error:
        expect(error.name == name, f"{error.name} in place of {name}")
        return error.parameters
    raise Failed(f"no {name} from {call}")


def expect_closed(client):
    try:
        got = client.receive()
    except Closed:
        return
    raise Failed(f"still answers: {got}")


# --- the protocol ---------------------------------------------------------------------------------

def test_description(control):
    """The daemon serves its interfaces, and its replies are of the described types."""
    with control.client() as client:
        info = client.call(SERVICE + "GetInfo")
        described = {name: Interface(client.call(SERVICE + "GetInterfaceDescription",
                                                 {"interface": name})["description"])
                     for name in info["interfaces"]}
        expect(set(described) == {SERVICE[:-1], MANAGER[:-1]}, f"serves {sorted(described)}")
        described[SERVICE[:-1]].check_reply("GetInfo", info)
        check_types(client, described[MANAGER[:-1]])


def check_types(client, manager):
    for method in manager.methods:
        if method.startswith("List"):
            manager.check_reply(method, client.call(method))
    devices = client.call("ListDevices")["devices"]
    for device in devices:
        manager.check_reply("Show", client.call("Show", {"name": device["id"]}))
    expect(devices, "this host has no devices to hold against the description")
    parameters = expect_error("org.iovd.NotFound", client, "ShowJob", {"id": "0-0"})
    manager.check(manager.errors["NotFound"], parameters, "NotFound")
    manager.check_reply("Watch", client.call("Watch", more=True))


def test_framing(control):
    """Cut anywhere, joined at will: always the same answers, in order."""
    call = message("ListJobs", {})
    with control.client() as client:
        for cut in range(1, len(call)):
            client.send(call[:cut])
            client.send(call[cut:])
            expect(client.reply()["jobs"] == [], f"cut at {cut}")
        count = 500
        client.send(b"".join(message("ShowJob", {"id": f"{n}"}) for n in range(count)))
        for number in range(count):
            got = client.receive()["parameters"]["attempted"]
            expect(got == f"there is no job {number}", f"answer {number} is '{got}'")


def test_half_closed(control):
    """Who has said all still gets all answers."""
    with control.client() as client:
        client.send(message("ListJobs") * 3)
        client.sock.shutdown(socket.SHUT_WR)
        for _ in range(3):
            client.reply()
        expect_closed(client)


def padded(size):
    """A good call of exactly that many bytes, and its NUL."""
    call = message("ListJobs")[:-1]
    return call + b" " * (size - len(call)) + b"\0"


def check_size_limit(path, limit):
    with Client(path) as client:
        client.send(padded(limit))
        client.reply()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.send(padded(limit + 1))
        got = client.receive()
        expect(got["error"] == "org.iovd.Usage" and got["parameters"]["code"] == "MESSAGE-SIZE",
               f"an oversized call got {got}")
        expect_closed(client)


def test_oversized(control):
    check_size_limit(control.socket, MAX_MESSAGE)


def test_garbage(control):
    """What is no Varlink gets a reason and the end; the neighbour notices nothing."""
    with control.client() as neighbour:
        for garbage in (b"GET / HTTP/1.0\r\n\r\n\0", b"\0", b"{}\0", b"\xff\xfe\0", b"[" * 5000 + b"\0",
                        b'{"method":"a","method":"b"}\0', os.urandom(4000) + b"\0"):
            with control.client() as client:
                client.send(garbage)
                expect(client.receive()["error"] == "org.iovd.Usage", f"took {garbage[:20]}")
                expect_closed(client)
            neighbour.call("ListJobs")


# --- what a client can cost -----------------------------------------------------------------------

def test_many_clients(control):
    """500 at once are served; past the limit the next one is told, and gets in when one leaves."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(control.client()) for _ in range(500)]
        begin = time.monotonic()
        for client in clients:
            client.send(message(SERVICE + "GetInfo"))
        for client in clients:
            client.reply()
        took = time.monotonic() - begin
        while len(clients) < MAX_CLIENTS:
            clients.append(stack.enter_context(control.client()))
            clients[-1].call("ListJobs")
        extra = stack.enter_context(control.client())
        got = extra.receive()
        expect(got["error"] == "org.iovd.Busy" and got["parameters"]["code"] == "CLIENTS",
               f"one too many got {got}")
        expect_closed(extra)
        clients.pop().close()
        until(lambda: answers(control), 10, "a place to become free")
    until(lambda: control.descriptors() < 40, 10, "the connections to be closed")
    return f"500 clients answered in {took * 1000:.0f} ms"


def answers(control):
    with contextlib.suppress(VarlinkError, Closed), control.client() as client:
        return client.call("ListJobs")["jobs"] == []
    return False


def fill(client, call, most):
    """Sends calls until no more are taken; how many went whole, and the rest of a cut one."""
    client.sock.setblocking(False)
    try:
        for asked in range(most):
            sent = client.sock.send(call)
            if sent < len(call):
                return asked, call[sent:]
    except BlockingIOError:
        return asked, b""
    finally:
        client.sock.setblocking(True)
    raise Failed(f"{most} calls were taken in without one answer being read")


def test_reader_that_does_not_read(control):
    """Asks without end and reads nothing: it only stops itself; then it gets all it asked for."""
    call = message(SERVICE + "GetInterfaceDescription", {"interface": MANAGER[:-1]})
    before = control.resident_kib()
    with control.client() as client:
        asked, rest = fill(client, call, 200000)
        control.check_answers()
        grown = control.resident_kib() - before
        expect(grown < 16 << 10, f"the daemon grew by {grown} KiB")
        for number in range(asked):
            expect("description" in client.reply(), f"answer {number}")
        if rest:
            client.send(rest)
            client.reply()
    return f"{asked} calls waited, the daemon grew by {max(grown, 0)} KiB"


def test_client_killed_in_stream(control):
    """Watchers that die leave nothing behind."""
    until(lambda: control.descriptors() < 40, 10, "a quiet daemon")
    before = control.descriptors()
    watchers = [subprocess.Popen([program("iovctl"), "-s", control.socket, "-o", "jsonl", "watch"],
                                 stdout=subprocess.PIPE) for _ in range(20)]
    for watcher in watchers:
        first = json.loads(watcher.stdout.readline())
        expect(first["event"] == "watching", f"begins with {first}")
    expect(control.descriptors() == before + 20, "20 watchers are not 20 connections")
    for watcher in watchers:
        watcher.kill()
        watcher.wait()
        watcher.stdout.close()
    until(lambda: control.descriptors() == before, 10, "the dead watchers to be forgotten")


# --- roles ----------------------------------------------------------------------------------------

def as_user(groups, argv):
    """Runs a program as an unprivileged user in these groups."""
    return subprocess.run([str(word) for word in argv], user=USER, group=groups[0],
                          extra_groups=groups[1:], capture_output=True, text=True,
                          timeout=60 * proc.PATIENCE)


def in_child(function, groups):
    """Runs function() in a process that is USER in these groups; its exception is ours."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.setgroups(groups[1:])
            os.setresgid(groups[0], groups[0], groups[0])
            uid = pwd.getpwnam(USER).pw_uid
            os.setresuid(uid, uid, uid)
            function()
            status = 0
        except BaseException as error:
            print(f"in the child: {error!r}", flush=True)
        finally:
            os._exit(status)
    expect(os.waitpid(pid, 0)[1] == 0, f"{function.__name__} failed for {USER}")


def test_roles(control):
    """Members of the group may look, by their primary or another group; others not even connect."""
    if os.geteuid() != 0:
        return "left out: only root can become others"
    group, other = grp.getgrnam(GROUP).gr_gid, 12345
    ctl = [program("iovctl"), "-s", control.socket]
    expect(os.stat(control.socket).st_gid == group, "the socket is not the group's")
    expect(os.stat(control.socket).st_mode & 0o7777 == 0o660, "the socket's mode is not 0660")
    expect(os.stat(control.runtime).st_mode & 0o7777 == 0o711, "the folder's mode is not 0711")
    # What a user may run must be within his reach: the build may not be.
    copy = shutil.copy(program("iovctl"), control.runtime.parent / "iovctl")
    os.chmod(copy, 0o755)
    ctl[0] = copy
    for groups in ([group], [other, group]):
        expect(as_user(groups, [*ctl, "list", "jobs"]).returncode == 0, f"{groups} may not look")
        done = as_user(groups, [*ctl, "job", "1", "--cancel"])
        expect(done.returncode == 9, f"{groups} may cancel: {done.returncode} {done.stderr}")
    done = as_user([other], [*ctl, "list", "jobs"])
    expect(done.returncode == 9, f"a stranger gets {done.returncode}: {done.stderr}")
    in_child(lambda: check_size_limit(control.socket, MAX_UNTRUSTED), [group])
    return ""


def test_stranger_on_open_socket(control):
    """Where the mode lets a stranger in, the daemon still does not."""
    if os.geteuid() != 0:
        return "left out: only root can become others"
    os.chmod(control.socket, 0o666)

    def ask():
        with control.client() as client:
            expect_error("org.iovd.NotPermitted", client, SERVICE + "GetInfo")
            expect_error("org.iovd.NotPermitted", client, "ListJobs")

    try:
        in_child(ask, [12345])
    finally:
        os.chmod(control.socket, 0o660)
    return ""


# --- iovctl ---------------------------------------------------------------------------------------

def test_exit_statuses(control, scratch):
    """Statuses of product.md 3 that need no attachment, and errors as JSON."""
    for words, status in (("list jobs", 0), ("--help", 0), ("attach --help", 0), ("--version", 0),
                          ("", 2), ("frobnicate", 2), ("list", 2), ("list jobs --free", 2),
                          ("list nothing", 2), ("-o xml list jobs", 2), ("job", 2), ("job 1", 10),
                          ("job 1 --wait 10", 10), ("job 1 --wait=x", 2), ("attach a", 2),
                          ("attach a b --queues x", 2), ("watch now", 2)):
        done = proc.run([program("iovctl"), "-s", control.socket, *words.split()], check=False)
        expect(done.returncode == status, f"iovctl {words}: {done.returncode}, not {status}")
        expect(bool(done.stderr) == bool(status), f"iovctl {words}: says {done.stderr!r}")
        if status:
            expect(done.stderr.startswith("iovctl: ") and "]\n" in done.stderr,
                   f"iovctl {words}: no sentence with a code: {done.stderr!r}")
    done = proc.run([program("iovctl"), "-s", scratch / "none", "-o", "json", "list", "jobs"],
                    check=False)
    document = json.loads(done.stdout)
    expect(done.returncode == 8 and document["schema"] == "iovd.error/1", "no daemon is not 8")
    expect(document["error"]["exit_status"] == 8, f"the document says {document}")


def test_full_output(control):
    """What could not be printed is not called done."""
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([program("iovctl"), "-s", control.socket, "list", "jobs"],
                              stdout=full, stderr=subprocess.PIPE, text=True)
    expect(done.returncode == 1, f"a full disk gives {done.returncode}")


# --- start and end --------------------------------------------------------------------------------

def test_one_per_folder(control, scratch):
    """A second daemon on the same folder is refused, and harms nothing."""
    with Control(scratch, wait=False) as second:
        expect(second.wait() == 1, "a second daemon was let in")
        expect("[RUNNING]" in second.tail(), second.tail())
    control.check_answers()


def test_dead_socket(scratch):
    """What a killed daemon leaves is replaced; what is somebody else's is not."""
    with Control(scratch, "dead") as first:
        first.kill()
        first.wait()
        expect(first.socket.exists(), "a killed daemon took its socket along")
    with Control(scratch, "dead") as second:
        second.check_answers()
        second.kill(signal.SIGTERM)
        expect(second.wait() == 0, "SIGTERM is not a clean end")
        expect(not second.socket.exists(), "a clean end leaves the socket")
        expect(not (second.runtime / "iovd.pid").exists(), "a clean end leaves the pid file")
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(second.socket))
        live.listen()
        with Control(scratch, "dead", wait=False) as third:
            expect(third.wait() == 1, "took over a live socket")
            expect("[SOCKET-LIVE]" in third.tail(), third.tail())
    second.socket.unlink()
    second.socket.write_text("mine")
    with Control(scratch, "dead", wait=False) as fourth:
        expect(fourth.wait() == 1, "took a file for a socket")
    expect(second.socket.read_text() == "mine", "a file in the way was harmed")


def test_open_folder(scratch):
    """A folder in which others may write is not trusted."""
    for mode in (0o722, 0o770, 0o777, 0o1777):
        (scratch / "open").mkdir(exist_ok=True)
        os.chmod(scratch / "open", mode)
        with Control(scratch, "open", wait=False) as control:
            expect(control.wait() == 4, f"a folder of mode {mode:o} is taken")
            expect("[FOLDER]" in control.tail(), control.tail())


def has_libsystemd():
    config = program("iovd").parent / "config.h"
    return "#define HAVE_LIBSYSTEMD 1" in config.read_text()


def test_activation(scratch):
    """The service manager's socket is used, and left alone at the end."""
    if not has_libsystemd():
        return "left out: built without libsystemd"
    if not shutil.which("systemd-socket-activate"):
        return "left out: no systemd-socket-activate (package systemd)"
    for keeper in (False, True):
        path = scratch / f"activated{keeper:d}.sock"
        with Control(scratch, f"activated{keeper:d}", ("systemd-socket-activate", "-l", path),
                     wait=False, keeper=keeper) as control:
            control.socket = path
            check_activated(control, keeper)
            expect(path.exists(), "removed a socket that is not its own")
    return ""


def connected(path):
    with contextlib.suppress(OSError):
        return Client(path)
    return None


def check_activated(control, keeper):
    with until(lambda: connected(control.socket), 10, "the service manager to listen") as client:
        client.call(SERVICE + "GetInfo")
        expect(not (control.runtime / "iovd.sock").exists(), "made a socket of its own too")
        if keeper:
            # Who asks while the next daemon starts waits in the socket, and is answered.
            daemon = int((control.runtime / "iovd.pid").read_text())
            os.kill(daemon, signal.SIGKILL)
            expect_closed(client)
            control.check_answers(within=20)
    control.kill(signal.SIGTERM)
    expect(control.wait() == 0, "SIGTERM is not a clean end")


def test_readiness(scratch):
    """READY=1 comes when the socket answers, STOPPING=1 at the end."""
    if not has_libsystemd():
        return "left out: built without libsystemd"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(scratch / "notify"))
        manager.settimeout(20 * proc.PATIENCE)
        env = {**os.environ, "NOTIFY_SOCKET": str(scratch / "notify")}
        with Control(scratch, "notify-host", env=env, wait=False) as control:
            expect(manager.recv(100) == b"READY=1", "is not ready first")
            control.check_answers()
            control.kill(signal.SIGTERM)
            expect(manager.recv(100) == b"STOPPING=1", "does not say that it ends")
            control.wait()
    return ""


def test(scratch):
    os.chmod(scratch, 0o711)  # other users are let through to the socket
    notes = []
    with Control(scratch) as control:
        for check in (test_description, test_framing, test_half_closed, test_oversized,
                      test_garbage, test_many_clients, test_reader_that_does_not_read,
                      test_client_killed_in_stream, test_roles, test_stranger_on_open_socket,
                      test_full_output):
            notes.append(run_check(check, control))
        for check in (test_exit_statuses, test_one_per_folder):
            notes.append(run_check(check, control, scratch))
    for check in (test_dead_socket, test_open_folder, test_activation, test_readiness):
        notes.append(run_check(check, scratch))
    return "; ".join(filter(None, notes))


def run_check(check, *args):
    try:
        note = check(*args)
    except Failed as error:
        raise Failed(f"{check.__name__}: {error}") from error
    print(f"  {check.__name__}{': ' + note if note else ''}", flush=True)
    return note


report.main(test)
