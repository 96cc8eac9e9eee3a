# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a MinIO server replicates a bucket to: its rules name a target by an ARN, which only its administration gives out.

What is asked and answered is what `mc admin bucket remote` says. Requests that hold credentials are encrypted with a key made of
the secret key of whom is asking: salt (32 bytes), 2 (PBKDF2 with SHA-256, then AES-256-GCM), nonce (8), one sealed block.
"""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import urllib.parse

from ...core.errors import ConfigError, ConnectError, ToolError
from ...core.secrets import memory_file
from . import failures
from .bucket import trusted

_ROUNDS = 8192
_PBKDF2_AES = b"\x02"
_LAST_BLOCK = b"\x80"


def sealed(secret: str, data: bytes, salt: bytes, nonce: bytes) -> bytes:
    """What the server opens with the same secret. data: less than 16 KiB, one block. Pure."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise ToolError("The Python library cryptography is missing on this host.", reason="cryptography_missing",
                        hint="Install python3-cryptography, or make the target with mc and give target_arn.") from None
    cipher = AESGCM(hashlib.pbkdf2_hmac("sha256", secret.encode(), salt, _ROUNDS, 32))

    def block(number, text, also):
        return cipher.encrypt(nonce + struct.pack("<I", number), text, also)

    return salt + _PBKDF2_AES + nonce + block(1, data, _LAST_BLOCK + block(0, b"", None))


def host_of(place) -> str:
    """host:port of a place, as targets have it; without the port where it is the scheme's own."""
    url = urllib.parse.urlsplit(place.endpoint or f"https://s3.{place.region}.amazonaws.com")
    return url.netloc.removesuffix({"https": ":443", "http": ":80"}.get(url.scheme, ""))


def find(targets, place):
    """Of targets as the server lists them the one that is a place, or None. Pure."""
    return next((target for target in targets if target.get("targetbucket") == place.bucket
                 and target.get("endpoint") in (host_of(place), f"{host_of(place)}:{443 if _secure(place) else 80}")), None)


def wanted(source_bucket: str, place) -> dict:
    """A target for a place, as the server takes it. Pure."""
    return {"sourcebucket": source_bucket, "endpoint": host_of(place), "secure": _secure(place), "targetbucket": place.bucket,
            "credentials": {"accessKey": place.access_key, "secretKey": place.secret_key}, "region": place.region,
            "path": "on" if place.addressing == "path" else "off", "api": "s3v4", "type": "replication"}


def _secure(place) -> bool:
    return not (place.endpoint or "").startswith("http://")


class Targets:
    """The targets of one bucket. place: of the source, with credentials that may administer the server."""

    def __init__(self, place):
        self._place = place
        if not place.access_key or not place.secret_key:
            raise ConfigError(f"There are no credentials to administer {place.shown} with.", reason="credentials_missing",
                              hint="Give an access key and a secret key, or the ARN of a target that is there with target_arn.")

    def all(self) -> list:
        """The targets as the server tells them, without secrets."""
        return self._asked("GET", "list-remote-targets", {"type": "replication"}) or []

    def put(self, target, before=None) -> str:
        """Makes a target, or with the one that is there gives it other credentials. Returns its ARN."""
        require_credentials(target)
        if before:
            target = dict(before, credentials=target["credentials"])
        body = sealed(self._place.secret_key, json.dumps(target).encode(), os.urandom(32), os.urandom(8))
        return self._asked("PUT", "set-remote-target", {"update": "true", "creds": "true"} if before else {}, body)

    def _asked(self, method, command, query, body=b""):
        import botocore.auth
        import botocore.awsrequest
        import botocore.credentials
        import botocore.exceptions
        import botocore.httpsession
        place = self._place
        query = urllib.parse.urlencode({"bucket": place.bucket, **query})
        request = botocore.awsrequest.AWSRequest(
            method, f"{place.endpoint}/minio/admin/v3/{command}?{query}", data=body,
            headers={"X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()})
        keys = botocore.credentials.Credentials(place.access_key, place.secret_key, place.session_token)
        botocore.auth.S3SigV4Auth(keys, "s3", place.region).add_auth(request)
        with contextlib.ExitStack() as files:
            own = files.enter_context(memory_file(place.client_pem)) if place.client_pem else None
            session = botocore.httpsession.URLLib3Session(verify=trusted(place, files), timeout=60, client_cert=own)
            try:
                answer = session.send(request.prepare())
            except (botocore.exceptions.BotoCoreError, OSError) as exc:
                raise failures.of(exc, None, operation="s3:SetBucketTarget", bucket=place.bucket, endpoint=place.shown)[0] from None
            finally:
                session.close()
        if answer.status_code == 200:
            return json.loads(answer.content)
        raise _refused(place, answer)


def require_credentials(target) -> None:
    """Raises ConfigError when a target has none that its server could be entered with."""
    if not target["credentials"]["secretKey"]:
        raise ConfigError(f"There are no credentials that the source could write into the target {target['targetbucket']} with.",
                          reason="credentials_missing", hint="Give them in target (access_key and secret_key, or credentials_file).")


def _refused(place, answer) -> ConnectError:
    try:
        said = json.loads(answer.content)
    except ValueError:
        said = {}
    code = said.get("Code") or answer.status_code
    if code == "AccessDenied":
        return ConnectError(f"{place.shown} does not allow these credentials to see or make targets of replication.", reason="access_denied",
                            hint="Give credentials with admin:SetBucketTarget and admin:GetBucketTarget, or the ARN of a target "
                                 "that is there with target_arn (mc admin bucket remote ls).", detail={"code": code})
    return ConnectError(f"{place.shown} refused the target of the replication ({code}): {said.get('Message') or 'no reason given'}",
                        reason="target_refused", hint="The server itself must reach the target, with the credentials given for it.",
                        detail={"code": code})
