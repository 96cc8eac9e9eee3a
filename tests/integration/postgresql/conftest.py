# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of the tests on real PostgreSQL servers."""

from __future__ import annotations

import datetime
import ipaddress
import itertools
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from postgresql_harness import BIG, SERVER_BIN, Server, run_module  # noqa: E402

from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import (  # noqa: E402
    dump,
    restore,
    versions,
)
from ansible_collections.kestra_community.dr.tests.integration.module_runs import Steps  # noqa: E402


def pytest_collection_modifyitems(items):
    if not versions.find_server_programs(SERVER_BIN):
        skip = pytest.mark.skip(reason="no PostgreSQL server programs (initdb, postgres) on this machine")
        for item in items:
            if Path(__file__).parent in Path(str(item.fspath)).parents:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    """A short path: the path of a Unix socket may have 107 bytes only."""
    directory = Path(tempfile.mkdtemp(prefix="kdr-test-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def pristine(base):
    """A data directory made once; others are copies."""
    server = Server(base)
    yield server
    server.destroy()


@pytest.fixture(scope="session")
def server(base, pristine):
    """The server most tests share; each makes databases of its own."""
    found = Server(base, template=pristine).start()
    yield found
    found.destroy()


@pytest.fixture
def own_server(base, pristine):
    """A server a test may break."""
    found = Server(base, template=pristine).start()
    yield found
    found.destroy()


@pytest.fixture(scope="session")
def second_server(base, pristine):
    """Another place to restore to."""
    found = Server(base, template=pristine).start()
    yield found
    found.destroy()


@pytest.fixture(scope="session")
def certificates(base):
    """An own certificate authority, a certificate of the server, and a foreign authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = datetime.datetime.now(datetime.timezone.utc)

    def name(text):
        return x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, text)])

    def make(subject, issuer, key, signer, ca):
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if not ca:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
        return builder.sign(signer, hashes.SHA256())

    def save(file, *parts):
        path = base / file
        path.write_bytes(b"".join(parts))
        return str(path)

    def pem(certificate):
        return certificate.public_bytes(serialization.Encoding.PEM)

    ca_key, key, other_key = (ec.generate_private_key(ec.SECP256R1()) for unused in range(3))
    ca = make("Test CA", "Test CA", ca_key, ca_key, True)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "ca": save("ca.pem", pem(ca)),
        "cert": save("server.pem", pem(make("localhost", "Test CA", key, ca_key, False))),
        "key": save("server.key", private),
        "foreign": save("foreign.pem", pem(make("Other CA", "Other CA", other_key, other_key, True))),
    }


@pytest.fixture(scope="session")
def tls_server(base, pristine, certificates):
    """A server that admits TLS only, as managed services do."""
    found = Server(base, tls=certificates, template=pristine).start()
    yield found
    found.destroy()


@pytest.fixture(scope="session")
def small(server):
    """A small Kestra database, never changed."""
    return server.kestra()


@pytest.fixture(scope="session")
def big(server):
    """A Kestra database with enough rows to be interrupted in, never changed."""
    return server.kestra(BIG)


@pytest.fixture
def kestra(server, small):
    """A small Kestra database a test may change."""
    name = server.copy(small)
    yield name
    server.drop(name)


@pytest.fixture
def busy(server, big):
    """A bigger Kestra database a test may change."""
    name = server.copy(big)
    yield name
    server.drop(name)


@pytest.fixture
def take(tmp_path):
    """take(login, database, **dump.Options) -> (directory, component)."""
    numbers = itertools.count(1)

    def run(login, database, progress=None, **options):
        dest = tmp_path / f"dump{next(numbers)}"
        options.setdefault("free_ratio", 0)
        component = dump.dump(login, database, str(dest), dump.Options(**options), progress or Steps())
        return str(dest), component

    return run


@pytest.fixture
def give():
    """give(login, source, database, component, **restore.Options) -> result."""

    def run(login, source, database, component=None, progress=None, **options):
        return restore.restore(
            login, source, restore.Options(database=database, **options), progress or Steps(), expected=component
        )

    return run


@pytest.fixture
def module():
    """module(name, check_mode=False, **parameters) -> result; or Popen with background=True."""
    return run_module
