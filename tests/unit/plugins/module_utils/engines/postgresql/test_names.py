# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names in manifests."""

from __future__ import annotations

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import names


@pytest.mark.parametrize(
    "parts,text",
    [
        (("public", "flows"), "public.flows"),
        (("public", "Odd name"), 'public."Odd name"'),
        (("a.b", 'c"d'), '"a.b"."c""d"'),
        (("public", "new\nline"), 'public."new\nline"'),
        (("public", "1st"), 'public."1st"'),
        (("flows",), "flows"),
        (("public", "ключ"), 'public."ключ"'),
    ],
)
def test_display_can_be_read_back(parts, text):
    assert names.display(*parts) == text
    assert names.parse(text) == parts


def test_parse_takes_plain_words_as_they_are():
    assert names.parse("public.Flows") == ("public", "Flows")


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", '"', '"a', 'a"b"', '""'])
def test_parse_refuses(text):
    with pytest.raises(ConfigError):
        names.parse(text)


def test_quoted():
    assert names.quoted("public", 'a"; DROP') == '"public"."a""; DROP"'
