# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Kafka is reached as Kestra's Java client is told to, and what its topics and groups mean."""
from __future__ import annotations

import logging

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import manifest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.kafka import connect, inventory, options, properties
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import config, layers

SECRET = 'p"a\\ss; word='
JAAS = ('org.apache.kafka.common.security.plain.PlainLoginModule required username="kestra" '
        'password="p\\"a\\\\ss; word=";')


def configuration(text, **environment):
    return config.load(layers.Sources(files=(layers.Layer("/etc/a.yml", text),), environment=environment))


def params(**given):
    return {name: given.get(name, spec.get("default")) for name, spec in options.argument_spec().items()}


def resolve(text=None, environment=None, **given):
    settings = options.settings_of(configuration(text, **(environment or {}))) if text else None
    return options.resolve(params(**given), settings)


def refused(reason, call, *arguments, **named):
    with pytest.raises(ConfigError) as caught:
        call(*arguments, **named)
    assert caught.value.reason == reason
    return caught.value


# -- the configuration ------------------------------------------------------------------------------------------------

PLAIN = """
kestra:
  queue: {type: kafka}
  kafka:
    client:
      properties:
        bootstrap.servers: "kafka1:9092, kafka2:9093"
    defaults: {topic-prefix: uat_, consumer-prefix: uat_kestra}
"""
LOGIN = """
kestra:
  queue: {type: kafka}
  kafka:
    client:
      properties:
        bootstrap: {servers: "kafka1:9092"}
        security.protocol: SASL_SSL
        sasl.mechanism: SCRAM-SHA-512
        sasl.jaas.config: '%s'
""" % JAAS


def test_what_the_configuration_says():
    place = resolve(PLAIN)
    assert place.login == connect.Login(("kafka1:9092", "kafka2:9093"))
    assert (place.topics, place.consumers) == ("uat_", "uat_kestra")
    assert connect.arguments(place.login)["security_protocol"] == "PLAINTEXT"
    assert "sasl_mechanism" not in connect.arguments(place.login)


def test_a_login_by_jaas():
    login = resolve(LOGIN).login
    assert (login.user, login.password, login.mechanism) == ("kestra", SECRET, "SCRAM-SHA-512")
    told = connect.arguments(login)
    assert told["sasl_plain_password"] == SECRET and told["ssl_check_hostname"] is True and told["ssl_cafile"] is None
    assert SECRET not in repr(login)


@pytest.mark.parametrize("jaas, login", [
    ("a.b required username='u' password='p w';", ("u", "p w")), ("a required username=u password=p;", ("u", "p")),
    ("a required password=\"p\"\n  username=\"u\" ;", ("u", "p")), ("a required;", (None, None)), (None, (None, None))])
def test_the_ways_jaas_is_written(jaas, login):
    assert properties.login_of(jaas) == login


def test_variables_and_options_win():
    changed = {"KESTRA_KAFKA_CLIENT_PROPERTIES_BOOTSTRAP_SERVERS": "other:1"}
    assert resolve(PLAIN, changed).login.bootstrap == ("other:1",)
    place = resolve(PLAIN, changed, bootstrap_servers=["a:1", "b:2"], topic_prefix="x_", security_protocol="SSL", ssl_ca="/ca")
    assert place.login == connect.Login(("a:1", "b:2"), protocol="SSL", ssl_ca="/ca") and place.topics == "x_"


def test_kestras_password_is_for_kestras_user_only(tmp_path):
    assert resolve(LOGIN, sasl_username="kestra").login.password == SECRET
    assert resolve(LOGIN, sasl_username="admin").login.password is None
    assert resolve(LOGIN, sasl_username="admin", sasl_password="x").login.password == "x"
    (tmp_path / "password").write_text("from a file\n", encoding="utf-8")
    assert resolve(LOGIN, sasl_password_file=str(tmp_path / "password")).login.password == "from a file"


def test_java_stores_are_refused_where_they_are_needed():
    stores = LOGIN + "        ssl.truststore.location: /etc/kestra/trust.jks\n"
    assert "ssl_ca" in refused("java_store", resolve, stores).hint
    assert resolve(stores, ssl_ca="/etc/ca.pem").login.ssl_ca == "/etc/ca.pem"
    assert resolve(stores, security_protocol="SASL_PLAINTEXT").login.ssl_ca is None
    assert resolve(stores + "        ssl.truststore.type: PEM\n").login.ssl_ca == "/etc/kestra/trust.jks"
    keys = LOGIN + "        ssl.keystore.location: /k.p12\n        ssl.keystore.type: PKCS12\n"
    assert "ssl_cert" in refused("java_store", resolve, keys).hint
    unchecked = LOGIN + "        ssl.endpoint.identification.algorithm: ''\n"
    assert resolve(unchecked).login.check_hostname is False


@pytest.mark.parametrize("mechanism", ["GSSAPI", "OAUTHBEARER", "AWS_MSK_IAM"])
def test_logins_that_are_not_covered(mechanism):
    error = refused("unsupported_login", resolve, LOGIN.replace("SCRAM-SHA-512", mechanism))
    assert mechanism in error.message
    assert resolve(LOGIN.replace("SCRAM-SHA-512", mechanism), sasl_mechanism="PLAIN").login.mechanism == "PLAIN"


