# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, durations and the question what is a secret."""
from __future__ import annotations

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import values


@pytest.mark.parametrize("key, expected", [
    ("basePath", "base-path"), ("base-path", "base-path"), ("base_path", "base-path"), ("BASE", "base"),
    ("kestra.storage.s3.accessKey", "kestra.storage.s3.access-key"), ("forcePathStyle", "force-path-style"),
    ("accessKeyID", "access-key-id"), ("bootstrap.servers", "bootstrap.servers"), (8080, "8080"),
])
def test_every_spelling_of_a_key_is_one(key, expected):
    assert values.normalise_key(key) == expected


@pytest.mark.parametrize("key", [
    "datasources.postgres.password", "kestra.encryption.secret-key", "kestra.encryption.secretKey",
    "kestra.secret.vault.token", "kestra.secret.jdbc.secret", "kestra.storage.s3.access-key",
    "kestra.storage.azure.connection-string", "kestra.storage.gcs.service-account", "kestra.ee.license.key",
    "kestra.ee.license.fingerprint", "kestra.kafka.client.properties.sasl.jaas.config",
    "kestra.kafka.client.properties.ssl.keystore.password", "DB-PASSWORD", "x.api-keys[0]", "kestra.jwt-token",
])
def test_secret_keys(key):
    assert values.is_secret_key(key)


@pytest.mark.parametrize("key", [
    "datasources.postgres.url", "datasources.postgres.username", "kestra.secret.type", "kestra.storage.local.base-path",
    "micronaut.server.ssl.key-store.path", "kestra.server.basic-auth.enabled", "kestra.keyboard", "monkey", "MONKEY",
])
def test_other_keys(key):
    assert not values.is_secret_key(key)


@pytest.mark.parametrize("value, seconds", [
    ("PT5M", 300), ("PT1H30M", 5400), ("P1DT1S", 86401), ("PT0.5S", 0.5), ("pt5m", 300), ("5m", 300), ("300s", 300),
    ("300000ms", 300), ("2h", 7200), ("300", 300), (300, 300), ("P", None), ("PT", None), ("soon", None), ("", None),
    (None, None), (True, None),
])
def test_durations(value, seconds):
    assert values.parse_duration(value) == seconds


@pytest.mark.parametrize("url, shown", [
    ("https://user:pass@h:9000/path?sig=x#y", "https://h:9000/path"), ("http://h", "http://h"), ("h:9200", "h:9200"),
    ("user:pass@h:9200", "h:9200"), (None, None), ("http://u:p/a@h:1/x", "http://h:1/x"),
    ("http://[::1]:9/x", "http://[::1]:9/x"), ("https://h/x?next=http://y", "https://h/x"),
])
def test_a_shown_url_has_no_credentials(url, shown):
    assert values.shown_url(url) == shown


@pytest.mark.parametrize("name, canonical", [
    ("kestra.storage.s3.access-key", "KESTRA_STORAGE_S3_ACCESS_KEY"),
    ("KESTRA_STORAGE_S3_ACCESS__KEY", "KESTRA_STORAGE_S3_ACCESS_KEY"),
    ("kestra_queue_type", "KESTRA_QUEUE_TYPE"),
])
def test_keys_and_variables_meet(name, canonical):
    assert values.env_name(name) == canonical


def test_scalars_as_java_would_print_them():
    assert [values.as_text(item) for item in (True, False, None, 1, 1.5, "x")] == ["true", "false", "", "1", "1.5", "x"]
