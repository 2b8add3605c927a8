# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 120
"""Pictures of hosts: as a tree at any width, as SVG, as a graph; each shows all that there is."""
import json
import os
import re
import subprocess
import xml.etree.ElementTree as etree

from lib import disk, proc, report, terminal
from lib.daemon import Daemon
from lib.inventory import Looker, make_tree
from lib.proc import Failed
from lib.servers import program
from lib.varlink import MANAGER, SERVICE, Client, Interface

SCENES = ("lvm", "network", "sriov", "groups", "volumes")
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")
SVG = "{http://www.w3.org/2000/svg}"
ODD_NAME = "a <disk> & \"more\" 'é'.img"
TROUBLE = "#ffcdd2"  # is how a graph has what is in trouble
LONG_NAME = "di" + "é" * 70 + ".img"  # longer than a box, and than what is kept of it, which ends within an é


def expect(condition, what):
    if not condition:
        raise Failed(what)


def argv(socket, *words):
    return [str(program("iovctl")), "-s", str(socket), "show", "host", *words]


def draw(socket, how, locale="C.UTF-8"):
    """What goes into a pipe."""
    return subprocess.run(argv(socket, how), check=True, timeout=60, stdout=subprocess.PIPE,
                          env={**os.environ, "LC_ALL": locale}).stdout.decode()


def short(name):
    return name.removeprefix("0000:")


def is_shown(device, tree):
    """Alone, or among those that one row stands for."""
    if re.search(rf"(^|[ ├└─`|-]){re.escape(short(device))}( |$)", tree, re.M):
        return True
    return any(first <= short(device) <= last and len(last) == len(first)
               for first, last in re.findall(r"(\S+)-(\S+) \(\d+\)", tree))


def check_tree(socket, reply):
    """All devices are there; it fits; colours and lines only where they can be shown."""
    piped = draw(socket, "--tree")
    for device in reply["devices"]:
        expect(is_shown(device["id"], piped), f"no {device['id']} in\n{piped}")
    ascii_only = draw(socket, "--tree", "C")
    expect(all(c < "\x7f" for c in ascii_only), f"not ASCII:\n{ascii_only}")
    for text in (piped, ascii_only):
        expect("\x1b" not in text and "…" not in text, f"made for a terminal:\n{text}")
    for columns in (80, 200):
        shown = terminal.run(argv(socket, "--tree"), columns, LC_ALL="C.UTF-8")
        expect("\x1b" in shown, f"no colours:\n{shown}")
        plain = ESCAPE.sub("", shown)
        longest = max(map(len, plain.splitlines()))
        expect(longest <= columns, f"{longest} of {columns} columns:\n{plain}")
        expect(len(plain.splitlines()) == len(piped.splitlines()), "it loses lines")
        quiet = terminal.run(argv(socket, "--tree"), columns, LC_ALL="C.UTF-8", NO_COLOR="1")
        expect(quiet == plain, f"colours are more than colours:\n{quiet}\n{plain}")
    return piped


def check_pictures(socket, reply):
    """Each is what its readers can read, with a box or node for everything."""
    svg = etree.fromstring(draw(socket, "--svg"))
    titles = [t.text for t in svg.iter(f"{SVG}title")]
    for device in reply["devices"]:
        names = [t.split(", ")[0:2] for t in titles]
        expect(any(n[0] == device["id"] or n[0] <= device["id"] <= n[-1] for n in names),
               f"no box for {device['id']}: {titles}")
    width, height = int(svg.get("width")), int(svg.get("height"))
    for box in svg.iter(f"{SVG}rect"):
        if box.get("width") != "100%":
            expect(int(box.get("x")) + int(box.get("width")) <= width and
                   int(box.get("y")) + int(box.get("height")) <= height, "a box beyond the page")
    dot = draw(socket, "--dot")
    nodes = set(re.findall(r"^ +(n\d+) \[label=", dot, re.M))
    expect(len(nodes) >= len(reply["devices"]), f"{len(nodes)} nodes")
    edges = re.findall(r"^ +(n\d+) -> (n\d+)", dot, re.M)
    expect(edges and {n for edge in edges for n in edge} <= nodes, "an edge to nowhere")
    return svg, dot


