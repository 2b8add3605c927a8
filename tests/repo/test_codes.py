# SPDX-License-Identifier: GPL-2.0-or-later
"""Codes: each that the code says has its page (lib/codes_*.c), each page is said somewhere, and no two
codes mean the same.

A code is the third argument of err_set(), or any literal that is made like one, GRP-SPLIT: tables have
such, and so do functions that pass one on. A rule (daemon/rules_*.c) says its row's code.
"""
import re

import tree

PLACES = ("lib/", "daemon/", "cli/", "proto/")
WORD = r"[A-Z][A-Z0-9]*(?:-[A-Z0-9]+)*"
LENGTH = 23  # of struct err
# Made like a code, and none: words of other worlds.
OTHER = {"UTF-8", "DMA-FQ", "MSI-X", "IO-APIC", "PCI-MSI", "IR-IO-APIC", "IR-PCI-MSI"}


def literals(source):
    """The codes in tables and calls: literals with a hyphen."""
    return {word for word in re.findall(rf'"({WORD})"', source) if "-" in word} - OTHER


def arguments(source):
    """Third arguments of err_set(): literals, or names of macros."""
    found = set()
    for call in re.finditer(r"\berr_set\(([^;]*?);", source, re.S):
        words = re.match(r'\s*[^,"]+,\s*[^,"]+,\s*("[^"]*"|\w[\w>.-]*)\s*,', call.group(1))
        choice = r'\s*[^,"]+,\s*[^,"]+,\s*\w[^,"?]*\?\s*("[^"]*")\s*:\s*("[^"]*")\s*,'
        either = re.match(choice, call.group(1))
        if either:
            found.update(either.groups())
            continue
        # What cannot be read is no code; the definition of err_set() itself is no call.
        if words or not re.match(r"struct err \*|\.\.\.|\)|__VA_ARGS__", call.group(1)):
            found.add(words.group(1) if words else f'"{" ".join(call.group(1).split())[:60]}"')
    return found


def macros(source):
    return dict(re.findall(rf'^#define\s+(\w+)\s+"({WORD})"', source, re.M))


def rules(source):
    """Codes of rows of the table of rules."""
    return set(re.findall(rf'^\t\{{"({WORD})"', source, re.M))


def said(files):
    """{code: the file that says it}, of {name: source}; and what is no code at all."""
    codes, problems = {}, []
    names = {key: code for source in files.values() for key, code in macros(source).items()}
    for name, source in files.items():
        words = arguments(source)
        for word in words:
            if word.startswith('"') and not re.fullmatch(WORD, word.strip('"')):
                problems.append(f"{name}: {word} is no code: {WORD}")
        here = {word.strip('"') for word in words if re.fullmatch(f'"{WORD}"', word)}
        here |= {names[word] for word in words if word in names}
        here |= literals(source) | set(macros(source).values()) & set(names.values())
        if re.search(r"/rules_\w+\.c$", name):
            here |= rules(source)
        for code in here:
            codes.setdefault(code, name)
    return codes, problems


FIELDS = ("cause", "seen", "fix", "waiver")


def read_string(source, at):
    """The C string that begins at `at`, of any number of pieces; and where it ends."""
    text = ""
    while True:
        piece = re.compile(r'\s*("((?:[^"\\]|\\.)*)"|[A-Z][A-Z_]+\b)').match(source, at)
        if not piece:
            return text, at
        text += piece.group(2) if piece.group(2) is not None else "<" + piece.group(1) + ">"
        at = piece.end()


def pages(source):
    """[{code, title, cause, ...}] of one file of pages."""
    found = []
    for row in re.finditer(rf'^\t\{{"({WORD})",', source, re.M):
        title, at = read_string(source, row.end())
        page = {"code": row.group(1), "title": title}
        while True:
            field = re.compile(r"\s*,\s*\.(\w+)\s*=").match(source, at)
            if not field:
                break
            page[field.group(1)], at = read_string(source, field.end())
        found.append(page)
    return found


def check_page(name, page, first):
    problems = []
    code = page["code"]
    if len(code) > LENGTH:
        problems.append(f"{name}: {code} is longer than {LENGTH}")
    for field in ("title", "cause", "seen", "fix"):
        if not page.get(field):
            problems.append(f"{name}: {code} has no {field}")
    for field in ("title", "cause"):
        other = first.setdefault((field, page.get(field)), code)
        if other != code and page.get(field):
            problems.append(f"{name}: {code} has the {field} of {other}: they mean the same")
    return problems


def check(files):
    """Problems of {name: source}."""
    sources = {name: text for name, text in files.items() if not is_page_file(name)}
    codes, problems = said(sources)
    first, known = {}, set()
    for name in sorted(set(files) - set(sources)):
        for page in pages(files[name]):
            if page["code"] in known:
                problems.append(f"{name}: {page['code']} is there twice")
            known.add(page["code"])
            problems += check_page(name, page, first)
    problems += [f"{codes[code]}: {code} has no page in lib/codes_*.c: add a row"
                 for code in sorted(set(codes) - known)]
    problems += [f"{code} has a page, and nothing says it" for code in sorted(known - set(codes))]
    return problems


def is_page_file(name):
    return re.fullmatch(r"lib/codes_\w+\.c", name) is not None


PAGE = '\t{"A-CODE", "what it is",\n\t\t.cause = "one "\n\t\t\t "two",\n\t\t.seen = "x",\n\t\t.fix = "y"},\n'
SAID = 'err_set(e, ERR_REFUSED, "A-CODE", "%s", name);'
SAMPLES = (
    (SAID, PAGE, 0),
    (SAID, "", 1),
    ("", PAGE, 1),
    (SAID, PAGE + PAGE, 1),
    (SAID + 'x = "B-CODE";', PAGE + PAGE.replace("A-CODE", "B-CODE"), 2),
    ('err_set(e, ERR_USAGE, "PLAIN",\n\t"words");', PAGE.replace("A-CODE", "PLAIN"), 0),
    ('#define X "A-CODE"\nerr_set(e, ERR_USAGE, X, "words");', PAGE, 0),
    ('err_set(e, ERR_USAGE, "no code", "words");' + SAID, PAGE, 1),
    (SAID, PAGE.replace('.seen = "x"', '.seen = ""'), 1),
    ('{"A-" "CODE"}', PAGE, 1),
    ('err_set(e, ERR_FAILED, what ? "A-CODE" : "B-CODE", "words");', PAGE, 1),
    ('err_set(e, pick(1, 2), what ? "A-CODE" : NULL, "words");', PAGE, 1),
)


def self_test():
    problems = []
    for source, page, count in SAMPLES:
        found = check({"daemon/x.c": source, "lib/codes_x.c": page})
        if len(found) != count:
            problems.append(f"self-test: not {count} problems in {source!r}, {page!r}: {found}")
    return problems


def main():
    names = [name for name in tree.files(".c", ".h") if name.startswith(PLACES)]
    files = {name: tree.text(name) for name in names}
    problems = self_test() + check(files)
    count = sum(len(pages(files[name])) for name in names if is_page_file(name))
    if count < 60:
        problems.append(f"{count} codes have pages: fewer than 60")
    tree.finish(problems, f"codes ({count})")


main()
