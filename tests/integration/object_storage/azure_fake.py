# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for what no emulator of Azure Blob Storage does: versions, replication, hierarchical namespaces.

It answers the requests of the SDK as Microsoft's documentation describes the service ("Blob versioning", "List Blobs", "Put Blob",
"Copy Blob", "Delete Blob"), holds everything in memory and checks no signature. A test with it shows which requests
are made and what is made of the answers, not that the service does what is documented.
"""

from __future__ import annotations

import base64
import email.utils
import hashlib
import itertools
import threading
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs, unquote, urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

ACCOUNT, CONTAINER = "standin", "kestra"
_SETTINGS = ("content-type", "content-encoding", "content-language", "content-disposition", "cache-control")


class Azure:
    """One account with one container. versioning, hierarchical, soft_delete_days: settings of the account. tells: whether these
    credentials may ask the account for them.

    blobs: name -> its versions, oldest first; the one that is there now is current. clock: the next write is of then.
    """

    def __init__(self):
        self.versioning, self.hierarchical, self.soft_delete_days, self.tells = True, False, 7, True
        self.replication: dict = {}
        self.blobs: dict = {}
        self.blocks: dict = {}
        self.asked: list = []
        self.pending_copies = 0
        self.clock = datetime.now(timezone.utc) - timedelta(days=1)
        self._tags = itertools.count(0x8DC0000)
        self._guard = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"azure": self}))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}/{ACCOUNT}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def later(self, seconds=2):
        """Time passes; the time that then is."""
        self.clock += timedelta(seconds=seconds)
        return self.clock

    def current(self, name):
        return next((blob for blob in self.blobs.get(name, ()) if blob.current), None)

    def contents(self):
        """What is there now."""
        return {name: (blob.data, blob.metadata) for name in self.blobs if (blob := self.current(name))}

    def put(self, name, data=b"", metadata=None, settings=None):
        with self._guard:
            self.clock += timedelta(milliseconds=1)
            versions, before = self.blobs.setdefault(name, []), self.current(name)
            if before:
                before.current = False
                if before.version is None and self.versioning:
                    before.version = _id(before.created)
                elif before.version is None:
                    versions.remove(before)
            blob = SimpleNamespace(
                name=name, data=data, metadata=metadata or {}, settings=settings or {}, current=True, created=self.clock, modified=self.clock,
                etag=f'"0x{next(self._tags):X}"', version=_id(self.clock) if self.versioning else None,
                md5=base64.b64encode(hashlib.md5(data).digest()).decode())
            versions.append(blob)
            return blob

    def delete(self, name, version=None):
        with self._guard:
            found = self.find(name, version)
            if found is None:
                return False
            if version is None and found.version is not None:
                found.current = False
            else:
                self.blobs[name].remove(found)
            return True

    def find(self, name, version):
        if version is None:
            return self.current(name)
        return next((blob for blob in self.blobs.get(name, ()) if blob.version == version), None)


def _id(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "7Z"


def _date(moment):
    return email.utils.format_datetime(moment, usegmt=True)


class _Handler(BaseHTTPRequestHandler):
    azure: Azure
    protocol_version = "HTTP/1.1"

    def log_message(self, *_what):
        """Nothing."""

    def do_GET(self):
        self._serve()

    do_PUT = do_HEAD = do_DELETE = do_GET

    def _serve(self):
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query, keep_blank_values=True).items()}
        _empty, _account, container, *name = unquote(address.path).split("/", 3)
        self.azure.asked.append((self.command, query.get("comp"), name[0] if name else None))
        if query.get("restype") in ("account", "service") and not self.azure.tells:
            return self._refuse(403, "AuthorizationResourceTypeMismatch")
        if query.get("restype") == "account":
            return self._answer(200, {"x-ms-is-hns-enabled": str(self.azure.hierarchical).lower(), "x-ms-sku-name": "Standard_LRS",
                                      "x-ms-account-kind": "StorageV2"})
        if query.get("restype") == "service":
            days = self.azure.soft_delete_days
            policy = f"<Enabled>true</Enabled><Days>{days}</Days>" if days else "<Enabled>false</Enabled>"
            return self._answer(200, {}, "<StorageServiceProperties><DeleteRetentionPolicy>" + policy
                                + "</DeleteRetentionPolicy></StorageServiceProperties>")
        if container != CONTAINER:
            return self._refuse(404, "ContainerNotFound")
        if query.get("comp") == "list":
            return self._list(query)
        if query.get("restype") == "container":
            return self._answer(200, {"ETag": '"0x1"', "Last-Modified": _date(self.azure.clock),
                                      "x-ms-default-encryption-scope": "$account-encryption-key",
                                      "x-ms-deny-encryption-scope-override": "false"})
        return self._blob(name[0], query)

    def _list(self, query):
        wanted = query.get("include", "").split(",")
        if self.azure.hierarchical and "versions" in wanted:
            return self._refuse(409, "FeatureNotYetSupportedForHierarchicalNamespaceAccounts")
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        items, seen = [], set()
        for name in sorted(name for name in self.azure.blobs if name.startswith(prefix)):
            rest = name[len(prefix):]
            if delimiter and delimiter in rest:
                above = prefix + rest.partition(delimiter)[0] + delimiter
                if above not in seen and self.azure.current(name):
                    seen.add(above)
                    items.append(f"<BlobPrefix><Name>{escape(above)}</Name></BlobPrefix>")
                continue
            items += [self._item(blob, wanted) for blob in self.azure.blobs[name] if blob.current or "versions" in wanted]
        start, most = int(query.get("marker") or 0), int(query.get("maxresults") or 5000)
        more = str(start + most) if start + most < len(items) else ""
        self._answer(200, {}, f'<EnumerationResults ContainerName="{CONTAINER}"><Blobs>{"".join(items[start:start + most])}</Blobs>'
                              f"<NextMarker>{more}</NextMarker></EnumerationResults>")
        return None

    @staticmethod
    def _item(blob, wanted):
        version = ""
        if "versions" in wanted and blob.version:
            version = f"<VersionId>{blob.version}</VersionId>" + ("<IsCurrentVersion>true</IsCurrentVersion>" if blob.current else "")
        metadata = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in blob.metadata.items())
        md5 = f"<Content-MD5>{blob.md5}</Content-MD5>" if blob.md5 else ""
        return (f"<Blob><Name>{escape(blob.name)}</Name>{version}<Properties><Creation-Time>{_date(blob.created)}</Creation-Time>"
                f"<Last-Modified>{_date(blob.modified)}</Last-Modified><Etag>{blob.etag.strip(chr(34))}</Etag>"
                f"<Content-Length>{len(blob.data)}</Content-Length>{md5}<BlobType>BlockBlob</BlobType></Properties>"
                + (f"<Metadata>{metadata}</Metadata>" if "metadata" in wanted else "") + "</Blob>")

    def _blob(self, name, query):
        if self.command == "PUT":
            return self._put(name, query)
        if self.command == "DELETE":
            found = self.azure.find(name, query.get("versionid"))
            if found and query.get("versionid") and found.current:
                return self._refuse(403, "OperationNotAllowedOnRootBlob")
            return self._answer(202) if self.azure.delete(name, query.get("versionid")) else self._refuse(404, "BlobNotFound")
        found = self.azure.find(name, query.get("versionid"))
        if found is None:
            return self._refuse(404, "BlobNotFound")
        if self.headers.get("If-Match") not in (None, found.etag):
            return self._refuse(412, "ConditionNotMet")
        headers = {"ETag": found.etag, "Last-Modified": _date(found.modified), "x-ms-blob-type": "BlockBlob",
                   "x-ms-creation-time": _date(found.created), "Content-Type": "application/octet-stream", **found.settings,
                   **{f"x-ms-meta-{key}": value for key, value in found.metadata.items()}, **self.azure.replication.get(name, {})}
        if found.version:
            headers["x-ms-version-id"] = found.version
        copied = getattr(found, "copying", None)
        if copied is not None:
            found.copying = copied - 1
            headers.update({"x-ms-copy-id": "copy", "x-ms-copy-status": "pending" if copied > 0 else "success"})
        if self.command == "HEAD":
            return self._answer(200, {**headers, "Content-Length": str(len(found.data)), "Content-MD5": found.md5}, None)
        first, _dash, last = (self.headers.get("x-ms-range") or self.headers["Range"]).partition("=")[2].partition("-")
        if int(first) >= len(found.data):
            return self._refuse(416, "InvalidRange")
        data = found.data[int(first):int(last) + 1]
        headers.update({"x-ms-blob-content-md5": found.md5, "Content-Range": f"bytes {first}-{int(first) + len(data) - 1}/{len(found.data)}"})
        return self._answer(206, headers, data)

    def _put(self, name, query):
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if query.get("comp") == "block":
            self.azure.blocks[name, query["blockid"]] = data
            return self._answer(201)
        if query.get("comp") == "blocklist":
            data = b"".join(self.azure.blocks.pop((name, block.text)) for block in ElementTree.fromstring(data))
        source = self.headers.get("x-ms-copy-source")
        if source:
            parts = urlsplit(source)
            found = self.azure.find(unquote(parts.path).split("/", 3)[3], parse_qs(parts.query)["versionid"][0])
            if found is None:
                return self._refuse(404, "CannotVerifyCopySource")
            blob = self.azure.put(name, found.data, found.metadata, found.settings)
            if self.azure.pending_copies:
                blob.copying = self.azure.pending_copies
        else:
            metadata = {key[len("x-ms-meta-"):]: value for key, value in self.headers.items() if key.lower().startswith("x-ms-meta-")}
            settings = {key.title(): self.headers[f"x-ms-blob-{key}"] for key in _SETTINGS if self.headers.get(f"x-ms-blob-{key}")}
            blob = self.azure.put(name, data, metadata, settings)
        status = {"x-ms-copy-id": "copy", "x-ms-copy-status": "pending" if self.azure.pending_copies else "success"} if source else {}
        version = {"x-ms-version-id": blob.version} if blob.version else {}
        return self._answer(202 if source else 201, {"ETag": blob.etag, "Last-Modified": _date(blob.modified), **version, **status})

    def _refuse(self, status, code):
        self._answer(status, {"x-ms-error-code": code}, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>")

    def _answer(self, status, headers=None, body=""):
        """body None: its length is in the headers."""
        self.send_response(status)
        data = body.encode() if isinstance(body, str) else body
        sent = {"x-ms-request-id": "1", **(headers or {})}
        if data is not None:
            sent["Content-Length"] = str(len(data))
        if isinstance(body, str) and body:
            sent["Content-Type"] = "application/xml"
        for key, value in sent.items():
            self.send_header(key, value)
        self.end_headers()
        if data and self.command != "HEAD":
            self.wfile.write(data)
