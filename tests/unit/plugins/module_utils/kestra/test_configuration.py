# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kestra's configuration: precedence, placeholders, databases, storages, secrets, and what is refused by name."""
from __future__ import annotations

import base64
import contextlib
import json
import random
import traceback

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import config
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.layers import Layer, Sources

BASE = """
kestra:
  repository: {type: postgres}
  queue: {type: postgres}
  storage: {type: local, local: {base-path: /app/storage}}
datasources:
  postgres:
    url: jdbc:postgresql://db1:5433/kestra
    username: orchestrator
    password: s3cretpass
"""
NASTY = ["it's", 'say "hi"', "100%", "p@ss:w/ord", "a b  c", "pässwörd-中文", "$HOME", "back\\slash", "#hash", "'\"%@: ü"]


def make(*texts, overrides=(), **other):
    return config.load(Sources(files=tuple(Layer(f"f{number}.yml", text) for number, text in enumerate(texts)),
                               overrides=tuple(Layer("cli.yml", text) for text in overrides), **other))


# -- precedence -------------------------------------------------------------------------------------------------------

def test_a_later_file_wins_key_by_key():
    found = make("a: {b: 1, c: 2}", "a.c: 3\nA: {d: 4}")
    assert [found.get(key) for key in ("a.b", "a.c", "a.d", "a.e")] == [1, 3, 4, None]
    assert found.get("a.e", "default") == "default"


def test_the_whole_order():
    layers = {"overrides": ["x.y: override"], "system_properties": {"x.y": "property"},
              "environment": {"X_Y": "variable"}}
    expected = ["override", "property", "variable", "file"]
    for index, name in enumerate(expected):
        assert make("x.y: file", **layers).get("x.y") == name
        if index < 3:
            del layers[("overrides", "system_properties", "environment")[index]]


def test_every_spelling_finds_every_spelling():
    found = make("kestra: {storage: {s3: {accessKey: a, secret_key: b, force-path-style: true}}}")
    for key in ("kestra.storage.s3.access-key", "kestra.storage.s3.accessKey", "kestra.storage.s3.access_key"):
        assert found.get(key) == "a"
    assert found.get("kestra.storage.s3.secretKey") == "b"
    assert found.get("kestra.storage.s3.forcePathStyle") is True


def test_variables_reach_dotted_and_hyphenated_keys():
    found = make("", environment={"DATASOURCES_POSTGRES_PASSWORD": "p", "KESTRA_STORAGE_S3_ACCESS__KEY": "k",
                                  "kestra_queue_type": "q"})
    assert found.get("datasources.postgres.password") == "p"
    assert found.get("kestra.storage.s3.access-key") == "k"
    assert found.get("kestra.queue.type") == "q"


def test_server_local_forces_h2_above_everything():
    found = make(BASE, command=("server", "local"), working_directory="/srv/k",
                 overrides=["kestra.queue.type: postgres"])
    assert found.repository_type() == found.queue_type() == "h2"
    assert found.get("kestra.storage.local.base-path") == "/srv/k/data"
    with pytest.raises(ConfigError) as caught:
        found.require_supported()
    assert caught.value.reason == "unsupported_repository" and "h2" in caught.value.message


@pytest.mark.parametrize("command", [("server", "standalone", "--port", "9090"),
                                     ("server", "webserver", "--port=9090")])
def test_port_option(command):
    assert make("micronaut.server.port: 1", command=command).describe()["ports"]["server"] == 9090


# -- placeholders -----------------------------------------------------------------------------------------------------

def test_placeholders_look_at_variables_and_properties():
    found = make("a: ${B}\nb.c: ${d.e:${F:deep}}\ng: ${a}-${b.c}", environment={"B": "${H}", "H": "end"})
    assert found.get("g") == "end-deep"


def test_random_is_left_alone():
    assert make("p: ${random.port}").get("p") == "${random.port}"
    assert make("endpoints.all.port: ${random.port}").describe()["ports"]["management"] is None


@pytest.mark.parametrize("value", NASTY)
def test_a_nasty_secret_arrives_unharmed(value):
    for found in (make(BASE.replace("s3cretpass", json.dumps(value, ensure_ascii=False))),
                  make(BASE.replace("s3cretpass", "${P}"), environment={"P": value}),
                  make(BASE, environment={"DATASOURCES_POSTGRES_PASSWORD": value})):
        assert found.database_credentials()["password"] == value


