# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue in Kafka: a topic for each kind of message, its name after Kestra's prefix."""
from __future__ import annotations

import contextlib
import logging
import re
import time

from . import NAME, values
from .config import ConfigurationError

# What Kestra keeps for ever, the last record of each key. (Other topics forget after a time.)
KEPT = {"cleanup.policy": "compact", "retention.ms": "-1"}


class TopicsError(Exception):
    """Kafka is away or refuses."""


def _library():
    try:
        import kafka
        import kafka.admin
        import kafka.errors
    except ImportError as missing:
        raise ConfigurationError("%s. It needs a Python with kafka-python (3.0 or later); KESTRA_STANDIN_PYTHON names "
                                 "one." % missing) from None
    return kafka


class Topics:
    """Kestra's topics in one Kafka. settings: config.kafka()."""

    def __init__(self, settings):
        self.settings, self.kafka = settings, _library()
        logging.getLogger("kafka").setLevel(logging.WARNING)
        self._login = self._client()
        self._admin = self._producer = None

    def _client(self):
        """What kafka-python is told of the Java client's properties."""
        given = self.settings["properties"]
        told = {"bootstrap_servers": [one.strip() for one in given["bootstrap.servers"].split(",")],
                "client_id": NAME, "bootstrap_timeout_ms": self._patience(),
                "request_timeout_ms": min(30000, self._patience())}
        protocol = given.get("security.protocol", "PLAINTEXT")
        if protocol == "SASL_PLAINTEXT" and given.get("sasl.mechanism") == "PLAIN":
            jaas = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', given.get("sasl.jaas.config", "")))
            told.update(security_protocol=protocol, sasl_mechanism="PLAIN", sasl_plain_username=jaas.get("username"),
                        sasl_plain_password=jaas.get("password"))
        elif protocol != "PLAINTEXT":
            raise ConfigurationError("this stand-in does not reach Kafka by %s" % protocol)
        return told

    def _patience(self):
        """Milliseconds until Kafka is given up (default.api.timeout.ms)."""
        return int(self.settings["properties"].get("default.api.timeout.ms", 60000))

    def name(self, kind):
        """Name of a kind's topic."""
        return self.settings["prefix"] + str(self.settings["topics"].get(kind + ".name", kind))

    def _do(self, doing, action):
        try:
            if self._admin is None:
                self._admin = self.kafka.admin.KafkaAdminClient(**self._login)
            return action(self._admin)
        except (self.kafka.errors.KafkaError, OSError) as error:
            raise TopicsError("%s while %s: %s" % (type(error).__name__, doing, error)) from None

    def exists(self, kind):
        """Whether a kind has its topic."""
        return self.name(kind) in self._do("listing topics", lambda admin: admin.list_topics())

    def recreate(self, kind, drop):
        """Make a kind's topic, after the one that was there is dropped; with drop false only where there is none."""
        name = self.name(kind)
        if drop and self.exists(kind):
            self._do("deleting " + name, lambda admin: admin.delete_topics([name], timeout_ms=self._patience()))
        time.sleep(self.settings["delay"])
        if not self.exists(kind):
            topic = self.kafka.admin.NewTopic(
                name=name, num_partitions=self.settings["partitions"],
                replication_factor=self.settings["replication"], topic_configs=KEPT)
            self._do("creating " + name, lambda admin: admin.create_topics(
                [topic], timeout_ms=self._patience(), wait_for_metadata=True))

    def prepare(self, kinds):
        """Make the topics that are missing. kinds: {kind: its configuration}."""
        there = set(self._do("listing topics", lambda admin: admin.list_topics()))
        wanted = [self.kafka.admin.NewTopic(
            name=self.name(kind), num_partitions=self.settings["partitions"],
            replication_factor=self.settings["replication"], topic_configs=configuration)
            for kind, configuration in kinds.items() if self.name(kind) not in there]
        if wanted:
            self._do("creating topics", lambda admin: admin.create_topics(
                wanted, timeout_ms=self._patience(), wait_for_metadata=True))

    def kind(self, name):
        """The kind whose topic has a name."""
        kind = name[len(self.settings["prefix"]):]
        return next((one[:-len(".name")] for one, given in self.settings["topics"].items()
                     if one.endswith(".name") and given == kind), kind)

    def send_all(self, records):
        """Write {(kind, key): document}; returns when Kafka has them all. A document that is None takes its key away."""
        if not records:
            return
        try:
            if self._producer is None:
                self._producer = self.kafka.KafkaProducer(acks="all", delivery_timeout_ms=self._patience(),
                                                          max_block_ms=self._patience(), **self._login)
            sent = [self._producer.send(self.name(kind), key=key.encode(),
                                        value=None if value is None else values.dumps(value).encode())
                    for (kind, key), value in records.items()]
            for one in sent:
                one.get(self._patience() / 1000)
        except (self.kafka.errors.KafkaError, OSError) as error:
            raise TopicsError("%s while sending: %s" % (type(error).__name__, error)) from None

    def send(self, kind, documents):
        """Write (key, document) pairs; a document that is None takes its key away."""
        try:
            producer = self.kafka.KafkaProducer(acks="all", delivery_timeout_ms=self._patience(),
                                                max_block_ms=self._patience(), **self._login)
            try:
                sent = [producer.send(self.name(kind), key=key.encode(),
                                      value=None if value is None else values.dumps(value).encode())
                        for key, value in documents]
                for one in sent:
                    one.get(self._patience() / 1000)
            finally:
                producer.close(timeout=1)
        except (self.kafka.errors.KafkaError, OSError) as error:
            raise TopicsError("%s while sending to %s: %s" % (type(error).__name__, self.name(kind), error)) from None

    def last(self, kinds):
        """{kind: {key: document}} of the last records of each key; None where it was taken away."""
        found = {kind: {} for kind in kinds}
        with self._reading(kinds) as (consumer, parts):
            ends = consumer.end_offsets(parts)
            while any(consumer.position(part) < ends[part] for part in parts):
                for part, batch in consumer.poll(timeout_ms=200).items():
                    found[self.kind(part.topic)].update(
                        (record.key.decode(), record.value and values.loads(record.value.decode())) for record in batch)
        return found

    def keys(self, kind):
        """The keys of a kind's topic that have a value."""
        return [key for key, value in self.last((kind,))[kind].items() if value is not None]

    @contextlib.contextmanager
    def member(self, group, kinds):
        """A consumer that is in a group and reads from where the group has been."""
        session = int(self.settings["properties"].get("session.timeout.ms", 45000))
        try:
            consumer = self.kafka.KafkaConsumer(
                group_id=self.settings["consumers"] + group, enable_auto_commit=False, auto_offset_reset="earliest",
                session_timeout_ms=session, heartbeat_interval_ms=session // 3, **self._login)
            try:
                # Who joins without knowing a topic's partitions gets none of them.
                names = [self.name(kind) for kind in kinds]
                missing = [name for name in names if not consumer.partitions_for_topic(name)]
                if missing:
                    raise TopicsError("%s has no topic %s" % (self.settings["properties"]["bootstrap.servers"], missing[0]))
                consumer.subscribe(names)
                yield consumer
            finally:
                consumer.close()
        except (self.kafka.errors.KafkaError, OSError) as error:
            raise TopicsError("%s while reading as %s: %s" % (type(error).__name__, group, error)) from None

    def commit(self, consumer, taken):
        """Note up to where a group has taken. taken: {(topic, partition): offset}."""
        consumer.commit({self.kafka.TopicPartition(*part): self.kafka.OffsetAndMetadata(offset, "", -1)
                         for part, offset in taken.items()})

    def follow(self, kind, group, silence, seen):
        """Read a kind's topic from its beginning as a group and commit. seen(number): called for what is new.

        Ends when nothing came for some seconds.
        """
        last, total = time.monotonic(), 0
        with self._reading((kind,), self.settings["consumers"] + group) as (consumer, _parts):
            while time.monotonic() - last < silence:
                for batch in consumer.poll(timeout_ms=200).values():
                    total, last = total + len(batch), time.monotonic()
                    seen(total)
            consumer.commit()

    @contextlib.contextmanager
    def _reading(self, kinds, group=None):
        """(consumer, partitions) at the beginning of the kinds' topics."""
        names = [self.name(kind) for kind in kinds]
        try:
            consumer = self.kafka.KafkaConsumer(group_id=group, enable_auto_commit=False, **self._login)
            try:
                parts = [self.kafka.TopicPartition(name, number)
                         for name in names for number in consumer.partitions_for_topic(name) or ()]
                consumer.assign(parts)
                consumer.seek_to_beginning()
                yield consumer, parts
            finally:
                consumer.close()
        except (self.kafka.errors.KafkaError, OSError) as error:
            raise TopicsError("%s while reading %s: %s" % (type(error).__name__, ", ".join(names), error)) from None

    def close(self):
        """Close what is open."""
        if self._producer is not None:
            self._producer.close(timeout=1)
        if self._admin is not None:
            self._admin.close()
