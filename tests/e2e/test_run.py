# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 300
"""`iovctl run`: a VMM starts as an ordinary user with no privilege, and works with its disk."""
import os
import pathlib
import pwd

from lib import disk, guest, report
from lib.daemon import Daemon
from lib.proc import Failed, Skipped, run
from lib.servers import program

USER = "nobody"

# A "VMM" that tells what it was started with.
TELL = r"""
cat /proc/$$/status; echo --; ls /proc/$$/fd; echo --; echo "$HOME"; echo --; printf '%s\n' "$@"
"""


def expect(condition, what):
    if not condition:
        raise Failed(what)


def words(daemon, *more):
    return [program("iovctl"), "-s", daemon.socket, "run", *more]


def tell(daemon, *more):
    """What a program that is started by `iovctl run` sees; and what iovctl said."""
    done = run([*words(daemon, *more[:-1]), "--", "sh", "-c", TELL, "sh", *more[-1]])
    status, fds, home, args = (part.split("\n") for part in done.stdout.rstrip("\n").split("\n--\n"))
    fields = dict(line.split(":", 1) for line in status)
    return {
        "status": {key: value.split() for key, value in fields.items()},
        "fds": sorted(map(int, fds)),
        "home": home[0],
        "args": args,
    }, done.stderr


def check_privileges(daemon, user, *options):
    who = pwd.getpwnam(user)
    held = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(held, True)
    seen, _ = tell(daemon, "web1", *options, ["@root@"])
    os.close(held)
    status = seen["status"]
    expect(status["Uid"] == [str(who.pw_uid)] * 4, f"uid: {status['Uid']}")
    expect(status["Gid"] == [str(who.pw_gid)] * 4, f"gid: {status['Gid']}")
    groups = sorted(os.getgrouplist(user, who.pw_gid))
    expect(sorted(map(int, status["Groups"])) == groups, f"groups: {status['Groups']}")
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        expect(int(status[kind][0], 16) == 0, f"{kind}: {status[kind]}")
    expect(status["NoNewPrivs"] == ["1"], f"no_new_privs: {status['NoNewPrivs']}")
    expect(seen["fds"] == [0, 1, 2], f"descriptors: {seen['fds']}")
    expect(seen["home"] == who.pw_dir, f"HOME: {seen['home']}")
    return seen


def check_words(daemon, attachment, second):
    seen, said = tell(daemon, "web1", ["-m", "1G", "@root@", "@ root@", "x@root@"])
    wanted = ["-m", "1G", *attachment.vmm_args, "@ root@", "x@root@"]
    expect(seen["args"] == wanted, f"words: {seen['args']}, wanted {wanted}")
    expect("@data@" in said, f"does not say that data is missing: {said}")
    expect("share=on" in said, f"does not say that memory must be shared: {said}")
    seen, said = tell(
        daemon, "web1", [f"@{second.id}@", "@root@", "-object", "memory-backend-memfd,share=on"]
    )
    expect(seen["args"][:8] == [*second.vmm_args, *attachment.vmm_args], f"{seen['args']}")
    expect(said == "", f"says something, and all is well: {said}")


def check_refusals(daemon, scratch):
    marker = scratch / "was-started"
    command = ["--", "touch", marker]
    for status, code, more in (
        (10, "NO-SUCH", ["web1", *command, "@nothing@"]),
        (10, "NO-SUCH", ["web2", *command]),
        (10, "USER", ["web1", "--user", "no-such-user", *command, "@root@"]),
        (4, "OWNER", ["web1", "--user", "root", *command, "@root@"]),
        (2, "USAGE", ["web1", *command]),
        (2, "USAGE", ["web1"]),
        (2, "USAGE", ["web1", "touch", marker]),
        (1, "SYS", ["web1", "--", "/no/such/program", "@root@"]),
    ):
        done = run(words(daemon, *more), check=False)
        expect(done.returncode == status and f"[{code}]" in done.stderr,
               f"{more}: exit {done.returncode}, not {status} with {code}: {done.stderr}")
    expect(not marker.exists(), "the command was started all the same")


def jobs_of(folder):
    return f"cd {folder} && head -c 4000000 /dev/urandom >it && sha256sum it >sum && cd /"


def check_guest(daemon, scratch):
    """QEMU as an ordinary user, with the disk."""
    home = scratch / "vmm"
    home.mkdir()
    os.chown(home, pwd.getpwnam(USER).pw_uid, -1)
    guest.accelerator = lambda kernel=None: ("tcg,thread=multi", "max")  # /dev/kvm is not its own
    start = words(daemon, "web1", "--")
    with guest.Qemu(home, ["@root@", "@data@"], prefix=start) as machine:
        status = pathlib.Path(f"/proc/{machine.pid}/status").read_text()
        expect(f"Uid:\t{pwd.getpwnam(USER).pw_uid}\t" in status, f"QEMU's user: {status}")
        expect("CapEff:\t0000000000000000" in status, f"QEMU's capabilities: {status}")
        machine.run(f"mount /dev/vda /mnt && {jobs_of('/mnt')} && umount /mnt")
        machine.run("mount /dev/vda /mnt && cd /mnt && sha256sum -c sum && cd / && umount /mnt")
        machine.expect_no_complaints()


def test(scratch):
    if os.geteuid() != 0:
        raise Skipped("only root can become another user")
    scratch.chmod(0o711)
    disk.ext4(scratch / "root.img", 64)
    with (scratch / "data.img").open("wb") as image:
        image.truncate(8 << 20)
    with Daemon(scratch) as daemon:
        first = daemon.attach(scratch / "root.img", "web1", "root", "--owner", USER)
        second = daemon.attach(scratch / "data.img", "web1", "data", "--owner", USER)
        check_privileges(daemon, USER)
        check_privileges(daemon, USER, "--user", USER)
        check_words(daemon, first, second)
        check_refusals(daemon, scratch)
        check_guest(daemon, scratch)
        daemon.ctl("detach", "root")
        daemon.attach(scratch / "root.img", "web1", "root")
        check_privileges(daemon, "root")  # root without any privilege
    return f"QEMU ran as {USER} without a capability"


report.main(test)