def test_a_missing_placeholder_names_key_file_and_variable():
    found = make(BASE.replace("s3cretpass", "${DB_PASSWORD}"))
    with pytest.raises(ConfigError) as caught:
        found.database_credentials()
    assert caught.value.reason == "unresolved_placeholder"
    for part in ("datasources.postgres.password", "f0.yml", "DB_PASSWORD"):
        assert part in caught.value.message
    described = found.describe()
    assert described["database"]["host"] == "db1" and described["database"]["password_set"] is False
    assert any("DB_PASSWORD" in warning for warning in described["warnings"])


def test_a_circle_of_placeholders_is_named():
    with pytest.raises(ConfigError) as caught:
        make("a: ${b}\nb: ${c}\nc: ${a}").get("a")
    assert caught.value.reason == "placeholder_loop" and "a -> b -> c -> a" in caught.value.message


def test_an_unclosed_placeholder_is_named_not_shown():
    with pytest.raises(ConfigError) as caught:
        make("a: ${hunter2").get("a")
    assert caught.value.reason == "malformed_placeholder" and "hunter2" not in str(caught.value.to_result())


def test_a_default_with_bare_colons_is_what_micronaut_takes_and_is_warned_about():
    found = make(BASE.replace("jdbc:postgresql://db1:5433/kestra", "${DB_URL:jdbc:postgresql://db1:5433/kestra}"))
    with pytest.raises(ConfigError) as caught:
        found.database_credentials()
    assert caught.value.reason == "jdbc_url"
    assert any("backticks" in warning for warning in found.warnings)
    quoted = make(BASE.replace("jdbc:postgresql://db1:5433/kestra", "${DB_URL:`jdbc:postgresql://db1:5433/kestra`}"))
    assert quoted.database_credentials()["host"] == "db1"
    assert not quoted.warnings


# -- the database -----------------------------------------------------------------------------------------------------

def test_credentials_of_the_simple_case():
    assert make(BASE).database_credentials() == {
        "driver": "postgresql", "host": "db1", "port": 5433, "hosts": [["db1", 5433]], "name": "kestra",
        "schema": "public", "user": "orchestrator", "password": "s3cretpass", "ssl_mode": None, "ssl_root_cert": None,
        "ssl_cert": None, "ssl_key": None, "target_session_attrs": None}


def test_several_hosts_and_tls():
    found = make(BASE.replace("db1:5433/kestra", "a,b:5433/kestra?targetServerType=primary&sslmode=verify-full"))
    credentials = found.database_credentials()
    assert (credentials["host"], credentials["port"]) == ("a,b", "5432,5433")
    assert credentials["ssl_mode"] == "verify-full" and credentials["target_session_attrs"] == "read-write"


def test_the_url_wins_over_the_properties_beside_it():
    found = make(BASE.replace("/kestra", "/kestra?user=other&password=fromurl"))
    credentials = found.database_credentials()
    assert (credentials["user"], credentials["password"]) == ("other", "fromurl")
    assert "fromurl" in found.secrets() and "fromurl" not in json.dumps(found.describe())


@pytest.mark.parametrize("change, schema", [
    ("", "public"),
    ("?currentSchema=k1,public", "k1"),
    ("?options=-c%20search_path=k2", "k2"),
    ("?currentSchema=k1\n    schema: k3", "k3"),
    ("\n    schema: k3\n    connection-init-sql: SET search_path TO k4", "k4"),
])
def test_the_schema_the_tables_are_in(change, schema):
    assert make(BASE.replace("/kestra\n", f"/kestra{change}\n")).database_credentials()["schema"] == schema


def test_the_user_is_the_database_without_a_name():
    assert make(BASE.replace("5433/kestra", "5433/")).database_credentials()["name"] == "orchestrator"


def test_a_data_source_of_another_name_is_found_when_it_is_the_only_one():
    text = BASE.replace("  postgres:\n", "  main:\n")
    assert make(text).database_credentials()["host"] == "db1"
    with pytest.raises(ConfigError) as caught:
        make(text, "datasources.other.url: jdbc:postgresql://x/y").database_credentials()
    assert "main, other" in caught.value.message


def test_an_incomplete_configuration_says_what_is_missing_and_where_it_looked():
    with pytest.raises(ConfigError) as caught:
        make("kestra.repository.type: postgres").database_credentials()
    assert "datasources.postgres.url" in caught.value.message and "f0.yml" in caught.value.hint
    with pytest.raises(ConfigError) as caught:
        make("a: 1").require_supported()
    assert "kestra.repository.type is not set in f0.yml" in caught.value.message


