# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Targets of replication at a MinIO server: which is whose, and how they are written down. That it opens them is an integration test."""
from __future__ import annotations

import hashlib

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import minio_targets
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects.options import Place
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PLACE = Place("replica", "https://there:9000", access_key="key", secret_key="sesame-open-1")


def test_only_the_secret_opens_what_is_sealed():
    salt, nonce = b"s" * 32, b"n" * 8
    sealed = minio_targets.sealed("sesame", b"text", salt, nonce)
    assert sealed.startswith(salt + b"\x02" + nonce) and b"text" not in sealed
    cipher = AESGCM(hashlib.pbkdf2_hmac("sha256", b"sesame", salt, 8192, 32))
    tag = cipher.encrypt(nonce + bytes(4), b"", None)
    assert cipher.decrypt(nonce + b"\x01\0\0\0", sealed[41:], b"\x80" + tag) == b"text"


@pytest.mark.parametrize(("endpoint", "host"), [
    ("https://there:9000", "there:9000"), ("https://there", "there"), ("https://there:443", "there"), ("http://there:80", "there"),
    (None, "s3.us-east-1.amazonaws.com")])
def test_a_host_is_written_in_one_way(endpoint, host):
    assert minio_targets.host_of(Place("replica", endpoint)) == host


def test_a_target_is_known_by_host_and_bucket():
    one, two = {"endpoint": "there:9000", "targetbucket": "replica"}, {"endpoint": "there:443", "targetbucket": "replica"}
    assert minio_targets.find([two, one], PLACE) is one
    assert minio_targets.find([one, two], Place("replica", "https://there")) is two
    assert minio_targets.find([one], Place("another", "https://there:9000")) is None


def test_what_the_server_is_told():
    told = minio_targets.wanted("kestra", PLACE)
    assert told["secure"] and told["path"] == "on" and told["credentials"] == {"accessKey": "key", "secretKey": "sesame-open-1"}
    assert not minio_targets.wanted("kestra", Place("replica", "http://there"))["secure"]
    amazon = minio_targets.wanted("kestra", Place("replica", addressing="virtual"))
    assert amazon["secure"] and amazon["path"] == "off"


def test_credentials_are_needed_on_both_sides():
    with pytest.raises(ConfigError):
        minio_targets.Targets(Place("kestra", "http://here"))
    with pytest.raises(ConfigError) as caught:
        minio_targets.require_credentials(minio_targets.wanted("kestra", Place("replica", "http://there")))
    assert caught.value.reason == "credentials_missing"
