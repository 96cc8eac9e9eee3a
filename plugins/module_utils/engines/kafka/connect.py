# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reaching a Kafka cluster as an administrator, by kafka-python."""
from __future__ import annotations

import contextlib
import logging
import re
from dataclasses import dataclass, field

from ...core.errors import ConnectError, ToolError

CLIENT = "kestra_dr"
# Seconds an answer may take, however short the time for a connection is.
_ANSWER = 30
_CAUSE = re.compile(r"^Bootstrap (?:connection to|attempt to) \S+ failed: (.*?)(?: \(backoff [\d.]+ secs\))?$")


@dataclass(frozen=True)
class Login:
    """How to reach a cluster. bootstrap: "host:port" of some of its brokers. connect_timeout: seconds."""

    bootstrap: tuple
    protocol: str = "PLAINTEXT"
    mechanism: str | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ssl_ca: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None
    check_hostname: bool = True
    connect_timeout: int = 10

    @property
    def place(self) -> str:
        """For messages."""
        return ",".join(self.bootstrap)


def library():
    """The package kafka with what is used of it. Raises ToolError saying how to get it."""
    try:
        # Not at the top: documentation and argument specs must load without it.
        import kafka.admin
        import kafka.errors
        usable = hasattr(kafka.admin.KafkaAdminClient, "list_groups")
    except ImportError:
        usable = False
    if not usable:
        raise ToolError("The Python library kafka-python 3.0 or newer is missing on this host.",
                        reason="kafka_python_missing",
                        hint="Install it with pip (distributions carry older ones) and set ansible_python_interpreter to "
                             "the Python that has it.") from None
    return kafka


def arguments(login) -> dict:
    """What kafka-python's clients are told. Pure."""
    told = {"bootstrap_servers": list(login.bootstrap), "client_id": CLIENT, "security_protocol": login.protocol,
            "bootstrap_timeout_ms": login.connect_timeout * 1000,
            "request_timeout_ms": max(_ANSWER, login.connect_timeout) * 1000}
    if login.protocol.startswith("SASL"):
        told.update(sasl_mechanism=login.mechanism, sasl_plain_username=login.user or "",
                    sasl_plain_password=login.password or "")
    if login.protocol.endswith("SSL"):
        told.update(ssl_cafile=login.ssl_ca, ssl_certfile=login.ssl_cert, ssl_keyfile=login.ssl_key or login.ssl_cert,
                    ssl_check_hostname=login.check_hostname)
    return told


class _Causes(logging.Handler):
    """Keeps why connections failed: kafka-python's exception only says that none came about.

    The last attempt is cut short when time is up, which says nothing.
    """

    def __init__(self):
        super().__init__()
        self.last = None

    def emit(self, record):
        found = _CAUSE.match(record.getMessage())
        if found and not (self.last and "RequestTimedOut" in found.group(1)):
            self.last = found.group(1)


@contextlib.contextmanager
def _listening():
    """The causes, while kafka-python's own lines go nowhere else."""
    logger, causes = logging.getLogger("kafka"), _Causes()
    spreads, level = logger.propagate, logger.level
    logger.addHandler(causes)
    logger.propagate = False
    logger.setLevel(logging.WARNING)
    try:
        yield causes
    finally:
        logger.removeHandler(causes)
        logger.propagate = spreads
        logger.setLevel(level)


class Session:
    """One administrator's connection; see session()."""

    def __init__(self, admin, login):
        self._admin, self.place = admin, login.place

    def ask(self, doing, call):
        """call(admin), its failures as ConnectError. doing: what is attempted, for the message."""
        errors = library().errors
        try:
            return call(self._admin)
        except (errors.ClusterAuthorizationFailedError, errors.TopicAuthorizationFailedError,
                errors.GroupAuthorizationFailedError) as exc:
            raise ConnectError(f"Kafka does not let this account do this ({doing}).", reason="privileges_missing",
                               hint="Grant it DESCRIBE and DELETE on Kestra's topics and groups, or DESCRIBE on the "
                                    "cluster.", detail={"error": type(exc).__name__}) from None
        except (errors.KafkaError, OSError) as exc:
            raise ConnectError(f"Kafka failed while {doing}: {_short(exc)}.", reason="connection_lost",
                               hint="Check that its brokers run, then run again.",
                               detail={"place": self.place, "error": type(exc).__name__}) from None


@contextlib.contextmanager
def session(login):
    """Yields a Session. Raises ConnectError (unreachable, login_refused, tls, protocol), ToolError."""
    kafka = library()
    with _listening() as causes:
        try:
            admin = kafka.admin.KafkaAdminClient(**arguments(login))
        except (kafka.errors.KafkaError, OSError, ValueError) as exc:
            raise connect_error(login, causes.last or _short(exc)) from None
        try:
            yield Session(admin, login)
        finally:
            with contextlib.suppress(kafka.errors.KafkaError, OSError):
                admin.close()


def _short(exc) -> str:
    """An exception in one line, without the requests and answers kafka-python quotes."""
    text = " ".join(str(exc).split())
    return re.sub(r"Request '.*?' failed with response.*", "the request failed", text)[:300].rstrip(".") or type(exc).__name__


def connect_error(login, cause) -> ConnectError:
    """What a failed connection means. cause: kafka-python's words. Pure."""
    detail = {"place": login.place, "protocol": login.protocol, "cause": cause}
    if re.search(r"Handshake failed|certificate|SSL", cause):
        return ConnectError(f"Kafka at {login.place} and this host cannot agree on TLS: {cause}.", reason="tls",
                            hint="Check security_protocol and ssl_ca.", detail=detail)
    if re.search("socket disconnected|SaslAuthenticationFailed", cause) and login.protocol.startswith("SASL"):
        return ConnectError(f"Kafka at {login.place} refuses the login of {login.user} by {login.mechanism}.",
                            reason="login_refused", hint="Check user, password, sasl_mechanism and security_protocol.",
                            detail=detail)
    if "socket disconnected" in cause or "Authentication" in cause:
        return ConnectError(f"Kafka at {login.place} closes the connection: its listener does not speak {login.protocol}.",
                            reason="protocol", hint="Check security_protocol and the port.", detail=detail)
    return ConnectError(f"Kafka at {login.place} cannot be reached: {cause}.", reason="unreachable",
                        hint="Check that it runs, its address, and the network between.", detail=detail)
