# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts that reach each other by ssh: OpenSSH's client and its server, keys and all.

    ssh = Ssh(stack, scratch)                   # what is started from here on finds this ssh
    pair = Pair(stack, scratch, images, networked=True)
    ssh.serve("host2", pair.there)              # `ssh host2 ...` is a command on that host

The servers listen in the networks of their hosts, so only who is in one of these reaches them.
"""
import os
import shutil
import subprocess

from . import proc
from .proc import Process, until
from .servers import program

# Tests live below /tmp, where everybody may write.
SERVER = """ListenAddress 0.0.0.0
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/key.pub
AllowUsers root
PermitRootLogin prohibit-password
PasswordAuthentication no
StrictModes no
UsePAM no
SetEnv PATH={path}
"""
CLIENT = """User root
IdentityFile {folder}/key
IdentitiesOnly yes
UserKnownHostsFile {folder}/known_hosts
GlobalKnownHostsFile /dev/null
"""
HOST = """Host {name}
HostName {address}
HostKeyAlias {name}
"""


class Ssh:
    def __init__(self, stack, scratch):
        self._stack, self._folder = stack, scratch / "ssh"
        self._folder.mkdir()
        # A server wants to be called by its whole path, which need not be one that users have.
        self._sshd = proc.need("/usr/sbin/sshd", "openssh-server")
        real = proc.need("ssh", "openssh-client")
        for name in ("key", "host_key"):
            words = ["-q", "-t", "ed25519", "-N", "", "-f", self._folder / name]
            subprocess.run(["ssh-keygen", *words], check=True)
        bin_folder = self._folder / "bin"
        bin_folder.mkdir()
        (bin_folder / "ssh").write_text(f'#!/bin/sh\nexec {real} -F {self._folder}/config "$@"\n')
        (bin_folder / "ssh").chmod(0o755)
        self._write("config", CLIENT)
        path = os.environ["PATH"]
        self._write("sshd_config", SERVER, path=f"{program('iovctl').parent}:{path}")
        os.environ["PATH"] = f"{bin_folder}:{path}"
        stack.callback(os.environ.__setitem__, "PATH", path)

    def _write(self, name, text, **words):
        (self._folder / name).write_text(text.format(folder=self._folder, **words))

    def serve(self, name, host):
        """This host is there by this name, with its libvirt and its iovd where they are by default."""
        run = host.libvirt.root / "run"
        (run / "sshd").mkdir(mode=0o755)
        (run / "iovd").mkdir()
        (run / "iovd/iovd.sock").symlink_to(host.daemon.socket)
        argv = host.libvirt.inside(self._sshd, "-D", "-e", "-f", self._folder / "sshd_config")
        log = self._folder / f"{name}.log"
        server = self._stack.enter_context(Process(argv, log))
        until(lambda: "listening" in log.read_text() or not server.alive(), 30, "sshd to listen")
        self.know(name, host, "host_key")

    def know(self, name, host, key):
        """Where a name leads to, and the key that is expected there."""
        with open(self._folder / "config", "a") as config:
            config.write(HOST.format(name=name, address=host.libvirt.address))
        with open(self._folder / "known_hosts", "a") as known:
            known.write(f"{name} {(self._folder / key).with_suffix('.pub').read_text()}")
