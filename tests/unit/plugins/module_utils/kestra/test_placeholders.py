# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Placeholders mean here what they mean to Micronaut."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import placeholders

KNOWN = {"HOST": "db1", "EMPTY": "", "PASS": "p:a`s}s", "a.b": "from property", "localhost": "a property"}


@pytest.mark.parametrize("text, expected", [
    ("plain", "plain"),
    ("", ""),
    ("${HOST}", "db1"),
    ("x${HOST}y${HOST}z", "xdb1ydb1z"),
    ("${ HOST }", "db1"),
    ("${MISSING:default}", "default"),
    ("${MISSING:}", ""),
    ("${EMPTY:default}", ""),                                    # set but empty is a value
    ("${PASS}", "p:a`s}s"),                                      # a value is never looked into
    ("${a.b}", "from property"),
    ("${MISSING:${HOST}}", "db1"),
    ("${MISSING:${ALSO:deep}}", "deep"),
    ("${MISSING:a${HOST}b${ALSO:c}}", "adb1bc"),
    ("${MISSING:`jdbc:postgresql://h:5432/d`}", "jdbc:postgresql://h:5432/d"),
    ("${MISSING:jdbc:postgresql://h:5432/d}", "5432/d"),         # Micronaut: what follows the last colon
    ("${MISSING:localhost:5432}", "a property"),                 # and a part between colons is looked up
    ("${MISSING:HOST:fallback}", "db1"),
    ("jdbc:postgresql://${HOST:localhost}:${PORT:5432}/kestra", "jdbc:postgresql://db1:5432/kestra"),
    ("${random.port}", "${random.port}"),
    ("a-${random.uuid}-${HOST}", "a-${random.uuid}-db1"),
    ("$HOST $ {HOST} }", "$HOST $ {HOST} }"),
])
def test_resolves(text, expected):
    assert placeholders.resolve(text, KNOWN.get) == expected


def test_names_everything_it_looked_for():
    with pytest.raises(placeholders.Unresolved) as caught:
        placeholders.resolve("${A}", {}.get)
    assert caught.value.names == ["A"]
    with pytest.raises(placeholders.Unresolved) as caught:
        placeholders.resolve("${A:${B}}", {}.get)
    assert caught.value.names == ["B"]


@pytest.mark.parametrize("text", ["${A", "x ${A:${B} y", "${"])
def test_a_missing_brace_is_an_error(text):
    with pytest.raises(placeholders.Malformed):
        placeholders.resolve(text, KNOWN.get)


@pytest.mark.parametrize("text, ambiguous", [
    ("${A:b:c}", True), ("${A:b}", False), ("${A:`b:c`}", False), ("${A:${B:c}}", False), ("${A", False),
    ("${random.int(1,5)}", False), ("x:y:z", False),
])
def test_tells_a_default_with_bare_colons(text, ambiguous):
    assert placeholders.has_ambiguous_default(text) is ambiguous
