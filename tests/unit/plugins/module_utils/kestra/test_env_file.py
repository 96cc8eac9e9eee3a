# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environment files mean here what they mean to systemd."""
from __future__ import annotations

import random

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import env_file


@pytest.mark.parametrize("text, expected", [
    ("", {}),
    ("A=1\nB=2\n", {"A": "1", "B": "2"}),
    ("A=1", {"A": "1"}),
    ("# note\n; note\n\n  A=1\n", {"A": "1"}),
    ("A=", {"A": ""}),
    ("A=  x y  \n", {"A": "x y"}),
    ("A='x  y '\n", {"A": "x  y "}),
    ('A="x  y "\n', {"A": "x  y "}),
    ('A="x"\'y\'z\n', {"A": "xyz"}),
    ("A=it's fine\nB=2\n", {"A": "it's fine", "B": "2"}),        # a quote inside a bare value is a character
    ('A="a\\"b\\\\c\\$d\\`e\\nf"\n', {"A": 'a"b\\c$d`e\\nf'}),
    ("A='a\\b'\n", {"A": "a\\b"}),
    ("A=a\\ \\ \n", {"A": "a  "}),
    ("A=a\\\nb\n", {"A": "ab"}),
    ('A="line one\nline two"\n', {"A": "line one\nline two"}),
    ("A=p@ss%word:with#signs=and;more\n", {"A": "p@ss%word:with#signs=and;more"}),
    ("A=\u00fcnn\u00e4 \u4e2d\n", {"A": "\u00fcnn\u00e4 \u4e2d"}),
    ("A=$HOME ${B}\n", {"A": "$HOME ${B}"}),
    ("no assignment\nA=1\n", {"A": "1"}),
    ("1A=x\nA B=y\nexport C=z\nD=1\n", {"D": "1"}),
    ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    ("A=1\nA=2\n", {"A": "2"}),
    ("A='unclosed\n", {"A": "unclosed\n"}),
])
def test_parses(text, expected):
    assert env_file.parse(text) == expected


def test_quote_and_parse_are_inverse():
    chooser = random.Random(20261123)
    alphabet = "ab \t\n'\"\\`$#;=%@:{}~\u00e4\u4e2d"
    for _unused in range(2000):
        value = "".join(chooser.choice(alphabet) for _unused in range(chooser.randrange(12)))
        assert env_file.parse("X=" + env_file.quote(value) + "\n") == {"X": value}
