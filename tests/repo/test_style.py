# SPDX-License-Identifier: GPL-2.0-or-later
"""What can be counted of the style: sizes, licence lines, and words that must not stay."""
import re

import tree

CODE = (".c", ".h", ".py", "dev", "tests/run", ".ci/run")
FILE_LINES, FILE_LINES_MOST = 600, 900
FUNCTION_LINES_MOST = 100
HALF_WITHIN, MOST_WITHIN = 20, 70  # half of all functions, 19 of 20
LICENCE = "SPDX-License-Identifier: GPL-2.0-or-later"

# In pieces, so that this file passes its own check.
MARKERS = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")) + r")\b")
# Where a package comes from is the machine's affair, and where the tree lies is nobody's.
PLACES = re.compile(r"\b(deb|snapshot|security)\.debian" + r"\.org|(?<![\w.])/(wo" + r"rk|home/\w+)/")


def function_lengths(content):
    """(first line, lines) of each function: a body opens and closes in the first column."""
    begin = None
    for number, line in enumerate(content.splitlines(), 1):
        if line == "{":
            begin = number
        elif line == "}" and begin is not None:
            yield begin, number - begin + 1
            begin = None


def check_lines(name, content):
    lines = content.count("\n")
    if lines > FILE_LINES_MOST:
        return [f"{name}: {lines} lines, at most {FILE_LINES_MOST}"]
    return []


def check_licence(name, content):
    if LICENCE in "".join(content.splitlines(keepends=True)[:2]):
        return []
    return [f"{name}: no '{LICENCE}' in its first lines"]


def check_words(name, content):
    problems = []
    for number, line in enumerate(content.splitlines(), 1):
        for pattern, why in ((MARKERS, "unfinished"), (PLACES, "a place of one machine")):
            found = pattern.search(line)
            if found:
                problems.append(f"{name}:{number}: '{found.group(0)}': {why}")
    return problems


def check_function_lengths(name, content):
    return [f"{name}:{begin}: a function of {length} lines, at most {FUNCTION_LINES_MOST}"
            for begin, length in function_lengths(content) if length > FUNCTION_LINES_MOST]


def check_distribution(_name, lengths):
    """Most functions are small."""
    problems = []
    for within, share in ((HALF_WITHIN, 0.5), (MOST_WITHIN, 0.95)):
        small = sum(length <= within for length in lengths)
        if small < share * len(lengths):
            problems.append(f"{small} of {len(lengths)} functions are within {within} lines, "
                            f"not {share:.0%}")
    return problems


def self_test():
    """Each check must object to a bad sample and pass a good one."""
    long_function = "int f(void)\n{\n" + "\tg();\n" * 99 + "}\n"
    samples = (
        (check_lines, "x\n" * 901, True),
        (check_lines, "x\n" * 900, False),
        (check_licence, "int x;\n", True),
        (check_licence, f"/* {LICENCE} */\n", False),
        (check_words, "/* TO" + "DO: later */\n", True),
        (check_words, 'mkstemp("/tmp/x.' + "X" * 6 + '");\n', False),
        (check_words, 'open("/wo' + 'rk/x");\n', True),
        (check_function_lengths, long_function, True),
        (check_function_lengths, long_function.replace("\tg();\n", "", 1), False),
        (check_distribution, [21, 21, 20], True),
        (check_distribution, [20] * 18 + [71] * 2, True),
        (check_distribution, [20] * 19 + [71], False),
    )
    return [f"self-test {number}: {check('sample', sample)}"
            for number, (check, sample, bad) in enumerate(samples)
            if bool(check("sample", sample)) != bad]


def main():
    problems = self_test()
    lengths = []
    names = tree.files()
    for name in names:
        content = tree.text(name)
        problems += check_words(name, content)
        if name.endswith(CODE):
            problems += check_lines(name, content) + check_licence(name, content)
            if content.count("\n") > FILE_LINES:
                print(f"warning: {name}: better within {FILE_LINES} lines")
        if name.endswith((".c", ".h")):
            problems += check_function_lengths(name, content)
            lengths += [length for _, length in function_lengths(content)]
    problems += check_distribution("", lengths)
    if not lengths:
        problems.append("no function found: nothing was checked")
    tree.finish(problems, "style")


main()
