#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
# timeout: 600
"""The lab itself: every way in which a topic can end must be told as that."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lab import lab  # noqa: E402
from lib import report  # noqa: E402
from lib.proc import Failed  # noqa: E402

# How each topic of faulty/ ends, and words of the reason.
ENDS = {
    "a_leaves": (lab.FAILED, "left behind: sleep 1234"),
    "b_slow": (lab.FAILED, "not done after 2 s"),
    "c_skips": (lab.SKIPPED, "no such device"),
    "d_passes": (lab.PASSED, ""),
    "e_panics": (lab.FAILED, "Kernel panic"),
    "f_never": (lab.FAILED, "Kernel panic"),
}


def test(_scratch):
    topics = [lab.topic(path) for path in sorted((lab.HERE / "faulty").glob("topic_*.py"))]
    verdicts = lab.run_or_skip(lab.hosts.parse("virtio"), topics)
    for topic, verdict in zip(ENDS, verdicts, strict=True):
        result, words = ENDS[topic]
        if (verdict.topic, verdict.result) != (topic, result) or words not in verdict.why:
            raise Failed(f"{topic}: wanted {result}: {words}, but: {verdict}")
    if lab.status(verdicts) != 1:
        raise Failed("the whole has not failed")


report.main(test)
