#!/usr/bin/env python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says in the words of scripts/test what a pytest run did: usage: junit_summary.py NAME FILE.

A test names what it leaves out of the sampled tier by printing a line "left to --full: ..."; one that is left out as a
whole by a skip reason that starts with those words.
"""
from __future__ import annotations

import sys
from xml.etree import ElementTree

LEFT = "left to --full: "


def main(name: str, path: str) -> int:
    passed, failed = 0, []
    skipped = {}  # reason: titles
    left = set()
    for case in ElementTree.parse(path).getroot().iter("testcase"):
        title = ("%s::%s" % (case.get("classname"), case.get("name"))).split("[")[0].strip(":")
        for output in case.iter("system-out"):
            left.update(line[len(LEFT):] for line in (output.text or "").splitlines() if line.startswith(LEFT))
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(title)
        elif skip is not None:
            reason = skip.get("message") or "no reason given"
            if reason == "collection skipped":  # a whole file; the text is ('file', line, 'Skipped: reason')
                reason = (skip.text or reason).split("Skipped: ", 1)[-1].rstrip("')\" \n")
            reason = " ".join(reason.split())
            if reason.startswith(LEFT):
                left.add(reason[len(LEFT):])
            else:
                skipped.setdefault(reason, []).append(title)
        else:
            passed += 1
    for text in sorted(left):
        print(LEFT + text)
    for reason, titles in sorted(skipped.items()):
        more = "" if len(titles) == 1 else " and %d more" % (len(titles) - 1)
        print("skipped test: %s%s: %s" % (titles[0], more, reason))
    counts = "%s: %d passed" % (name, passed)
    if skipped:
        counts += ", %d skipped" % sum(len(titles) for titles in skipped.values())
    if failed:
        print("error: %s, %d failed (%s%s)" % (counts, len(failed), failed[0], ", ..." if len(failed) > 1 else ""))
        return 1
    if not passed:
        print("error: %s: not a single test" % counts)
        return 1
    print("detail: " + counts)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
