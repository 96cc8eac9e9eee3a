# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the inventory tells of a real Kafka, and the ways to reach one."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
import yaml
from instance import STANDIN, VERSION
from kafka_harness import Broker, free_ports

from ansible_collections.kestra_community.dr.plugins.modules import kafka_inventory_info, kestra_restore_queue
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules import conftest as module_tests
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run

_on_a_target_host = module_tests._on_a_target_host

# Like any word of a topic's name, and with all that quoting can get wrong.
PASSWORDS = {"admin": "p'\"%@: \\ü$x#;", "kestra": "kestra_flow", "blind": "nothing-to-see"}
MODULE = "org.apache.kafka.common.security"


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def jaas(user, password=None, kind="plain.Plain", **more):
    words = [f"{name}={quoted(text)}" for name, text in
             {"username": user, "password": password or PASSWORDS[user], **more}.items()]
    return f"{MODULE}.{kind}LoginModule required {' '.join(words)};"


def look(bootstrap=None, **given):
    if bootstrap:
        given["bootstrap_servers"] = [bootstrap]
    return run(kafka_inventory_info, connect_timeout=given.pop("connect_timeout", 5), **given)


def fails(result, reason):
    assert result.get("failed") and result.get("reason") == reason, result["_raw"]
    return result["msg"]


def test_topics_groups_and_identity(broker):
    broker.send("inv_flow", ("a", "1"), ("b", "2"), ("c", "3"))
    broker.send("inv_executor-main-changelog", ("a", "1"))
    broker.send("other_flow", ("a", "1"))
    given = {"topic_prefix": "inv_", "consumer_prefix": "inv_"}
    with broker.member("inv_executor", "inv_flow") as member, broker.member("other_executor", "other_flow"):
        found, taken = look(broker.bootstrap, **given), sum(member.position(part) for part in member.assignment())
    assert found["cluster_id"] == broker.cluster_id and found["brokers"] == 1, found["_raw"]
    assert list(found["topics"]) == ["inv_executor-main-changelog", "inv_flow"]
    flow = found["topics"]["inv_flow"]
    assert (flow["records"], sum(flow["end"]), flow["partitions"], flow["replicas"]) == (3, 3, 1, 1)
    assert [group["name"] for group in found["groups"]] == found["alive"] == ["inv_executor"]
    assert found["groups"][0]["state"] == "STABLE" and found["groups"][0]["members"][0]["host"] == "127.0.0.1"
    assert found["component"]["topics"] == {"inv_executor-main-changelog": [1], "inv_flow": [3]}
    broker.send("inv_flow", ("d", "4"), ("e", "5"))
    found = look(broker.bootstrap, **given)
    assert found["alive"] == [] and found["groups"][0]["state"] == "EMPTY" and found["new"] is None
    # Who is in a group need not have taken everything.
    assert found["groups"][0]["behind"] == {"inv_flow": 5 - taken}


def test_a_new_cluster_is_told_from_the_recorded_one(broker, own_broker):
    fresh = own_broker().start()
    recorded = look(broker.bootstrap)["cluster_id"]
    for bootstrap, new in ((broker.bootstrap, False), (fresh.bootstrap, True)):
        assert look(bootstrap, cluster_id=recorded)["new"] is new
    # Without a recorded one an empty cluster is a new one.
    assert look(fresh.bootstrap)["new"] is True
    fresh.send("kestra_flow", ("a", "1"))
    assert look(fresh.bootstrap)["new"] is None
    with fresh.admin() as admin:  # looking has made nothing
        assert admin.list_topics() == ["kestra_flow"]


def test_offsets_where_records_were_taken_away(broker):
    from kafka import TopicPartition

    broker.send("gone_workertask", ("a", "1"), ("b", "2"), ("c", "3"))
    with broker.admin() as admin:
        admin.delete_records({TopicPartition("gone_workertask", 0): 2})
    topic = look(broker.bootstrap, topic_prefix="gone_", consumer_prefix="gone_")["topics"]["gone_workertask"]
    assert (topic["begin"], topic["end"], topic["records"]) == ([2], [3], 1)


# -- the ways there ---------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A broker with users, rights and, on a second listener, TLS: (broker, address of the second, CA)."""
    directory = tmp_path_factory.mktemp("guarded")
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", str(certificate), "-keyout", str(key)],
        check=True, capture_output=True)
    store = directory / "store.pem"
    store.write_text(key.read_text() + certificate.read_text())
    secure = f"127.0.0.1:{free_ports(1)[0]}"
    users = {f"user_{name}": password for name, password in PASSWORDS.items()}
    found = Broker(directory, {
        "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": "PLAIN", "sasl.mechanism.inter.broker.protocol": "PLAIN",
        **{f"listener.name.{name}.plain.sasl.jaas.config": jaas("admin", **users)
           for name in ("client", "secure")},
        "ssl.keystore.type": "PEM", "ssl.keystore.location": store,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:admin;User:ANONYMOUS",
    }, listeners=[f"SECURE://{secure}"])
    found.start()
    yield found, secure, certificate
    found.destroy()


