# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The repository in Elasticsearch: an index for each kind of document, its name after Kestra's prefix. Plain HTTP."""
from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request

from . import values

# Kinds, and which fields are searched for as they are. The last open-source version had the first six; how the
# Enterprise Edition names its own is not public.
FIELDS = {
    "flows": ("tenantId", "namespace", "id"), "flows_revisions": ("tenantId", "namespace", "id"),
    "executions": ("tenantId", "namespace", "flowId", "id", "state.current"), "templates": ("namespace", "id"),
    "triggers": ("tenantId", "namespace", "flowId", "triggerId"), "settings": ("key",),
    "namespaces": ("tenantId", "id"), "tenants": ("id",), "users": ("id",), "dashboards": ("tenantId", "id"),
    "logs": ("tenantId", "namespace", "flowId", "executionId", "level"),
    "metrics": ("tenantId", "namespace", "flowId", "executionId", "name"),
}
_PAGE = 500


class IndicesError(Exception):
    """Elasticsearch is away or refuses."""


class Indices:
    """Kestra's indices in one Elasticsearch. settings: config.elasticsearch()."""

    def __init__(self, settings):
        self.settings = settings
        self._context = ssl.create_default_context()
        if settings["trust_all_ssl"]:
            self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE

    def name(self, kind):
        """Name of a kind's index."""
        return self.settings["prefix"] + kind

    def prepare(self):
        """Make the indices that are missing, as Kestra does whenever it boots."""
        for kind, fields in FIELDS.items():
            if self._call("HEAD", "/" + self.name(kind), missing=True) is None:
                properties = {}
                for field in fields:
                    node, parts = properties, field.split(".")
                    for part in parts[:-1]:
                        node = node.setdefault(part, {"properties": {}})["properties"]
                    node[parts[-1]] = {"type": "keyword"}
                self._call("PUT", "/" + self.name(kind), {
                    "settings": {"number_of_shards": 1, "number_of_replicas": 0},
                    "mappings": {"dynamic": False, "properties": properties}})

    def documents(self, kind):
        """[(id, document)] of a whole index."""
        path = "/%s/_search?scroll=1m" % self.name(kind)
        page = self._call("POST", path, {"size": _PAGE, "sort": ["_doc"], "query": {"match_all": {}}})
        found = []
        while page["hits"]["hits"]:
            found += [(one["_id"], one["_source"]) for one in page["hits"]["hits"]]
            page = self._call("POST", "/_search/scroll", {"scroll": "1m", "scroll_id": page["_scroll_id"]})
        self._call("DELETE", "/_search/scroll", {"scroll_id": page["_scroll_id"]}, missing=True)
        return found

    def put_all(self, documents):
        """Write {(kind, id): document}; they are found at once. A document that is None goes."""
        lines = []
        for (kind, key), value in documents.items():
            step = {"_index": self.name(kind), "_id": key}
            lines += [json.dumps({"delete": step})] if value is None else [json.dumps({"index": step}), values.dumps(value)]
        if lines:
            done = self._call("POST", "/_bulk?refresh=true", "\n".join(lines) + "\n")
            failed = [item for item in done["items"] if next(iter(item.values())).get("error")]
            if failed:
                raise IndicesError("Elasticsearch does not take a document: %s" % values.dumps(failed[0])[:500])

    def version(self):
        """The server's version."""
        return self._call("GET", "/")["version"]["number"]

    def sizes(self):
        """{kind: [documents, bytes]}."""
        rows = self._call("GET", "/_cat/indices/%s*?format=json&bytes=b&h=index,docs.count,store.size" % self.name(""))
        return {row["index"][len(self.name("")):]: [int(row["docs.count"]), int(row["store.size"])] for row in rows}

    def _call(self, method, path, body=None, missing=False):
        """The answer to one request, asking one host after the other. missing: 404 is None."""
        data = None if body is None else (body if isinstance(body, str) else json.dumps(body)).encode()
        headers = {"Content-Type": "application/json" if not isinstance(body, str) else "application/x-ndjson"}
        if self.settings["user"]:
            login = "%s:%s" % (self.settings["user"], self.settings["password"] or "")
            headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        away = None
        for host in self.settings["hosts"]:
            request = urllib.request.Request(host + path, data=data, headers=headers, method=method)
            try:
                with urllib.request.urlopen(request, timeout=60, context=self._context) as answer:
                    text = answer.read()
                    return values.loads(text) if text else {}
            except urllib.error.HTTPError as error:
                if error.code == 404 and missing:
                    return None
                raise IndicesError("Elasticsearch answers %s %s with %d: %s" % (
                    method, path, error.code, error.read()[:300].decode("utf-8", "replace"))) from None
            except OSError as error:
                away = error
        raise IndicesError("Elasticsearch does not answer at %s: %s" % (", ".join(self.settings["hosts"]), away))
