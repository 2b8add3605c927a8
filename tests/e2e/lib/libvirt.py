# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt hosts of our own: each a libvirtd in namespaces, with folders, a network and a UUID of its
own, so that several live beside each other, and beside one that the machine runs.

    with LibvirtHost(scratch, "h1", 1) as h1, LibvirtHost(scratch, "h2", 2) as h2:
        connect(h1, h2)                       # h1 is 10.77.0.1, h2 is 10.77.0.2
        h1.virsh("define", path)              # its output
        with Domain(h1, "g1", disks) as g1:   # a Guest: run(), expect_no_complaints(), ...
            g1.boot()
            h1.virsh("migrate", "--live", "g1", h2.uri, "--migrateuri", f"tcp://{h2.address}")
            g1.moved(h2)

Everything of a host, its QEMUs included, is in one PID namespace, and ends with the first process
there, which ends with the test. The folders that libvirt writes to (/run, /var/lib, ...) are those
below host.root, as bind mounts; what is elsewhere is the machine's, at the same paths.
"""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import tempfile
import uuid

from guest import image

from . import guest, proc, symptoms
from .channel import Channel
from .proc import Failed, Process, Skipped, until
from .servers import program

FOLDERS = ("run", "var/lib", "var/cache", "var/log", "etc/libvirt")
# libvirtd wants its default user and group to exist, whatever it is told to run QEMU as.
USERS = {"passwd": "libvirt-qemu:x:64055:64055::/:/bin/false", "group": "libvirt-qemu:x:64055:"}
LIBVIRTD = """
host_uuid = "{uuid}"
listen_tls = 0
listen_tcp = 1
listen_addr = "0.0.0.0"
auth_tcp = "none"
auth_unix_ro = "none"
auth_unix_rw = "none"
"""
QEMU = """
user = "{user}"
group = "{group}"
security_driver = "none"
remember_owner = 0
namespaces = []
cgroup_controllers = []
stdio_handler = "file"
"""
# The first process: it reaps what libvirt daemonizes.
FIRST = """
mount --make-rprivate /
[ -z "{base}" ] || mount --bind "{base}" "{base}"
for path in {shown}; do mkdir -p "{base}$path"; mount --rbind "$path" "{base}$path"; done
for path in {paths}; do mkdir -p "{base}/$(dirname "$path")"; mount --bind "{root}/$path" "{base}/$path"; done
mount -t proc proc "{base}/proc"
hostname {name}
ip link set lo up
echo ready
trap : TERM
while :; do sleep infinity & wait; done
"""


def _children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as words:
        return [int(word) for word in words.read().split()]


class LibvirtHost:
    """One host. `hooks`: {path below /etc/libvirt/hooks: text of a program}, there from the start.
    `base`: the root of another Debian, whose libvirtd and QEMU it is; what a test uses is there at
    the same paths.

    name, address ("" until connect()), uri (for virsh and iovd --libvirt), netns (the pid of a
    process in all its namespaces, for nsenter -t), root (its folders).
    """

    def __init__(self, scratch, name, number=1, hooks=None, user="root", group="root", base=None):
        if os.geteuid() != 0:
            raise Skipped("namespaces and libvirtd need root")
        proc.need("libvirtd", "libvirt-daemon")
        proc.need("virsh", "libvirt-clients")
        self.name, self.number, self.address = name, number, ""
        self.root = scratch / name
        self._scratch = scratch
        self._base = str(base or "")
        self._words = {"name": name, "user": user, "group": group, "uuid": uuid.uuid4()}
        self._words |= {"root": self.root, "paths": self._paths()}
        self._words |= {"base": self._base, "shown": self._shown()}
        self._make_folders(hooks or {})
        self._first = self._libvirtd = None
        self.netns = self.pid = 0
        try:
            self._begin()
            self.start()
        except BaseException:
            self.end()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def _shown(self):
        """What of the machine another root shows, too."""
        if not self._base:
            return ""
        trees = (tempfile.gettempdir(), program("iovctl").parent, image.qemu().kernel.parents[1])
        return " ".join(["/dev", "/proc", "/sys", *sorted({str(tree) for tree in trees})])

    def _paths(self):
        return " ".join([*FOLDERS, *(f"etc/{name}" for name in USERS)])

    def _make_folders(self, hooks):
        for folder in FOLDERS:
            (self.root / folder).mkdir(parents=True)
        etc = self.root / "etc/libvirt"
        (etc / "libvirtd.conf").write_text(LIBVIRTD.format(**self._words))
        (etc / "qemu.conf").write_text(QEMU.format(**self._words))
        for name, line in USERS.items():
            lines = pathlib.Path(self._base or "/", "etc", name).read_text().splitlines()
            has = any(there.startswith("libvirt-qemu:") for there in lines)
            (self.root / "etc" / name).write_text("\n".join(lines + [line] * (not has)) + "\n")
        for path, text in hooks.items():
            hook = etc / "hooks" / path
            hook.parent.mkdir(parents=True, exist_ok=True)
            hook.write_text(text)
            hook.chmod(0o755)

    def _begin(self):
        words = ["unshare", "--mount", "--net", "--uts", "--pid", "--fork", "--kill-child"]
        script = FIRST.format(**self._words)
        log = self._scratch / f"{self.name}.first"
        self._first = Process([*words, "sh", "-ec", script], log)
        until(self._begun, 20, f"the namespaces of {self.name}")
        (self.netns,) = _children(self._first.pid)

    def _begun(self):
        if not self._first.alive():
            raise Failed(f"the namespaces of {self.name}\n    {self._first.tail()}")
        return "ready" in self._first.log.read_text()

    def inside(self, *argv):
        """The words that run a program in this host."""
        return ["nsenter", f"--target={self.netns}", "-m", "-n", "-u", "-p", *map(str, argv)]

    @property
    def uri(self):
        return f"qemu+unix:///system?socket={self.root}/run/libvirt/libvirt-sock"

    def tail(self):
        return self._libvirtd.tail()

    # --- libvirtd ---------------------------------------------------------------------------------

    def start(self):
        """Starts libvirtd, and waits until it answers."""
        log = self._scratch / f"{self.name}.libvirtd"
        enter = ["chroot", self._base] if self._base else []
        argv = self.inside(*enter, "libvirtd", "--listen")
        self._libvirtd = Process(argv, log)
        until(self._answers, 60, f"libvirtd of {self.name} to answer")
        self.pid = _children(self._libvirtd.pid)[0]

    def _answers(self):
        if not self._libvirtd.alive():
            raise Failed(f"libvirtd ended at its start\n    {self.tail()}")
        sock = self.root / "run/libvirt/libvirt-sock"
        return sock.exists() and self.virsh_try("version").returncode == 0

    def stop(self, signum=signal.SIGTERM):
        """Ends libvirtd by its pid, and nothing else: its domains go on."""
        os.kill(self.pid, signum)
        proc.wait_pid(self.pid, 30)
        self._libvirtd.wait(30)
        self.pid = 0

    def end(self):
        """The end of everything in it."""
        if self._first:
            self._first.kill_all()
        if self._libvirtd:
            self._libvirtd.kill_all()
        self._first = self._libvirtd = None

    # --- its domains ------------------------------------------------------------------------------

    def virsh_try(self, *words, seconds=60):
        """virsh; the finished process, whatever became of it."""
        return proc.run(["virsh", "-q", "-c", self.uri, *words], seconds, check=False)

    def virsh(self, *words, seconds=60):
        """virsh; what it printed, stripped. Its failure is one of the test."""
        done = self.virsh_try(*words, seconds=seconds)
        if done.returncode:
            raise Failed(f"{self.name}: virsh {' '.join(map(str, words))}: {done.stderr.strip()}")
        return done.stdout.strip()

    def define(self, xml):
        path = self._scratch / f"{self.name}-define.xml"
        path.write_text(xml)
        self.virsh("define", path)

    def xml(self, domain, *words):
        return self.virsh("dumpxml", domain, *words)

    def state(self, domain):
        """As virsh says it ("running", "shut off"); "" when there is no such domain."""
        done = self.virsh_try("domstate", domain)
        return "" if done.returncode else done.stdout.strip()

    def pids(self, comm):
        """The processes of this name in this host, as the test sees them."""
        found = []
        space = os.readlink(f"/proc/{self.netns}/ns/pid")
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if os.readlink(entry / "ns/pid") == space:
                    if (entry / "comm").read_text().strip() == comm[:15]:
                        found.append(int(entry.name))
            except OSError:  # it has ended
                continue
        return sorted(found)

    def qemu(self, domain):
        """The pid of a domain's QEMU as the test sees it; 0: none."""
        for pid in self.pids("qemu-system-x86_64"):
            try:
                words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(word.startswith(b"guest=%s," % domain.encode()) for word in words):
                return pid
        return 0


