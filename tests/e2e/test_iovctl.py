# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 120
"""iovctl with a whole iovd behind it: each verb in each form, and every exit status it can reach."""
import json
import shlex
import subprocess

from lib import disk, proc, report, terminal
from lib.daemon import Daemon
from lib.proc import Failed
from lib.servers import program
from lib.varlink import MANAGER, SERVICE, Client, Interface

ESCAPE = "\x1b"


def expect(condition, what):
    if not condition:
        raise Failed(what)


class Iovctl:
    """The program, with the daemon's socket filled in."""

    def __init__(self, socket):
        self.socket = socket

    def argv(self, *words):
        return [str(program("iovctl")), "-s", str(self.socket), *map(str, words)]

    def run(self, *words, status=0):
        done = proc.run(self.argv(*words), check=False)
        expect(done.returncode == status,
               f"iovctl {words}: {done.returncode}, not {status}: {done.stdout}{done.stderr}")
        return done.stdout if status == 0 else done.stderr

    def json(self, *words):
        return json.loads(self.run("-o", "json", *words))

    def on_terminal(self, *words):
        """What it prints when standard output is a terminal of 80 columns."""
        return terminal.run(self.argv(*words))


def test_attach(ctl, image):
    """What people see, what scripts see, and that both say the same."""
    plan = ctl.run("attach", image, "web1", "--as", "root", "--dry-run")
    expect(plan.startswith("Nothing was changed"), plan)
    expect(ctl.json("list", "attachments")["attachments"] == [], "a dry run attached")
    shown = ctl.run("attach", image, "web1", "--as", "root")
    attachment = ctl.json("show", "web1/root")["attachment"]
    # The words that a person copies are those that a script gets.
    pasted, remark = shown[shown.index("  -"):].split("\n\n")
    pasted = pasted.replace("\\\n", " ")
    expect(shlex.split(pasted) == attachment["vmm_args"], f"{shown} is not {attachment}")
    expect("memory-backend-memfd" in remark, remark)
    line = next(line for line in ctl.run("show", "web1/root").splitlines()
                if line.startswith("vmm_args"))
    expect(shlex.split(line)[1:] == attachment["vmm_args"], line)
    again = ctl.run("attach", image, "web1", "--as", "root")
    expect("already" in again, f"a second attach says {again}")
    return attachment


def test_forms(ctl, attachment):
    """The same list as table, JSON, lines and plain text."""
    listed = ctl.json("list", "attachments")
    expect(list(listed) == ["schema", "attachments"], f"{list(listed)}")
    expect(listed["schema"] == "iovd.attachments/1", listed["schema"])
    expect([a["id"] for a in listed["attachments"]] == [attachment["id"]], f"{listed}")
    lines = ctl.run("-o", "jsonl", "list", "attachments").splitlines()
    expect([json.loads(line)["id"] for line in lines] == [attachment["id"]], f"{lines}")
    plain = ctl.run("-o", "plain", "list", "attachments").split("\t")
    expect(plain[0] == attachment["id"] and plain[-1] == attachment["socket"] + "\n", f"{plain}")
    header, row = ctl.run("list", "attachments").splitlines()
    expect(header.split()[0] == "ID" and row.split()[0] == attachment["id"], f"{header}\n{row}")
    expect(header.index("DEVICE") == row.index(attachment["device"]), "columns are not aligned")
    for filtered, count in ((("--vm", "web1"), 1), (("--vm", "other"), 0)):
        got = ctl.json("list", "attachments", *filtered)["attachments"]
        expect(len(got) == count, f"{filtered} lists {len(got)}")
    expect(ctl.json("list", "vms")["vms"][0]["attachments"] == [attachment["id"]], "the VM's list")


def test_terminal(ctl):
    """On a terminal the table fits; into a pipe go no escapes and no shortened words."""
    piped = ctl.run("list", "attachments")
    expect(ESCAPE not in piped and "…" not in piped, "a pipe gets what is for a terminal")
    rows = ctl.on_terminal("list", "attachments").replace("\r", "").splitlines()
    expect(ESCAPE in rows[0] and len(rows) == 2, f"{rows}")
    expect(len(rows[1]) <= 80 and "…" in rows[1], f"{len(rows[1])} columns: {rows[1]}")