def test_what_cannot_be():
    assert "postgres" in refused("unsupported_queue", resolve, "kestra: {queue: {type: postgres}}").message
    refused("config_missing", resolve, "kestra: {queue: {type: kafka}}")
    refused("config_missing", resolve)
    for address in ("kafka1", "user@kafka1:9092", "kafka1:port", "http://kafka1:9092"):
        refused("bad_bootstrap", resolve, bootstrap_servers=[address])
    assert resolve(bootstrap_servers=["[::1]:9092"]).login.place == "[::1]:9092"


@pytest.mark.parametrize("cause, login, reason", [
    ("KafkaConnectionError: 111 ECONNREFUSED", {}, "unreachable"),
    ("KafkaConnectionError: socket disconnected", {"protocol": "SASL_PLAINTEXT", "user": "kestra"}, "login_refused"),
    ("[Error 58] SaslAuthenticationFailedError: Authentication failed: Invalid username or password",
     {"protocol": "SASL_SSL", "user": "kestra"}, "login_refused"),
    ("KafkaConnectionError: socket disconnected", {}, "protocol"),
    ("KafkaConnectionError: Handshake failed: certificate verify failed", {"protocol": "SASL_SSL"}, "tls"),
    ("[Error 7] RequestTimedOutError: Request timed out after 5999 ms", {"protocol": "SASL_SSL"}, "unreachable")])
def test_why_a_connection_fails(cause, login, reason):
    error = connect.connect_error(connect.Login(("k:9092",), password=SECRET, **login), cause)
    assert error.reason == reason and "k:9092" in error.message and SECRET not in str(error.to_result())


def test_the_cause_that_tells_most_is_kept():
    log = logging.getLogger("kafka.net.manager")
    with connect._listening() as causes:
        assert causes.last is None
        log.warning("Bootstrap connection to %s failed: %s (backoff 0.05 secs)", "bootstrap-0", "timed out")
        log.error("Bootstrap attempt to bootstrap-0 failed: KafkaConnectionError: socket disconnected (backoff 0.06 secs)")
        log.warning("Bootstrap connection to bootstrap-0 failed: [Error 7] RequestTimedOutError: after 36 ms (backoff 5 secs)")
        log.warning("Bootstrap bootstrap-0 not ready; waiting 0.05 secs")
        assert causes.last == "KafkaConnectionError: socket disconnected"
    log.error("Bootstrap attempt to bootstrap-0 failed: later")
    assert causes.last == "KafkaConnectionError: socket disconnected"


# -- what is found ----------------------------------------------------------------------------------------------------

def group(name, state, *hosts):
    return {"name": name, "state": state, "members": [{"client": "c", "host": host} for host in hosts]}


def test_who_lives():
    found = [group("k_a", "EMPTY"), group("k_b", "STABLE", "10.0.0.2", "10.0.0.1", "10.0.0.2"), group("k_c", "DEAD"),
             group("k_d", "PREPARING_REBALANCE"), group("k_e", "RECONCILING")]
    living = inventory.alive(found)
    assert [one["name"] for one in living] == ["k_b", "k_d", "k_e"]
    assert inventory.describe_alive(living) == (
        "k_b (stable, from 10.0.0.1, 10.0.0.2); k_d (preparing_rebalance); k_e (reconciling)")
    assert inventory.describe_alive(living * 3).endswith("and 4 more") and inventory.alive(found[:1]) == []


@pytest.mark.parametrize("found, recorded, new", [
    ({"topics": {"k_flow": {}}}, "one", False), ({"topics": {}}, "one", False), ({"topics": {"k_flow": {}}}, "other", True),
    ({"topics": {"k_flow": {}}}, None, None), ({"topics": {}}, None, True),
    ({"topics": {}, "groups": [group("k_a", "EMPTY")]}, None, None)])
def test_a_new_cluster(found, recorded, new):
    assert inventory.is_new({"cluster_id": "one", "groups": [], **found}, recorded) is new


def test_how_far_behind_a_group_is():
    topics = {"k_flow": {"begin": [0, 2], "end": [5, 4]}, "k_logs": {"begin": [0], "end": [3]}, "k_new": {"begin": [0], "end": [9]}}
    taken = {"k_flow": {0: 5}, "k_logs": {0: 3}, "gone": {0: 1}}
    assert inventory.behind(taken, topics) == {"k_flow": 2, "k_logs": 0} and inventory.behind({}, topics) == {}
    # An older life took more than there is now.
    assert inventory.behind({"k_logs": {0: 30}}, topics) == {"k_logs": 0}


def test_another_kestra_with_a_longer_prefix():
    own = ["k_flow", "k_execution", "k_trigger", "k_executor_flow", "k_executor_execution"]
    assert inventory.other_prefixes(dict.fromkeys(own), "k_") == []
    other = ["k_test_flow", "k_test_execution", "k_test_trigger", "q_flow", "q_execution", "q_trigger"]
    assert inventory.other_prefixes(dict.fromkeys(own + other), "k_") == ["k_test_"]


def test_the_manifests_component():
    place = resolve(PLAIN)
    found = inventory.component({"cluster_id": "one", "topics": {"uat_flow": {"end": [1, 2], "records": 3}}}, place)
    manifest.validate_component("queue", found)
    assert found["cluster_id"] == "one" and found["topics"] == {"uat_flow": [1, 2]} and found["system"] == place.login.place