def hook(socket):
    """The text of our hook script, for the iovd of this socket."""
    text = program("iovctl").with_name("systemd").joinpath("libvirt-hook").read_text()
    ours = f'iovctl="{program("iovctl")} -s {socket}"'
    return re.sub(r'(?m)^iovctl=".*"$', lambda _: ours, text, count=1)


def connect(a, b):
    """A network between two hosts, without a trace outside of them."""
    for host in (a, b):
        host.address = f"10.77.0.{host.number}"
    ip = ["nsenter", f"--target={a.netns}", "-n", "ip"]
    proc.run([*ip, "link", "add", "link0", "type", "veth", "peer", "link0", "netns", str(b.netns)])
    for host in (a, b):
        ip = ["nsenter", f"--target={host.netns}", "-n", "ip"]
        proc.run([*ip, "address", "add", f"{host.address}/24", "dev", "link0"])
        set_link(host, "up")


def set_link(host, state):
    """Cuts the network ("down"), or mends it ("up")."""
    proc.run(["nsenter", f"--target={host.netns}", "-n", "ip", "link", "set", "link0", state])


# --- domains --------------------------------------------------------------------------------------

DOMAIN = """<domain type='{type}'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  {metadata}
  <memory unit='MiB'>{memory}</memory>
  {backing}
  <vcpu current='1'>2</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>console=ttyS0 no_timer_check quiet loglevel=5 panic=-1</cmdline>
  </os>
  <features><acpi/></features>
  {cpu}
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='pci' model='pcie-root'/>
    {ports}
    {devices}
    <serial type='file'><source path='{console}' append='on'/></serial>
    <channel type='unix'>
      <source mode='connect' path='{agent}'/>
      <target type='virtio' name='test'/>
    </channel>
    <memballoon model='none'/>
  </devices>
</domain>
"""
# What is hot-plugged needs a free one each.
PORTS = 8 * "<controller type='pci' model='pcie-root-port'/>"
SHARED = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"


