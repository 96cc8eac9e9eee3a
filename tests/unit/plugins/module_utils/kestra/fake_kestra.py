# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP server that answers as Kestra's API does in a given version. For tests of the client only.

Built from Kestra's controllers and OpenAPI files by version: tenant in the path since 0.23 (open source rewrites the
old form), state=X until 1.x beside filters[…] since 0.22 (0.22 itself names operations $eq), 2.0 without state=X, /kv
since 1.1, `edition` since 1.0, a login for /configs since 2.0, maintenance paths cluster -> instance, status since 2.0;
kill/by-ids answers 200 with a count, 202 since 2.0, 400 with `invalids` and nothing done when it takes one of them not;
replay is below actions/ since 2.0.
"""
from __future__ import annotations

import base64
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

OLD_STATES = {"CREATED", "RUNNING", "PAUSED", "RESTARTED", "KILLING", "SUCCESS", "WARNING", "FAILED", "KILLED",
              "CANCELLED", "QUEUED", "RETRYING", "RETRIED", "SKIPPED"}
NEW_STATES = OLD_STATES | {"SUBMITTED", "BREAKPOINT", "RESUBMITTED"}


class FakeKestra:
    """Attributes may be changed while it runs. Requests are kept in `seen` as (method, path, query, authorization)."""

    def __init__(self, version="0.21.0", edition="OSS", tenants=None, login=None, token=None):
        self.version, self.edition, self.login, self.token = version, edition, login, token
        self.tenants = tenants or ["main"]
        self.executions = {tenant: [] for tenant in self.tenants}   # [(id, namespace, flow, state)]
        self.flows = {tenant: 3 for tenant in self.tenants}
        self.namespaces = {tenant: ["company", "company.team"] for tenant in self.tenants}
        self.kv = {tenant: {"company.team": 2} for tenant in self.tenants}
        self.health = (200, "UP")
        self.uuid = "uuid-1"
        self.forbidden = ()            # path endings that answer 403
        self.broken = {}               # path ending -> (status, body bytes)
        self.services = [("EXECUTOR", "e1"), ("WORKER", "w1"), ("WEBSERVER", "x1"), ("SCHEDULER", "s1")]
        self.lag = 0                   # questions after enter until the services follow
        self.maintenance = False
        self.patience = 0              # questions after a kill until an execution is KILLED
        self.deaf = ()                 # executions that a kill does nothing to
        self.killing = {}
        self.replayed = []             # (new id, old id)
        self.seen = []
        self._servers = []

    @property
    def key(self):
        return tuple(int(part) for part in self.version.split(".")[:2])

    def start(self):
        for name, answer in (("api", self.answer), ("management", self.answer_management)):
            server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(answer))
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
            self._servers.append(server)
            setattr(self, name, f"http://127.0.0.1:{server.server_address[1]}")
        return self

    def stop(self):
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._servers = []

    def __enter__(self):
        return self.start()

    def __exit__(self, *_unused):
        self.stop()

    # -- answers --------------------------------------------------------------

    def answer_management(self, method, path, query, authorization, _body=b""):
        self.seen.append((method, path, query, authorization))
        if path == "/health":
            return self.health[0], {"name": "kestra", "status": self.health[1]}
        if path == "/version" and self.edition == "OSS":
            return 200, {"version": self.version + "-oss"}
        return 404, {}

    def answer(self, method, path, query, authorization, body=b""):
        self.seen.append((method, path, query, authorization))
        for ending, answer in self.broken.items():
            if path.endswith(ending):
                return answer
        public = path == "/api/v1/configs" and self.key < (2, 0)
        if not public and not self._logged_in(authorization):
            return 401, {"message": "Unauthorized"}
        if any(path.endswith(ending) for ending in self.forbidden):
            return 403, {"message": "Forbidden"}
        if not path.startswith("/api/v1/"):
            return 404, {"message": "Not Found"}
        instance = self._instance(method, path[len("/api/v1/"):])
        if instance is not None:
            return instance
        tenant, rest = self._tenant(path[len("/api/v1/"):])
        if tenant is None:
            return 404, {"message": "Not Found"}
        return self._execution(method, tenant, rest, body) or self._search(tenant, rest, query)

    def _logged_in(self, authorization):
        if self.login is None and self.token is None:
            return True
        accepted = []
        if self.login:
            accepted.append("Basic " + base64.b64encode(":".join(self.login).encode()).decode())
        if self.token:
            accepted.append("Bearer " + self.token)
        return authorization in accepted

    def _instance(self, method, path):
        if path == "configs":
            body = {"uuid": self.uuid, "version": self.version, "commitId": "abc", "url": None}
            if self.key >= (1, 0):
                body["edition"] = self.edition
            if self.edition == "EE" and self.key >= (0, 22):
                body["inMaintenance"] = self.maintenance
            return 200, body
        if self.edition != "EE":
            return None
        if path == "license-info":
            return 200, {"type": "PRODUCTION"}
        if path == "tenants/search" and self.key >= (0, 23):
            return 200, {"results": [{"id": tenant} for tenant in self.tenants], "total": len(self.tenants)}
        prefix = self._cluster_prefix()
        if method == "POST" and path in (prefix + "/maintenance/enter", prefix + "/maintenance/exit"):
            self.maintenance = path.endswith("enter")
            return 200, {}
        if path == prefix + "/services/search":
            return 200, self._service_rows()
        if path == "instance/maintenance/status" and self.key >= (2, 0):
            following = self._following()
            kinds = {kind: {"total": 1, "inMaintenance": int(kind in following)} for kind, _id in self.services}
            return 200, {"maintenance": self.maintenance, "services": kinds,
                         "ready": self.maintenance and len(following) == len(self.services)}
        return None

    def _cluster_prefix(self):
        if self.key >= (0, 24):
            return "instance"
        return "cluster" if self.key >= (0, 23) and self.version.endswith("cluster") else "main/cluster" \
            if self.key >= (0, 23) else "cluster"

    def _following(self):
        if not self.maintenance:
            return set()
        if self.lag > 0:
            self.lag -= 1
            return {self.services[0][0]}
        return {kind for kind, _id in self.services}

    def _service_rows(self):
        following = self._following()
        rows = [{"id": name, "type": kind, "server": {"hostname": "h1"},
                 "state": "MAINTENANCE" if kind in following and kind in ("EXECUTOR", "WORKER") else "RUNNING"}
                for kind, name in self.services]
        rows.append({"id": "old", "type": "WORKER", "state": "NOT_RUNNING"})
        return {"results": rows, "total": len(rows)}

    def _tenant(self, path):
        head, _unused, rest = path.partition("/")
        roots = ("flows", "executions", "namespaces", "triggers", "kv")
        if self.key < (0, 23) and len(self.tenants) == 1:
            return (self.tenants[0], path) if head in roots else (None, None)
        if head in self.tenants:
            return head, rest
        if head in roots and self.edition == "OSS":
            return "main", path  # the temporary rewrite
        return None, None

    def _search(self, tenant, path, query):
        if path == "executions/search":
            return self._executions(tenant, query)
        if path == "namespaces/search":
            return _page([{"id": name} for name in self.namespaces[tenant]], query)
        if path in ("flows/search", "triggers/search"):
            return _page([{"id": str(number)} for number in range(self.flows[tenant])], query)
        if path == "kv" and self.key >= (1, 1):
            return _page([{}] * sum(self.kv[tenant].values()), query)
        found = re.fullmatch(r"namespaces/([^/]+)/kv", path)
        if found:
            return 200, [{"key": str(number)} for number in range(self.kv[tenant].get(unquote(found.group(1)), 0))]
        return 404, {"message": "Not Found"}

    def _execution(self, method, tenant, path, body):
        """One execution and what is done to it; None for another path."""
        known = {row[0]: row for row in self.executions[tenant]}
        if (method, path) == ("DELETE", "executions/kill/by-ids"):
            ids = json.loads(body)
            invalids = [{"message": "execution already finished" if name in known else "execution not found", "rootBean": name,
                         "invalidValue": name, "propertyPath": "execution"}
                        for name in ids if name not in known or known[name][3] in ("SUCCESS", "FAILED", "KILLED")]
            if invalids:
                return 400, {"message": "invalid bulk kill", "invalids": invalids}
            self.killing.update((name, self.patience) for name in ids if name not in self.deaf)
            return (202, {"operationId": "o1"}) if self.key >= (2, 0) else (200, {"count": len(ids)})
        found = re.fullmatch(r"executions/([^/]+)(/actions/replay|/replay)?", path)
        if not found or found.group(1) == "search" or found.group(2) == ("/replay" if self.key >= (2, 0) else "/actions/replay"):
            return None
        row = known.get(found.group(1))
        if row is None:
            return 404, {"message": "Not Found"}
        if found.group(2) and method == "POST":
            self.replayed.append((f"again-{row[0]}", row[0]))
            self.executions[tenant].append((f"again-{row[0]}", *row[1:3], "CREATED"))
            return 200, {"id": f"again-{row[0]}", "state": {"current": "CREATED"}}
        if row[0] in self.killing:
            self.killing[row[0]] -= 1
            if self.killing[row[0]] < 0:
                del self.killing[row[0]]
                row = (*row[:3], "KILLED")
                self.executions[tenant] = [row if one[0] == row[0] else one for one in self.executions[tenant]]
        return 200, {"id": row[0], "namespace": row[1], "flowId": row[2], "state": {"current": row[3]}}

    def _executions(self, tenant, query):
        states = set()
        if self.key < (2, 0):
            states |= set(query.get("state", []))
        elif "state" in query and self.version.endswith("strict"):
            return 422, {"message": "Legacy filter parameter(s) [state] are no longer supported"}
        if self.key >= (0, 22):
            for name, values in query.items():
                found = re.fullmatch(r"filters\[state\]\[(.*)\]", name)
                if found and found.group(1) not in (("$eq", "$in") if self.key == (0, 22) else ("EQUALS", "IN")):
                    return 422, {"message": "Unsupported operation"}
                if found:
                    states |= {part for value in values for part in value.split(",")}
        if states - (NEW_STATES if self.key >= (2, 0) else OLD_STATES):
            return 400, {"message": "Failed to convert argument [state]"}
        rows = [{"id": name, "namespace": namespace, "flowId": flow, "state": {"current": state}}
                for name, namespace, flow, state in self.executions[tenant] if not states or state in states]
        return _page(rows, query)


def _page(rows, query):
    page, size = int(query.get("page", ["1"])[0]), int(query.get("size", ["10"])[0])
    return 200, {"results": rows[(page - 1) * size:page * size], "total": len(rows)}


def _handler(answer):
    class Handler(BaseHTTPRequestHandler):
        def _serve(self):
            parts = urlsplit(self.path)
            given = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = answer(self.command, unquote(parts.path), parse_qs(parts.query),
                                  self.headers.get("Authorization"), given)
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_DELETE = _serve

        def log_message(self, *_unused):
            pass
    return Handler
