# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 120
"""iovctl explain: the page of every code, without a daemon."""
import json

from lib import proc, report
from lib.proc import Failed
from lib.servers import program


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


def test(_scratch):
    return f"{test_pages()} codes"


report.main(test)
