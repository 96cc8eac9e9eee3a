# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real brokers of Kafka: one node in KRaft mode on free loopback ports, its data in a temporary directory."""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

# Where kafka-server-start.sh and kafka-storage.sh are (scripts/lib/kafka.sh).
BIN = os.environ.get("KESTRA_DR_TEST_KAFKA_BIN")
_HEAP = "-Xms64m -Xmx192m -XX:TieredStopAtLevel=1"


def free_ports(count):
    """Ports that nobody has now, all different."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _port in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def new_id():
    """As kafka-storage.sh random-uuid makes them."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _escaped(value):
    """As Java reads properties."""
    return str(value).replace("\\", "\\\\").encode("ascii", "backslashreplace").decode().replace("\\x", "\\u00")


class Broker:
    """A cluster of one broker. settings: of server.properties, dots as in Kafka. listeners: more of them."""

    def __init__(self, base=None, settings=None, listeners=()):
        self.base = Path(tempfile.mkdtemp(prefix="kdr-kafka-", dir=base))
        self.log = self.base / "log"
        self.cluster_id = new_id()
        self.port, controller = free_ports(2)
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.process = None
        lines = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "listeners": ",".join([f"CLIENT://{self.bootstrap}", *listeners, f"CONTROLLER://127.0.0.1:{controller}"]),
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "CLIENT",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": self.base / "data",
            # One broker has one copy of everything.
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "log.cleaner.dedupe.buffer.size": 8 << 20,
            **(settings or {}),
        }
        self._file = self.base / "server.properties"
        self._file.write_text("".join(f"{name}={_escaped(value)}\n" for name, value in lines.items()), encoding="ascii")
        self._run("kafka-storage.sh", "format", f"--cluster-id={self.cluster_id}", "--config", str(self._file))

    @staticmethod
    def _environment():
        return {**os.environ, "KAFKA_HEAP_OPTS": _HEAP}

    def _run(self, program, *arguments):
        done = subprocess.run(
            [str(Path(BIN) / program), *arguments],
            capture_output=True, text=True, check=False, cwd=self.base, env=self._environment(), timeout=120,
        )
        if done.returncode:
            raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])

    def start(self):
        """Returns when it answers."""
        began = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [str(Path(BIN) / "kafka-server-start.sh"), str(self._file)],
                stdout=log, stderr=log, cwd=self.base, env=self._environment(),
            )
        until = time.monotonic() + 120
        while "Kafka Server started" not in self.log.read_text(encoding="utf-8", errors="replace")[began:]:
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(self.log.read_text(encoding="utf-8", errors="replace")[-3000:])
            time.sleep(0.1)
        return self

    def stop(self, how=signal.SIGTERM):
        """SIGTERM: in order. SIGKILL: as when it is killed."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def freeze(self):
        """It holds its connections and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        """Returns when its partitions have their leader back: its own controller has given it up meanwhile."""
        self.process.send_signal(signal.SIGCONT)
        until = time.monotonic() + 60
        while not self._leads():
            assert time.monotonic() < until, "the broker does not lead its partitions again"
            time.sleep(0.2)

    def _leads(self):
        from kafka.errors import KafkaError

        try:
            with self.admin() as admin:
                parts = [part for topic in admin.describe_topics(admin.list_topics()) for part in topic["partitions"]]
            return all(part["leader_id"] >= 0 for part in parts)
        except KafkaError:
            return False

    def destroy(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.base, ignore_errors=True)

    # -- what is in it ------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def admin(self):
        """kafka-python's client for administrators."""
        from kafka.admin import KafkaAdminClient

        client = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            yield client
        finally:
            client.close()

    def topics(self, prefix="kestra_"):
        """Names in order."""
        with self.admin() as admin:
            return sorted(name for name in admin.list_topics() if name.startswith(prefix))

    def ids(self, prefix="kestra_"):
        """{name: id}: a topic that was deleted and made again has another one."""
        names = self.topics(prefix)
        with self.admin() as admin:
            return {found["name"]: found["topic_id"] for found in admin.describe_topics(names)} if names else {}

    def records(self, topic):
        """[(key, value)] of all records, as text, in the order of partition and offset."""
        from kafka import KafkaConsumer, TopicPartition

        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        try:
            parts = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
            if not parts:
                return []
            consumer.assign(parts)
            consumer.seek_to_beginning()
            ends, found = consumer.end_offsets(parts), []
            until = time.monotonic() + 60
            while any(consumer.position(part) < ends[part] for part in parts):
                assert time.monotonic() < until, f"{topic} could not be read to its end"
                for records in consumer.poll(timeout_ms=200).values():
                    found += records
            return [
                (_text(one.key), _text(one.value)) for one in sorted(found, key=lambda one: (one.partition, one.offset))
            ]
        finally:
            consumer.close()

    def send(self, topic, *pairs):
        """Writes records; the topic is made when it is not there."""
        from kafka import KafkaProducer

        producer = KafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        try:
            for key, value in pairs:
                producer.send(topic, key=key.encode(), value=value.encode()).get(30)
        finally:
            producer.close()

    @contextlib.contextmanager
    def member(self, group, *topics):
        """A consumer that is in a group, as a Kestra that lives is."""
        from kafka import KafkaConsumer
        from kafka.errors import RebalanceInProgressError

        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, group_id=group, auto_offset_reset="earliest")
        try:
            until = time.monotonic() + 180
            # Who joins without knowing a topic's partitions gets none, and asks no second time.
            assert all(consumer.partitions_for_topic(topic) for topic in topics)
            consumer.subscribe(topics)
            inside = False
            while not inside:
                assert time.monotonic() < until, f"nobody came into the group {group}"
                consumer.poll(timeout_ms=2000)
                # On a busy machine a group may be shared out anew right after it was.
                with contextlib.suppress(RebalanceInProgressError):
                    if consumer.assignment():
                        consumer.commit()
                        inside = True
            yield consumer
        finally:
            consumer.close()


def _text(raw):
    return None if raw is None else raw.decode("utf-8")