def test_scenes(scratch):
    for scene in SCENES:
        with Looker(scratch, f"run-{scene}", make_tree(scene, scratch / scene)) as looker:
            with Client(looker.socket) as client:
                text = client.call(SERVICE + "GetInterfaceDescription", {"interface": MANAGER[:-1]})
                reply = client.call("ShowHost")
                Interface(text["description"]).check_reply("ShowHost", reply)
            expect(looker.ctl("show", "host", "--tree").keys() == reply.keys(), "the JSON behind it")
            tree = check_tree(looker.socket, reply)
            svg, dot = check_pictures(looker.socket, reply)
            if scene == "groups":
                lines = [line.split("group")[0] for line in tree.splitlines()]
                brackets = [line for line in lines if re.search(r" 3 [┐│┘]", line)]
                expect(len(brackets) == 6, f"group 3 has not six members:\n{tree}")
                expect("cluster_3 {" in dot, dot)
                frames = [t.text for t in svg.iter(f"{SVG}text") if t.text.startswith("group ")]
                expect("group 3" in frames and "group 2" not in frames, f"{frames}")
            if scene == "sriov":
                expect(tree.index("41:00.0 ") < tree.index("ens1f0 ") < tree.index("41:02.0 "),
                       f"what is on a function comes before what is behind it:\n{tree}")


def test_machines(scratch):
    """A live daemon: machines with what they have, names that mean something to readers."""
    image = disk.blank(scratch / ODD_NAME, 8)
    other = disk.blank(scratch / "other.img", 8)
    long = disk.blank(scratch / LONG_NAME, 8)
    with Daemon(scratch) as daemon:
        daemon.attach(image, "web1", "root")
        daemon.attach(other, "web1", "data")
        daemon.attach(long, "web1", "long")
        reply = json.loads(proc.run([program("iovctl"), "-s", daemon.socket, "-o", "json", "show",
                                     "host"]).stdout)
        expect([vm["name"] for vm in reply["vms"]] == ["web1"], f"{reply['vms']}")
        tree = draw(daemon.socket, "--tree")
        machine = tree.split("\n\n")[1].splitlines()
        expect([line.split()[:2] for line in machine] ==
               [["web1", machine[0].split()[1]], ["├─", "root"], ["├─", "data"], ["└─", "long"]], tree)
        expect("ready" in machine[1] and "paravirt" in machine[1], tree)
        svg = etree.fromstring(draw(daemon.socket, "--svg"))
        expect(len([p for p in svg.iter(f"{SVG}path") if p.get("class") == "c"]) == 3, "three curves")
        labels = [t.text for t in svg.iter(f"{SVG}text") if t.text.startswith("diéé")]
        expect(labels and all(text[-1] == "…" and len(text) < 60 for text in labels), f"{labels}")
        expect(any(ODD_NAME in t.text for t in svg.iter(f"{SVG}title")), "a name got lost")
        dot = draw(daemon.socket, "--dot")
        expect(ODD_NAME.replace('"', '\\"') in dot and "diéé" in dot, "a name got lost")
        expect(TROUBLE not in dot, "a machine that nobody runs is shown as trouble")


def test_usage(scratch):
    with Looker(scratch, "run-usage", make_tree("lvm", scratch / "usage")) as looker:
        for words in (["show", "sda", "--tree"], ["show", "host", "--tree", "--svg"]):
            done = proc.run(looker.cli(*words), check=False)
            expect(done.returncode == 2, f"{words}: status {done.returncode}")


def test(scratch):
    test_scenes(scratch)
    test_usage(scratch)
    test_machines(scratch)


report.main(test, proc.tmpfs())
