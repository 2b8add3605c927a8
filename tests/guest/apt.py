# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian packages of other releases, fetched without touching the system's own apt state.

Every suite gets an apt of its own: sources, lists, status and cache in a private directory. The
mirror is the one that the machine itself uses for its Debian release, in whatever form its source
entry is written.
"""
import functools
import pathlib
import re
import subprocess
import tempfile

from . import cache

KEYRING = pathlib.Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def _run(argv, cwd=None):
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise cache.Unavailable(
            f"{argv[0]} {argv[-1]}: {done.stderr.strip() or done.stdout.strip()}"
        )
    return done.stdout


@functools.cache
def codename():
    """The machine's Debian release."""
    for line in pathlib.Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.split("=")[1].strip('"')
    raise cache.Unavailable("/etc/os-release names no VERSION_CODENAME")


@functools.cache
def _mirror():
    """Where the machine gets its own release from."""
    listing = _run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"]
    )
    for uri, release in (line.split() for line in listing.splitlines()):
        if release == codename():
            return uri
    raise cache.Unavailable(f"no apt source entry for {codename()}")


def entry(suite, kind="deb"):
    """A line of sources.list for a suite of the machine's mirror."""
    signed = f"[signed-by={KEYRING}] " if KEYRING.exists() else ""
    return f"{kind} {signed}{_mirror()} {suite} main"


class Apt:
    """One suite, seen through its own apt. `kind` is deb (binary packages) or deb-src (sources);
    the packages are those of the machine's architecture unless told otherwise."""

    def __init__(self, suite, kind="deb", architecture=None):
        self.suite = suite
        self._dir = cache.root() / "apt" / "-".join(filter(None, (suite, kind, architecture)))
        for sub in ("state/lists/partial", "cache/archives/partial"):
            (self._dir / sub).mkdir(parents=True, exist_ok=True)
        (self._dir / "list").write_text(entry(suite, kind) + "\n")
        (self._dir / "status").touch()
        self._options = [
            f"-oDir::Etc::sourcelist={self._dir}/list",
            "-oDir::Etc::sourceparts=/dev/null",
            "-oDir::Etc::preferencesparts=/dev/null",
            f"-oDir::State={self._dir}/state",
            f"-oDir::State::status={self._dir}/status",
            f"-oDir::Cache={self._dir}/cache",
            "-oAPT::Sandbox::User=root",
            "-oAcquire::Retries=3",
            "-q",
        ]
        if architecture:
            self._options += [
                f"-oAPT::Architecture={architecture}",
                f"-oAPT::Architectures={architecture}",
            ]

    def _apt(self, program, *words, cwd=None):
        return _run([program, *self._options, *words], cwd)

    @functools.cache
    def update(self):
        """Fetches the suite's lists; once per process."""
        cache.progress(f"package lists of {self.suite}")
        self._apt("apt-get", "update")

    def show(self, name):
        """The control fields of a package's newest version."""
        self.update()
        shown = self._apt("apt-cache", "--no-all-versions", "show", name)
        return dict(
            line.split(": ", 1) for line in shown.splitlines() if re.match(r"[\w-]+: ", line)
        )

    def download(self, names, into):
        """Fetches packages, as they are, into a directory."""
        self.update()
        cache.progress(f"download {' '.join(names)}")
        self._apt("apt-get", "download", *names, cwd=into)
        return sorted(pathlib.Path(into).glob("*.deb"))

    def unpack(self, names, into):
        """Fetches packages and unpacks them into a directory, without installing them."""
        with tempfile.TemporaryDirectory(dir=cache.root()) as debs:
            for deb in self.download(names, debs):
                _run(["dpkg", "-x", str(deb), str(into)])

    def source_tar(self, package, into):
        """Fetches the upstream tarball of a source package; apt checks its hash."""
        self.update()
        cache.progress(f"download the source of {package} ({self.suite})")
        self._apt("apt-get", "source", "--tar-only", "--download-only", package, cwd=into)
        return next(pathlib.Path(into).glob(f"{package}_*.orig.tar.*"))