def test_an_unquoted_password_is_a_number_to_yaml_and_is_warned_about():
    found = make(BASE.replace("s3cretpass", "0123"))
    assert found.database_credentials()["password"] == "83"
    assert any("not quoted" in warning for warning in found.warnings)


def test_mysql_is_described_and_its_credentials_are_known():
    found = make(BASE.replace("postgresql", "mysql").replace("postgres", "mysql"))
    described = found.describe()
    assert described["engine"] == "mysql" and described["database"]["driver"] == "mysql"
    assert described["database"]["schema"] is None
    assert found.database_credentials()["user"] == "orchestrator"


# -- what is refused --------------------------------------------------------------------------------------------------

def typed(repository="postgres", queue="postgres", storage="local"):
    return make(f"kestra:\n  repository.type: {repository}\n  queue.type: {queue}\n  storage.type: {storage}\n")


@pytest.mark.parametrize("found, reason, word", [
    (typed("h2", "h2"), "unsupported_repository", "h2"),
    (typed("H2", "H2"), "unsupported_repository", "h2"),
    (typed("sqlserver", "sqlserver"), "unsupported_repository", "sqlserver"),
    (typed("memory", "memory"), "unsupported_repository", "memory"),
    (typed("oracle", "oracle"), "unsupported_repository", "oracle"),
    (typed("postgres", "memory"), "unsupported_queue", "memory"),
    (typed("postgres", "kafka"), "mixed_backends", "kafka"),
    (typed("postgres", "mysql"), "mixed_backends", "mysql"),
    (typed("mysql", "memory"), "unsupported_queue", "memory"),
    (typed("elasticsearch", "memory"), "unsupported_queue", "memory"),
    (typed("elasticsearch", "postgres"), "mixed_backends", "postgres"),
    (typed(storage="seaweedfs"), "unsupported_storage", "seaweedfs"),
    (typed(storage="floppy"), "unsupported_storage", "unknown"),
])
def test_refused_by_name_with_what_to_do(found, reason, word):
    with pytest.raises(ConfigError) as caught:
        found.require_supported()
    assert caught.value.reason == reason and word in caught.value.message and caught.value.hint


def test_only_the_components_asked_for_count():
    found = typed(storage="seaweedfs")
    found.require_supported(["database"])
    assert [problem["component"] for problem in typed("h2", "h2", "seaweedfs").problems()] == ["repository", "storage"]
    for database, queue in (("postgres", "postgres"), ("mysql", "mysql"), ("elasticsearch", "kafka")):
        for storage in ("local", "s3", "minio", "gcs"):
            typed(database, queue, storage).require_supported(["repository", "queue", "database", "storage"])


def test_a_mixed_pair_depends_on_the_version():
    found = typed("postgres", "kafka")
    for version in (None, "1.3.15", "0.21.0"):
        assert found.problems(kestra_version=version)[0]["reason"] == "mixed_backends"
    assert found.problems(kestra_version="2.0.1")[0]["reason"] == "unsupported_queue"


@pytest.mark.parametrize("repository", ["h2", "sqlserver", "memory", "elasticsearch"])
def test_no_credentials_of_what_has_none(repository):
    with pytest.raises(ConfigError) as caught:
        typed(repository, repository).database_credentials()
    assert caught.value.reason == "unsupported_repository"


# -- storages, search, queue ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text, expected", [
    ("s3: {endpoint: 'http://u:p@h:9000', region: r, bucket: b, accessKey: AKIA1, secretKey: sk1, "
     "forcePathStyle: true}",
     {"endpoint": "http://h:9000", "region": "r", "bucket": "b", "force_path_style": True, "path": None}),
    ("minio: {endpoint: h, port: 9000, secure: false, bucket: b, access-key: AKIA1, secret-key: sk1}",
     {"endpoint": "h", "port": 9000, "secure": False, "bucket": "b", "region": None, "part_size": None, "vhost": None,
      "path": None}),
    ("gcs: {bucket: b, project-id: p, service-account: AKIA1}", {"bucket": "b", "project_id": "p", "path": None}),
    ("azure: {endpoint: 'https://h/?sig=sk1', container: c, connection-string: AKIA1}",
     {"endpoint": "https://h/", "container": "c", "shared_key_account_name": None, "path": None}),
])
def test_storages_are_described_without_their_secrets(text, expected):
    kind = text.partition(":")[0]
    found = make(f"kestra:\n  storage:\n    type: {kind}\n    {text}\n")
    described = found.describe()
    assert described["storage"] == {"type": kind, "covered": kind in ("s3", "minio", "gcs", "azure"), **expected}
    assert "AKIA1" not in json.dumps(described) and "sk1" not in json.dumps(described)