def test_statuses(ctl, image, attachment):
    """Exit statuses, by what is wrong; and the codes that explain them."""
    for words, status, code in (
            (("attach", image, "web2"), 4, "DEV-TAKEN"),
            (("attach", f"{image}.none", "web1"), 10, "NO-SUCH"),
            (("attach", image, "../web1"), 2, "NAME"),
            (("detach", "none"), 10, "NO-SUCH"),
            (("show", "none"), 10, "NO-SUCH"),
            (("job", "none"), 10, "NO-JOB")):
        said = ctl.run(*words, status=status)
        expect(said.startswith("iovctl: ") and f"[{code}]" in said, f"{words}: {said}")
    job = ctl.json("list", "jobs")["jobs"][-1]
    expect(job["verb"] == "attach", f"{job}")
    expect(ctl.json("job", job["id"], "--wait", "1000")["job"]["id"] == job["id"], "job --wait")
    expect(attachment["id"] in ctl.run("list", "attachments"), "a refusal changed something")


def test_types(ctl):
    """With something attached, every list and everything in it is of the described types."""
    with Client(ctl.socket) as client:
        text = client.call(SERVICE + "GetInterfaceDescription", {"interface": MANAGER[:-1]})
        manager = Interface(text["description"])
        for method in manager.methods:
            if method.startswith("List"):
                manager.check_reply(method, client.call(method))
        for what, key in (("Attachments", "id"), ("Vms", "name"), ("Jobs", "id")):
            listed = client.call("List" + what)[what.lower()]
            expect(listed, f"nothing to check in List{what}")
            for item in listed:
                manager.check_reply("Show", client.call("Show", {"name": item[key]}))


def test_watch(ctl, attachment):
    """Events come at once, numbered without gaps, and tell of the detach."""
    with subprocess.Popen(ctl.argv("-o", "jsonl", "watch"), stdout=subprocess.PIPE) as watch:
        try:
            events = [json.loads(watch.stdout.readline())]
            expect(events[0]["event"] == "watching", f"begins with {events[0]}")
            expect(ctl.run("detach", "root") == f"{attachment['id']}: taken back\n", "detach")
            while (events[-1]["event"], events[-1]["id"]) != ("removed", attachment["id"]):
                events.append(json.loads(watch.stdout.readline()))
        finally:
            watch.kill()
    numbers = [event["seq"] for event in events]
    expect(numbers == list(range(numbers[0], numbers[0] + len(numbers))), f"gaps: {numbers}")
    expect(all(event["schema"] == "iovd.event/1" for event in events), "the schema")
    test_watch_again(ctl, events)


def read_events(ctl, count, *options):
    with subprocess.Popen(ctl.argv("-o", "jsonl", "watch", *options), stdout=subprocess.PIPE) as watch:
        try:
            return [json.loads(watch.stdout.readline()) for _ in range(count)]
        finally:
            watch.kill()


def test_watch_again(ctl, events):
    """Who comes back gets the same events; with another daemon's number, all that this one has."""
    first, daemon = str(events[0]["seq"]), events[0]["daemon"]
    again = read_events(ctl, len(events), "--since", first, "--daemon", daemon)
    expect(again[1:] == events[1:], f"not as before: {again}")
    expect(again[0]["event"] == "watching" and again[0]["seq"] == events[0]["seq"], again[0])
    other = read_events(ctl, 3, "--since", first, "--daemon", daemon[::-1] + "0")
    expect(other[1]["event"] == "lost" and other[1]["data"]["why"] == "restarted", other)
    expect(other[2]["seq"] == 1, other)
    ctl.run("watch", "--daemon", daemon, status=2)


def test(scratch):
    # Blanks and quotes in a name must survive printing and pasting.
    folder = scratch / "a folder, it's odd"
    folder.mkdir()
    image = disk.blank(folder / "disk.img", 8)
    with Daemon(scratch):
        ctl = Iovctl(scratch / "run" / "iovd.sock")
        attachment = test_attach(ctl, image)
        test_forms(ctl, attachment)
        test_terminal(ctl)
        test_statuses(ctl, image, attachment)
        test_types(ctl)
        test_watch(ctl, attachment)


report.main(test)
