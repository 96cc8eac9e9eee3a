# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No known secret survives scrubbing in any of its spellings; secret files are private and short-lived."""
from __future__ import annotations

import base64
import json
import os
import random
import shlex
import stat
import string
from urllib.parse import quote, quote_plus

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import (
    MASK,
    Redactor,
    secret_file,
    variants,
)

NASTY = [
    "p@ss:w/ord",
    'it\'s 100% "quoted"',
    "naïve pässword",
    "back\\slash\nnewline",
    "a b c d",
    "$HOME `id`",
    "+/=?&#",
]


def spellings(secret):
    raw = secret.encode()
    return [secret, quote(secret, safe=""), quote(secret), quote_plus(secret), base64.b64encode(raw).decode(),
            base64.urlsafe_b64encode(raw).decode().rstrip("="), shlex.quote(secret), json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1]]


@pytest.mark.parametrize("secret", NASTY)
def test_every_spelling_is_masked(secret):
    redactor = Redactor(secret)
    for text in spellings(secret):
        scrubbed = redactor.scrub(f"before {text} after")
        assert text not in scrubbed and MASK in scrubbed
        assert scrubbed.startswith("before ") and scrubbed.endswith(" after")


def test_random_secrets_never_survive():
    chance = random.Random(20261123)
    alphabet = string.ascii_letters + string.digits + string.punctuation + " äß€\n"
    for _round in range(500):
        secret = "".join(chance.choice(alphabet) for _n in range(chance.randint(4, 24)))
        line = " | ".join(spellings(secret))
        scrubbed = Redactor(secret).scrub(line)
        assert secret not in scrubbed
        for text in spellings(secret):
            assert text not in scrubbed, (secret, text)


def test_nested_values_and_keys_are_scrubbed_and_other_types_kept():
    value = {"a hunter22": ["x hunter22", ("hunter22", 7, None, True)], "n": 1.5, "b": b"hunter22"}
    assert Redactor("hunter22").scrub(value) == {
        f"a {MASK}": [f"x {MASK}", [MASK, 7, None, True]], "n": 1.5, "b": MASK.encode()}


def test_a_secret_that_contains_another_is_masked_whole():
    assert Redactor("abcd", "abcd-more").scrub("abcd-more") == MASK


def test_short_secrets_do_not_turn_results_into_nonsense():
    assert Redactor("1", "", None, "abc").scrub("1 of 10 tables, abc") == "1 of 10 tables, abc"


def test_secrets_added_later_count():
    redactor = Redactor()
    redactor.add("later-secret")
    assert redactor.scrub("later-secret") == MASK


def test_bytes_that_are_no_utf8_are_secrets_too():
    assert Redactor(b"\xff\xfe\xfd\xfc").scrub(b"x\xff\xfe\xfd\xfcy") == b"x" + MASK.encode() + b"y"


def test_nothing_has_no_variants():
    assert variants("") == set()


def test_the_secret_file_is_private_and_goes_away(tmp_path):
    with secret_file(tmp_path, "s3cret") as path:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with open(path, encoding="utf-8") as handle:
            assert handle.read() == "s3cret"
    assert list(tmp_path.iterdir()) == []


def test_the_secret_file_goes_away_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), secret_file(tmp_path, b"s3cret"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
