# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real private S3 server (versitygw) on loopback, with versioning, and a proxy in front of it that can misbehave."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import subprocess
import threading

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions
import botocore.httpsession
import pytest

from ansible_collections.kestra_community.dr.tests.integration.object_storage.daemon import Daemon

# The servers that scripts/lib/s3.sh built.
PROGRAM = os.environ.get("KESTRA_DR_TEST_S3_SERVER")
MINIO = os.environ.get("KESTRA_DR_TEST_MINIO")
NEEDS_MINIO = [pytest.mark.full("object stores: what only MinIO has"), pytest.mark.skipif(
    not MINIO or not os.access(MINIO, os.X_OK), reason="no MinIO: KESTRA_DR_TEST_MINIO names none (scripts/lib/s3.sh builds it)")]
ACCESS_KEY = "kestra-test-key"
# With all that quoting can get wrong.
SECRET_KEY = "s3cret'\"%/+ $x#&=0123456789"


class Server(Daemon):
    """One server with data of its own. certificate, key: files, for TLS."""

    ERRORS = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)

    def __init__(self, *, certificate=None, key=None):
        super().__init__("s3")
        for name in ("data", "versions", "iam"):
            (self.base / name).mkdir()
        self._tls = [] if certificate is None else ["--cert", str(certificate), "--key", str(key)]

    @property
    def endpoint(self):
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def start(self):
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.base),
                       "ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
        argv = [PROGRAM, "--port", f"127.0.0.1:{self.port}", "--iam-dir", str(self.base / "iam"), "--keep-alive", "--quiet",
                "--access-log", str(self.base / "access"),
                *self._tls, "posix", "--versioning-dir", str(self.base / "versions"), str(self.base / "data")]
        return self._started(argv, environment)

    def ready(self):
        if not self._tls:
            self.client().list_buckets()

    def client(self, **how):
        """The official SDK, by itself: what the tests put and look with."""
        return boto3.client("s3", **{
            "endpoint_url": self.endpoint, "region_name": "us-east-1", "aws_access_key_id": ACCESS_KEY,
            "aws_secret_access_key": SECRET_KEY,
            "config": botocore.config.Config(
                s3={"addressing_style": "path"}, retries={"total_max_attempts": 2}, max_pool_connections=20), **how})

    def bucket(self, name, versioned=True):
        client = self.client()
        client.create_bucket(Bucket=name)
        if versioned:
            client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def admin(self, *words):
        """versitygw's own administration."""
        environment = {"PATH": os.environ["PATH"], "ADMIN_ACCESS_KEY_ID": ACCESS_KEY, "ADMIN_SECRET_ACCESS_KEY": SECRET_KEY,
                       "ADMIN_ENDPOINT_URL": self.endpoint, "ADMIN_REGION": "us-east-1"}
        subprocess.run([PROGRAM, "admin", *words], env=environment, check=True, capture_output=True, timeout=120)

    def user(self, name, secret, role="user"):
        """An account; one with the role user may do nothing by itself, one with the role admin everything."""
        self.admin("create-user", "--access", name, "--secret", secret, "--role", role)

    def requests(self, operation):
        """How many there were of a kind (GetObject ...) since any was last asked for, by its access log."""
        with open(self.base / "access", "rb+") as handle:
            lines = handle.read().decode(errors="replace").splitlines()
            handle.truncate(0)
        return sum(f" s3_{operation} " in line for line in lines)


class MinIO(Server):
    """The same of MinIO, for what only it has: lifecycles, and times of versions that are true."""

    def start(self):
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.base), "MINIO_ROOT_USER": ACCESS_KEY,
                       "MINIO_ROOT_PASSWORD": SECRET_KEY, "MINIO_UPDATE": "off", "MINIO_BROWSER": "off", "CI": "true"}
        argv = [MINIO, "server", "--quiet", "--address", f"127.0.0.1:{self.port}", "--console-address", "127.0.0.1:0",
                str(self.base / "data")]
        return self._started(argv, environment)

    def quota(self, bucket, size):
        """How many bytes a bucket may hold, 0 for as many as it likes, by the server's administration."""
        body = json.dumps({"quota": size, "size": size, "quotatype": "hard" if size else ""}).encode()
        request = botocore.awsrequest.AWSRequest(
            "PUT", f"{self.endpoint}/minio/admin/v3/set-bucket-quota?bucket={bucket}", data=body,
            headers={"X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()})
        botocore.auth.S3SigV4Auth(botocore.credentials.Credentials(ACCESS_KEY, SECRET_KEY), "s3", "us-east-1").add_auth(request)
        answer = botocore.httpsession.URLLib3Session().send(request.prepare())
        assert answer.status_code == 200, answer.content


class Proxy:
    """Passes connections on to a server, unless told otherwise.

    down: closes them at once. busy: so many are answered with SlowDown. refuse: (status, code) to answer with instead.
    cut: the next answers that are longer break off after so many bytes; cuts counts down. passed: bytes of answers.
    """

    def __init__(self, server):
        self._server = server
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.down, self.busy, self.refuse, self.cut, self.cuts, self.connections, self.passed = False, 0, None, None, 0, 0, 0
        self._guard = threading.Lock()
        self._open = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def close(self):
        self._socket.close()
        self.break_all()

    def break_all(self):
        """Every connection breaks now."""
        with self._guard:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _accept(self):
        while True:
            try:
                connection, _address = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            with self._guard:
                self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            if self.down:
                return
            with self._guard:
                busy = self.busy > 0
                self.busy -= busy
            if busy or self.refuse:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(65536)
                self._answer(connection, *((503, "SlowDown") if busy else self.refuse))
                return
            with socket.create_connection(("127.0.0.1", self._server.port)) as upstream:
                with self._guard:
                    self._open.append(upstream)
                threading.Thread(target=self._pump, args=(connection, upstream, False), daemon=True).start()
                self._pump(upstream, connection, True)

    @staticmethod
    def _answer(connection, status, code):
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        connection.sendall(f"HTTP/1.1 {status} No\r\nContent-Type: application/xml\r\nConnection: close\r\n"
                           f"Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def _pump(self, source, target, answers):
        passed = 0
        with contextlib.suppress(OSError):
            while block := source.recv(65536):
                if answers and self.cut is not None and passed + len(block) > self.cut:
                    with self._guard:
                        mine = self.cuts > 0
                        self.cuts -= mine
                    if mine:
                        target.sendall(block[:self.cut - passed])
                        break
                target.sendall(block)
                passed += len(block)
                if answers:
                    with self._guard:
                        self.passed += len(block)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
