# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 120
"""iovctl explain and doctor: the page of every code, why a device can be given or not, and that attach
thinks the same; this host."""
import json
import pathlib
import time

from lib import proc, report
from lib.daemon import Daemon
from lib.inventory import Looker, make_tree
from lib.proc import Failed
from lib.servers import program

NOISE = 10 * proc.PATIENCE  # a machine under load


def expect(condition, what):
    if not condition:
        raise Failed(what)


def iovctl(*words):
    return proc.run([program("iovctl"), "-s", "/nonexistent/iovd.sock", *words]).stdout


def test_pages():
    """Each code that is listed has a page, and both say the same; for people it fits a screen."""
    codes = json.loads(iovctl("-o", "json", "list", "codes"))["codes"]
    for page in codes[::16]:
        alone = json.loads(iovctl("-o", "json", "explain", page["code"]))
        expect(alone == {"schema": "iovd.code/1", "page": page}, f"{alone} is not {page}")
        shown = iovctl("explain", page["code"])
        lines = shown.splitlines()
        expect(lines[0] == f"{page['code']}: {page['title']}", shown)
        expect(len(lines) <= 24 and max(map(len, lines)) <= 100, shown)
        words = " ".join(shown.split())
        for field in ("cause", "seen", "fix"):
            expect(f"{field} {page[field]}" in words, f"no {field} in {shown}")
    return len(codes)


def codes_of(path):
    return [f["code"] for f in path["findings"] if f["weight"] == "closes"]


def chosen_of(x):
    return next((p for p in x["paths"] if p["chosen"]), None)


def dry_run(daemon, device, path):
    """What attach would do: None, or the code of its refusal."""
    done = daemon.ctl("attach", device, "web1", "--path", path, "--dry-run", check=False)
    if done.returncode == 0:
        return None
    expect(done.returncode == 4, f"attach {device}: {done.returncode}: {done.stdout}")
    return json.loads(done.stdout)["error"]["code"]


def test_choice(daemon):
    """Path auto is what explain says; it is refused if and only if explain says so, and why."""
    ids = [d["id"] for d in daemon.ctl("list", "devices")["devices"]]
    for device in ids:
        x = daemon.ctl("explain", device)["explanation"]
        chosen = chosen_of(x)
        expect((chosen and chosen["path"]) == x["path"], f"{device}: {x}")
        code = dry_run(daemon, device, "auto")
        expect((code is None) == bool(chosen and chosen["open"]), f"{device}: attach: {code}, {x}")
        if code and chosen:
            expect(code in codes_of(chosen), f"{device}: {code} is not among {codes_of(chosen)}")
        for path in x["paths"]:
            expect(path["open"] == (not codes_of(path)), f"{device}: {path}")
    return len(ids)


def test_people(scratch):
    """For a person: ten lines or little more, with what was seen and what to do."""
    tree = make_tree("groups", scratch / "groups")
    with Looker(scratch, "groups-look", tree) as looker:
        argv = [str(word) for word in looker.cli("explain", "0000:07:01.0") if word not in ("-o", "json")]
        lines = proc.run(argv).stdout.splitlines()
    expect(lines[1].startswith("attach takes passthrough: "), lines)
    expect(len(lines) <= 16, lines)
    for words in ("GRP-VIABLE: ", "/sys/kernel/iommu_groups/5/devices/0000:06:00.0/driver: shpchp",
                  "fix take its driver from it", "paravirt: closed, PATH: "):
        expect(any(words in line for line in lines), f"no {words!r} in {lines}")


def test_bind(scratch):
    """bind thinks what explain and attach think, and waives what can be waived there."""
    tree, place = scratch / "groups", "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0"
    (tree / place / "boot_vga").write_text("1\n")
    with Looker(scratch, "bind-look", tree) as looker:
        x = looker.ctl("explain", "0000:01:00.0")["explanation"]
        closed = next(codes_of(p) for p in x["paths"] if p["path"] == "passthrough")
        expect(closed == ["HOST-CONSOLE"], closed)
        for words, status in (((), 4), (("--allow", "HOST-CONSOLE"), 0), (("--allow", "GRP-NONE"), 2)):
            done = proc.run(looker.cli("bind", "0000:01:00.0", "vfio", "--dry-run", *words), check=False)
            expect(done.returncode == status, f"bind {words}: {done.returncode}: {done.stdout}")
            expect((status == 4) == ("HOST-CONSOLE]" in done.stderr), f"bind {words}: {done.stderr}")
        looker.ctl("bind", "0000:01:00.0", "igb", "--dry-run")  # no VM's business


def test_doctor(daemon):
    """The host: an answer within two seconds, and an exit status for scripts."""
    begin = time.monotonic()
    done = daemon.ctl("doctor", check=False)
    seconds = time.monotonic() - begin
    doctor = json.loads(done.stdout)["doctor"]
    problems = [f for f in doctor["findings"] if f["weight"] != "notes"]
    expect(len(problems) == doctor["problems"], doctor)
    expect(done.returncode == (4 if problems else 0), f"{done.returncode} with {problems}")
    expect(seconds < 2 * NOISE, f"doctor took {seconds:.1f} s")
    for finding in doctor["findings"]:
        expect(finding["evidence"] and finding["fix"] and finding["title"], finding)
    parts = {part["what"]: part for part in doctor["parts"]}
    release = pathlib.Path("/proc/sys/kernel/osrelease").read_text().strip()
    expect(parts["kernel"]["detail"] == release, parts)
    return seconds


def test(scratch):
    count = test_pages()
    test_people(scratch)
    test_bind(scratch)
    with Daemon(scratch) as daemon:
        devices = test_choice(daemon)
        doctor = test_doctor(daemon)
    return f"{count} codes, {devices} devices; doctor {doctor:.2f} s"


report.main(test, proc.tmpfs())