# A port of the guest's, of which a file keeps all that is written to it, on whatever host.
PROMISES = """<channel type='file'>
  <source path='{path}' append='on'/><target type='virtio' name='promises'/>
  <address type='virtio-serial' controller='0' bus='0' port='2'/>
</channel>"""


def vhostuser_disk(sock, target="vda", reconnect=True):
    """The XML of a disk that a vhost-user backend serves."""
    again = "<reconnect enabled='yes' timeout='1'/>" if reconnect else ""
    return (
        f"<disk type='vhostuser' device='disk'><driver name='qemu' type='raw'/>"
        f"<source type='unix' path='{sock}'>{again}</source>"
        f"<target dev='{target}' bus='virtio'/></disk>"
    )


class _Monitor:
    """QEMU's monitor as libvirt lets others ask it."""

    def __init__(self, host, name):
        self._host, self._name = host, name

    def command(self, name, seconds, **arguments):
        asked = json.dumps({"execute": name, "arguments": arguments})
        words = ("qemu-monitor-command", self._name, asked)
        return json.loads(self._host.virsh(*words, seconds=seconds))["return"]


class _Nobody:
    """In place of a process: QEMU is libvirt's."""

    pid = 0

    def tail(self):
        return ""

    def kill_all(self):
        pass


class Domain(guest.Guest):
    """A guest that is a domain of a host: defined at once, booted by boot(), or by whoever starts it
    (then take_up() talks to it). The end of the context destroys and undefines it.

    `build` makes its image.

    Its QEMU connects to the test, wherever it runs: the definition is the same on every host.
    """

    def __init__(self, host, name, devices="", metadata="", memory=256, shared=True, identity=None,
                 build=image.qemu):
        self.host, self.name = host, name
        self.uuid = str(identity or uuid.uuid4())
        boot = guest._image(build)
        accel, cpu = guest.accelerator()
        agent, console = (host.root.parent / f"{name}.{end}" for end in ("agent", "console"))
        agent.unlink(missing_ok=True)
        self._listen = socket.socket(socket.AF_UNIX)
        self._listen.bind(str(agent))
        self._listen.listen(8)
        super().__init__(_Nobody(), console, socket.socket(socket.AF_UNIX))
        host.define(
            DOMAIN.format(
                type="kvm" if accel == "kvm" else "qemu",
                name=name,
                uuid=self.uuid,
                metadata=metadata,
                memory=memory,
                backing=SHARED if shared else "",
                kernel=boot.kernel,
                initrd=boot.initramfs,
                cpu=f"<cpu mode='{'host-passthrough' if cpu == 'host' else 'maximum'}'/>",
                ports=PORTS,
                devices=devices,
                console=console,
                agent=agent,
            )
        )

    def __exit__(self, *_):
        self._sock.close()
        self._listen.close()
        self.host.virsh_try("destroy", self.name)
        self.host.virsh_try("undefine", "--managed-save", self.name)

    def _describe(self):
        looked = symptoms.look(_Monitor(self.host, self.name))
        return f"{super()._describe()}\n    {self.host.name}: {self.state}; {looked}"

    def boot(self, *words):
        """virsh start, and waits for the guest."""
        self.host.virsh("start", *words, self.name, seconds=120)
        self.take_up()

    def take_up(self, boots=1):
        """Talks to the guest of the QEMU that connected last; boots=0: it was booted before."""
        deadline = proc.Deadline(60, f"the QEMU of {self.name} to connect")
        self._listen.settimeout(deadline.left())
        old, self._sock = self._sock, self._last_connection()
        before, self._channel = self._channel, Channel(self._sock, self.console_tail)
        if boots:
            self.wait_boot(boots, 2 * guest.BOOT_SECONDS)
        else:
            self._channel.adopt(before)
        old.close()

    def _last_connection(self):
        """Those of QEMUs that have ended since, after moves that failed, come before it."""
        last = self._listen.accept()[0]
        self._listen.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sock = self._listen.accept()[0]
                last.close()
                last = sock
        last.setblocking(True)
        return last

    def moved(self, host):
        """It runs on this host now: its commands go on."""
        self.host = host
        self.take_up(0)

    @property
    def state(self):
        return self.host.state(self.name)

    def wait_state(self, state, seconds=60):
        until(lambda: self.state == state, seconds, f"{self.name} to be {state}", every=0.2)

    def log(self):
        """What libvirt keeps of its QEMU's words."""
        return (self.host.root / f"var/log/libvirt/qemu/{self.name}.log").read_text()