def test_local_storage_has_kestras_default_path():
    assert typed().describe_storage() == {"type": "local", "covered": True, "base_path": "/tmp/kestra/storage"}


def test_a_single_underscore_in_a_storage_variable_is_warned_about():
    variables = {"KESTRA_STORAGE_LOCAL_BASE_PATH": "/srv"}
    found = typed_with(variables)
    assert found.describe_storage()["base_path"] == "/srv"
    assert any("KESTRA_STORAGE_LOCAL_BASE__PATH" in warning for warning in found.warnings)
    right = typed_with({"KESTRA_STORAGE_LOCAL_BASE__PATH": "/srv"})
    assert right.describe_storage()["base_path"] == "/srv" and not right.warnings


def typed_with(environment):
    return make("kestra.storage.type: local", environment=environment)


def test_elasticsearch_and_kafka_are_described():
    found = make("""
kestra:
  repository.type: elasticsearch
  queue.type: kafka
  elasticsearch:
    client: {http-hosts: "https://u:hidden1@es1:9200, es2:9200", basicAuth: {username: e, password: hidden2}}
    defaults: {indice-prefix: prod_}
  kafka:
    client.properties: {bootstrap.servers: "k1:9092,k2:9092", sasl.jaas.config: hidden3}
""")
    described = found.describe()
    assert described["elasticsearch"] == {"hosts": ["https://es1:9200", "es2:9200"], "index_prefix": "prod_",
                                          "user": "e", "trust_all_ssl": False}
    assert described["kafka"] == {"bootstrap": ["k1:9092", "k2:9092"], "topic_prefix": "kestra_",
                                  "consumer_prefix": "kestra_", "message_protection": None}
    assert "hidden" not in json.dumps(described)
    assert {"hidden1", "hidden2", "hidden3"} <= set(found.secrets())
    listed = make("kestra:\n  repository.type: elasticsearch\n"
                  "  elasticsearch.client.http-hosts: ['http://a:1', 'http://b:2']")
    assert listed.describe()["elasticsearch"]["hosts"] == ["http://a:1", "http://b:2"]
    assert found.elasticsearch_credentials() == {
        "hosts": ["https://u:hidden1@es1:9200", "es2:9200"], "user": "e", "password": "hidden2", "prefix": "prod_",
        "trust_all_ssl": False}
    assert listed.elasticsearch_credentials() == {"hosts": ["http://a:1", "http://b:2"], "user": None, "password": None,
                                                  "prefix": "kestra_", "trust_all_ssl": False}
    with pytest.raises(ConfigError) as failed:
        make("kestra.repository.type: postgres").elasticsearch_credentials()
    assert failed.value.reason == "unsupported_database"


# -- addresses --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("text, api, management", [
    ("", "http://localhost:8080", "http://localhost:8081"),
    ("micronaut.server: {port: 9090, context-path: /kestra/}\nendpoints.all.port: 9091", "http://localhost:9090/kestra",
     "http://localhost:9091"),
    ("micronaut.server.host: 10.0.0.1", "http://10.0.0.1:8080", "http://10.0.0.1:8081"),
    ("micronaut.server.host: 0.0.0.0", "http://localhost:8080", "http://localhost:8081"),
    ("micronaut.server.host: '::1'", "http://[::1]:8080", "http://[::1]:8081"),
    ("micronaut.server.ssl: {enabled: true, port: 8444}", "https://localhost:8444", "https://localhost:8081"),
    ("micronaut.server.port: -1", None, "http://localhost:8081"),
    ("micronaut.server.port: ${random.port}", None, "http://localhost:8081"),
])
def test_where_kestra_answers(text, api, management):
    found = make(text)
    assert (found.api_url(), found.management_url()) == (api, management)


def test_basic_auth_of_the_api():
    text = ("kestra.server.basic-auth: {username: a, password: 12345678}\n"
            "endpoints.all.basicAuth: {username: m, password: pm}")
    assert make(text).api_credentials() == {"user": "a", "password": "12345678", "management_user": "m",
                                            "management_password": "pm"}
    off = make(text + "\nkestra.server.basic-auth.enabled: false").api_credentials()
    assert off["user"] is None and off["password"] is None


def test_server_settings():
    described = make("kestra.server: {termination-grace-period: 10s, liveness: {heartbeatInterval: PT3S}}\n"
                     "kestra.configurations.delete-files-on-start: true").describe()["server"]
    assert described["termination_grace_period_seconds"] == 10 and described["heartbeat_interval_seconds"] == 3
    assert described["delete_files_on_start"] is True
    assert make("").describe()["server"]["termination_grace_period_seconds"] == 300