def admin_of(broker):
    from kafka.admin import KafkaAdminClient

    return KafkaAdminClient(bootstrap_servers=broker.bootstrap, security_protocol="SASL_PLAINTEXT", sasl_mechanism="PLAIN",
                            sasl_plain_username="admin", sasl_plain_password=PASSWORDS["admin"])


def configured(tmp_path, bootstrap, **properties):
    """The option config of a Kestra that reaches Kafka so."""
    document = {"kestra": {"queue": {"type": "kafka"}, "repository": {"type": "elasticsearch"}, "kafka": {
        "client": {"properties": {"bootstrap.servers": bootstrap, **properties}}}}}
    path = tmp_path / "application.yml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return {"files": [str(path)]}


def test_with_kestras_own_login_over_tls(guarded, tmp_path):
    broker, secure, ca = guarded
    login = {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN", "sasl.jaas.config": jaas("admin")}
    pem = {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(ca)}
    found = look(config=configured(tmp_path, secure, **login, **pem))
    assert found.get("cluster_id") == broker.cluster_id, found["_raw"]
    assert PASSWORDS["admin"] not in found["_raw"] and found["component"]["system"] == secure
    assert look(config=configured(tmp_path, secure, **login), ssl_ca=str(ca))["cluster_id"] == broker.cluster_id
    assert "ssl_ca" in fails(look(config=configured(tmp_path, secure, **login)), "tls")


@pytest.mark.parametrize("given, reason", [
    ({"sasl_password": "wrong-password"}, "login_refused"),
    pytest.param({"sasl_username": "nobody", "sasl_password": "x"}, "login_refused", marks=pytest.mark.full("a user that Kafka does not know")),
    ({"security_protocol": "PLAINTEXT"}, "protocol"), ({"security_protocol": "SASL_SSL"}, "tls"),
    ({"bootstrap_servers": ["127.0.0.1:9"]}, "unreachable"), ({"bootstrap_servers": ["no.such.host.invalid:9"]}, "unreachable")])
def test_ways_that_lead_nowhere(guarded, tmp_path, given, reason):
    login = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.jaas.config": jaas("admin")}
    config = configured(tmp_path, guarded[0].bootstrap, **login)
    result = look(config=config, connect_timeout=15 if reason == "login_refused" else 4, **given)
    fails(result, reason)
    assert PASSWORDS["admin"] not in result["_raw"] and "wrong-password" not in result["_raw"]


def test_a_broker_that_hangs(own_broker):
    broker = own_broker().start()
    broker.freeze()
    try:
        fails(look(broker.bootstrap, connect_timeout=2), "unreachable")
    finally:
        broker.thaw()
    broker.stop(signal.SIGKILL)
    fails(look(broker.bootstrap, connect_timeout=2), "unreachable")


def test_an_account_that_sees_nothing_is_not_taken_for_an_empty_kafka(guarded):
    broker = guarded[0]
    given = {"bootstrap": broker.bootstrap, "security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "PLAIN"}
    admin = admin_of(broker)
    try:
        from kafka.admin import ACL, ACLOperation, ACLPermissionType, ACLResourcePatternType, NewTopic, ResourcePattern, ResourceType

        admin.create_topics([NewTopic(name="kestra_flow", num_partitions=1, replication_factor=1)], wait_for_metadata=True)
        assert "kestra_flow" in look(**given, sasl_username="admin", sasl_password=PASSWORDS["admin"])["topics"]
        blind = {**given, "sasl_username": "blind", "sasl_password": PASSWORDS["blind"]}
        fails(look(**blind), "privileges_missing")
        cli = {"executable": str(STANDIN), "server_version": VERSION, "environment": {
            "KESTRA_STANDIN_PYTHON": sys.executable, "KESTRA_STANDIN_VERSION": VERSION}}
        blind["bootstrap_servers"] = [blind.pop("bootstrap")]
        fails(run(kestra_restore_queue, check=True, cli=cli, **blind), "privileges_missing")

        def allow(kind):
            admin.create_acls([ACL(
                principal="User:kestra", host="*", operation=ACLOperation.DESCRIBE, permission_type=ACLPermissionType.ALLOW,
                resource_pattern=ResourcePattern(kind, "kestra_", ACLResourcePatternType.PREFIXED))])

        own = {**given, "sasl_username": "kestra", "sasl_password": PASSWORDS["kestra"]}
        allow(ResourceType.GROUP)
        fails(look(**own), "privileges_missing")
        allow(ResourceType.TOPIC)
        found = look(**own)
        # The password is one of the names: it cannot be masked there.
        assert list(found["topics"]) == ["kestra_flow"] and found["topics"]["kestra_flow"]["may_delete"] is False, found["_raw"]
    finally:
        admin.close()