# -- secrets ----------------------------------------------------------------------------------------------------------

def test_every_secret_is_known_and_none_is_described():
    text = BASE + """
endpoints.all.basic-auth: {username: m, password: mgmt-secret}
extra:
  - type: t
    values: {apiToken: in-a-list-secret}
micronaut.http.services.x.url: https://bot:url-secret@h/
"""
    text = text.replace("queue: {type: postgres}", "queue: {type: postgres}\n  encryption: {secret-key: enc-secret}\n"
                        "  secret: {type: vault, vault: {token: vault-secret}}")
    environment = {"SECRET_API": base64.b64encode(b"flow-secret").decode(), "ENV_STAGE": "prod",
                   "MY_TOKEN": "env-secret", "KESTRA_EE_LICENSE_KEY": "licence-secret", "PATH": "/usr/bin"}
    found = make(text, environment=environment, system_properties={"some.password": "property-secret"})
    secrets = set(found.secrets())
    wanted = {"s3cretpass", "enc-secret", "mgmt-secret", "in-a-list-secret", "url-secret", "vault-secret",
              "flow-secret", environment["SECRET_API"], "env-secret", "licence-secret", "property-secret"}
    assert wanted <= secrets
    assert not secrets & {"prod", "/usr/bin", "m"}
    described = json.dumps(found.describe())
    assert not [secret for secret in wanted if secret in described]


def test_names_of_keys_and_variables():
    found = make(BASE + "kestra.encryption.secretKey: k\n",
                 environment={"SECRET_B": "eA==", "SECRET_A": "eA==", "ENV_X": "1", "DB_PASSWORD": "p", "HOME": "/",
                              "KESTRA_EE_LICENSE_KEY": "l"})
    assert found.secret_keys() == ["datasources.postgres.password", "kestra.ee.license.key",
                                   "kestra.encryption.secret-key"]
    names = found.environment_names()
    assert names["secrets"] == ["SECRET_A", "SECRET_B"] and names["variables"] == ["ENV_X"]
    assert names["other_secrets"] == ["DB_PASSWORD", "KESTRA_EE_LICENSE_KEY"]
    old = make("kestra.variables.env-vars-prefix: KESTRA_",
               environment={"KESTRA_X": "1", "KESTRA_CONFIGURATION": "a: 1"})
    assert old.environment_names()["variables"] == ["KESTRA_X"]


def test_a_secret_that_is_also_a_public_name_is_not_masked_but_warned_about():
    found = make(BASE.replace("s3cretpass", "kestra"))
    assert "kestra" not in found.secrets()
    assert any("datasources.postgres.password" in warning and "stronger" in warning
               for warning in found.describe()["warnings"])


def test_an_unreadable_layer_counts_as_empty_for_masking():
    with pytest.raises(ConfigError):
        make(BASE, "\tx")
    sources = Sources(files=(Layer("a", BASE), Layer("b", "\tx")))
    assert config.load_lenient(sources).secrets() == ["s3cretpass"]


def test_no_damage_to_a_file_makes_it_show_a_secret():
    """One character changed, cut or put in at random places: whatever happens, no message has the secret."""
    chooser = random.Random(20261123)
    secret = "Zx9qT7vLmWk3"
    text = BASE.replace("s3cretpass", secret)
    text += f"kestra.encryption.secret-key: {secret}\nlist: [{{apiToken: {secret}}}]\n"
    seen = {"errors": 0, "described": 0}
    for _unused in range(700):
        at = chooser.randrange(len(text))
        new = chooser.choice(["", "\t", ":", "'", '"', "{", "}", "[", "]", "*", "&", "!", "%", "@", "`", "|", "\n", "${",
                              "\x00"])
        damaged = text[:at] + new + text[at + chooser.randrange(2):]
        try:
            found = make(damaged)
            told = json.dumps(found.describe())
            with contextlib.suppress(ConfigError):
                found.database_credentials()
                found.require_supported()
            seen["described"] += 1
        except ConfigError as exc:
            told = str(exc.to_result()) + "".join(traceback.format_exception(type(exc), exc, exc.__traceback__))
            seen["errors"] += 1
        # A secret cut in two by the damage may leave pieces; four characters in a row are enough to be found out.
        pieces = {secret[start:start + 5] for start in range(len(secret) - 4)}
        assert not [piece for piece in pieces if piece in told], (at, new)
    assert min(seen.values()) > 50
