# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two HTTP ports: the API and the management endpoints."""
from __future__ import annotations

import base64
import hmac
import io
import re
import socket
import threading
import time
import zipfile
from datetime import timedelta
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

from . import NAME, NOTICE, executor, flows, model, schedule, storage, tasks, values, version_tuple


class Answer(Exception):
    """An HTTP answer other than the plain 200 with JSON."""

    def __init__(self, status, body=None, kind="application/json", headers=()):
        super().__init__(status)
        self.status, self.body, self.kind, self.headers = status, body, kind, headers


def refuse(status, message):
    """An error the way Micronaut words it."""
    names = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 409: "Conflict", 422: "Unprocessable Entity",
             500: "Internal Server Error", 503: "Service Unavailable"}
    return Answer(status, {"message": "%s: %s" % (names.get(status, "Error"), message)})


def multipart(kind, body):
    """{name: (filename or None, content)} of a multipart body."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + kind.encode("latin-1") + b"\r\n\r\n" + body)
    found = {}
    for part in message.iter_parts() if message.is_multipart() else ():
        name = part.get_param("name", header="content-disposition")
        found[name] = (part.get_filename(), part.get_payload(decode=True) or b"")
    return found


class Request:
    """What a handler needs to know."""

    def __init__(self, handler):
        parts = urlsplit(handler.path)
        self.method = handler.command
        self.path = unquote(parts.path)
        self.query = parse_qs(parts.query, keep_blank_values=True)
        self.headers = handler.headers
        self.tenant = None  # the one in the path
        self.kind = handler.headers.get("Content-Type", "")
        length = int(handler.headers.get("Content-Length") or 0)
        self.body = handler.rfile.read(length) if length else b""

    def first(self, name, default=None):
        """A query parameter."""
        return self.query.get(name, [default])[0]

    def many(self, name):
        """All values of a query parameter, commas split."""
        return [part for value in self.query.get(name, ()) for part in value.split(",") if part]

    def page(self):
        """(size, offset)."""
        try:
            size, number = int(self.first("size", "10")), int(self.first("page", "1"))
        except ValueError:
            raise refuse(400, "page and size are numbers") from None
        if size < 1 or number < 1:
            raise refuse(422, "page and size must be positive")
        return size, (number - 1) * size

    def fields(self):
        """Form fields: {name: (filename or None, content)}."""
        if self.kind.startswith("multipart/"):
            return multipart(self.kind, self.body)
        if self.kind.startswith("application/x-www-form-urlencoded"):
            found = parse_qs(self.body.decode(), keep_blank_values=True)
            return {name: (None, items[-1].encode()) for name, items in found.items()}
        return {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = NAME
    sys_version = ""

    def _serve(self):
        service = self.server.service
        try:
            request = Request(self)
            answer = service.answer(request)
        except Answer as one:
            answer = one
        except service.server.database_errors as error:
            service.server.log.error("%s %s: %s", self.command, self.path, str(error).strip())
            answer = refuse(500, "the database does not answer")
        except (storage.StorageError, FileNotFoundError) as error:
            answer = refuse(404, str(error))
        except Exception as error:  # pylint: disable=broad-except
            service.server.log.exception("%s %s: %r", self.command, self.path, error)
            answer = refuse(500, repr(error))
        if not isinstance(answer, Answer):
            answer = Answer(200, answer)
        body = answer.body
        if body is None:
            body = b""
        elif not isinstance(body, bytes):
            body = (values.dumps(body) if answer.kind == "application/json" else body).encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        self.server.service.server.log.debug(format, *args)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        """A client that hung up is no error of ours."""


class Service:
    """One port."""

    def __init__(self, server, host, port, credentials=None):
        self.server, self.credentials = server, credentials
        _HttpServer.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.http = _HttpServer((host, port), _Handler)
        self.http.service = self
        self.port = self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.1},
                                       name=type(self).__name__.lower(), daemon=True)

    def start(self):
        """Answer from now on."""
        self.thread.start()

    def stop(self):
        """Answer no longer."""
        if self.thread.is_alive():
            self.http.shutdown()
        self.http.server_close()

    def check_login(self, request):
        """HTTP basic authentication, when it is configured."""
        if not self.credentials:
            return
        kind, _blank, text = request.headers.get("Authorization", "").partition(" ")
        try:
            given = base64.b64decode(text, validate=True) if kind.lower() == "basic" else b""
        except ValueError:
            given = b""
        if not hmac.compare_digest(given, ":".join(self.credentials).encode()):
            raise Answer(401, {"message": "Unauthorized"}, headers=[("WWW-Authenticate", 'Basic realm="kestra"')])


class Management(Service):
    """/health and its neighbours."""

    def answer(self, request):
        """One request."""
        self.check_login(request)
        path = request.path.rstrip("/")
        if request.method not in ("GET", "HEAD"):
            raise refuse(405, "Method Not Allowed")
        if path == "/health":
            return self.health(details=True)
        if path == "/health/readiness":
            return self.health(details=False)
        if path == "/health/liveness":
            return {"name": "kestra", "status": "UP"} if not self.server.stopping.is_set() else self.health(False)
        if path == "/version":
            return {"version": self.server.version + "-oss", "serverType": self.server.kind.upper(), "standIn": NAME}
        if path in ("/prometheus", "/metrics"):
            raise Answer(200, "# %s\nkestra_standin_worker_running_count %d\n" % (
                NOTICE, self.server.worker.busy() if self.server.worker else 0), "text/plain")
        raise refuse(404, "Page Not Found")

    def health(self, details):
        """UP when the database answers and the services run."""
        found = {}
        try:
            database = {"name": "kestra", "status": "UP", "details": self.server.store.ping()}
            found["jdbc"] = {"name": "kestra", "status": "UP",
                             "details": {"jdbc:%s" % self.server.store.engine: database}}
        except self.server.database_errors as error:
            found["jdbc"] = {"name": "kestra", "status": "DOWN", "details": {"error": str(error).strip()}}
        up = self.server.ready.is_set() and not self.server.stopping.is_set()
        found["service"] = {"name": "kestra", "status": "UP" if up else "DOWN"}
        if self.server.storage_missing():
            found["diskSpace"] = {"name": "kestra", "status": "DOWN", "details": {"error": "No such directory"}}
        status = "UP" if all(one["status"] == "UP" for one in found.values()) else "DOWN"
        document = {"name": "kestra", "status": status}
        if details:
            document["details"] = found
        raise Answer(200 if status == "UP" else 503, document)


def route(method, pattern):
    """Marks a method of Api as the answer to a path below /api/v1[/tenant]."""
    def mark(function):
        function.routes = getattr(function, "routes", []) + [(method, re.compile("^" + pattern + "$"))]
        return function
    return mark


ROOTS = ("configs", "flows", "executions", "namespaces", "triggers", "logs", "metrics", "dashboards", "usages",
         "plugins", "instance", "cluster", "kv", "setup", "tenants", "license-info")


class Api(Service):
    """/api/v1."""

    def __init__(self, server, host, port, credentials=None, context_path=""):
        super().__init__(server, host, port, credentials)
        self.context_path = context_path.rstrip("/")
        self.routes = [(method, pattern, getattr(self, name)) for name in dir(type(self))
                       for method, pattern in getattr(getattr(type(self), name), "routes", ())]
        # executions/search before executions/{id}: what has fewer wildcards is looked at first.
        self.routes.sort(key=lambda one: one[1].pattern.count("("))
        self.store = server.store

    def answer(self, request):
        """One request."""
        path = request.path
        if self.context_path:
            if not path.startswith(self.context_path + "/"):
                raise refuse(404, "Page Not Found")
            path = path[len(self.context_path):]
        if path in ("/", "/ui", "/ui/"):
            raise Answer(200, "<title>%s: %s</title>" % (NAME, NOTICE), "text/html")
        if not path.startswith("/api/v1/"):
            raise refuse(404, "Page Not Found")
        path = path[len("/api/v1/"):].rstrip("/")
        if not (path == "configs" and version_tuple(self.server.version) < (2, 0)):
            self.check_login(request)
        head, _slash, rest = path.partition("/")
        # A first word that is no resource is a tenant; without tenants it is one that does not exist.
        if head not in ROOTS:
            if head != self.server.tenant:
                raise refuse(404, "Page Not Found")
            path, request.tenant = rest, head
        for method, pattern, function in self.routes:
            match = pattern.match(path)
            if match and method == request.method:
                return function(request, *match.groups())
        raise refuse(404, "Page Not Found")

    # the instance ---------------------------------------------------------------------------------------------

    @route("GET", "configs")
    def configs(self, _request):
        """Also makes the instance's uuid, when nobody asked before."""
        with self.store.tx() as work:
            setting = work.get("settings", "instance.uuid")
            if setting is None:
                work.add("settings", "instance.uuid", {"key": "instance.uuid", "value": values.new_id()})
                setting = work.get("settings", "instance.uuid")
        found = {"uuid": setting["value"], "version": self.server.version, "commitId": "0000000",
                 "commitDate": "2025-01-01T00:00:00Z", "isCustomDashboardsEnabled": True, "isTaskRunEnabled": False,
                 "isAnonymousUsageEnabled": False, "isTemplateEnabled": False, "isAiEnabled": False,
                 "isBasicAuthEnabled": bool(self.credentials), "systemNamespace": "system",
                 "resourceToFilters": {}, "hiddenLabelsPrefixes": ["system."], "standIn": "%s: %s" % (NAME, NOTICE)}
        if self.server.url:
            found["url"] = self.server.url
        if version_tuple(self.server.version) >= (1, 0):
            found["edition"] = "OSS"
        return found

    @route("GET", "usages/all")
    def usages(self, _request):
        """A fingerprint of the instance."""
        with self.store.tx() as work:
            _rows, count = work.latest_flows(limit=1)
            return {"flows": {"count": count, "namespacesCount": len(work.namespaces())},
                    "executions": {"dailyExecutionsCount": [
                        {"totalCount": work.count("executions", "NOT deleted")}]}}

    @route("GET", "plugins")
    def plugins(self, _request):
        """The task types."""
        return [{"name": "core", "tasks": sorted(flows.RUNNABLE + flows.FLOWABLE)}]

    # flows ----------------------------------------------------------------------------------------------------

    def save_flow(self, body, create, update=None):
        """Keep a flow from YAML (bytes): a new one when create is true, a new revision of the one update names.

        With neither a new one or a new revision, as it comes; the same source again changes nothing.
        """
        try:
            source = body.decode()
            flow = flows.parse(source)
        except (flows.InvalidFlow, UnicodeDecodeError) as error:
            raise refuse(422, str(error)) from None
        if self.server.tenant:
            flow["tenantId"] = self.server.tenant
        name = (flow["namespace"], flow["id"])
        with self.store.tx() as work:
            before = work.flow(*name)
            if create and before is not None:
                raise refuse(422, "flow.id: Flow id already exists")
            if update and (before is None or update != name):
                raise refuse(404 if before is None else 422, "Flow not found")
            if before is not None and before[1] == source:
                return dict(before[0], source=source)
            flow["revision"] = work.last_revision(*name) + 1
            key = model.flow_uid(flow)
            work.put("flows", key, flow, source_code=source)
            work.emit("models.flows.FlowWithSource", key, dict(flow, source=source))
            self.drop_triggers(work, flow)
        self.server.wake.set()
        return dict(flow, source=source)

    def drop_triggers(self, work, flow):
        """Forget the state of triggers the flow no longer has."""
        kept, names = self.store.among("trigger_id", [one["id"] for one in flow.get("triggers", ())])
        work.remove("triggers", "namespace = %s AND flow_id = %s AND NOT " + kept,
                    [flow["namespace"], flow["id"]] + names)

    @route("POST", "flows")
    def create_flow(self, request):
        """POST of one YAML document."""
        return self.save_flow(request.body, create=True)

    @route("PUT", "flows/([^/]+)/([^/]+)")
    def update_flow(self, request, namespace, flow_id):
        """PUT of one YAML document: a new revision."""
        return self.save_flow(request.body, create=False, update=(namespace, flow_id))

    @route("GET", "flows/search")
    def search_flows(self, request):
        """Page of latest revisions."""
        size, offset = request.page()
        with self.store.tx() as work:
            rows, total = work.latest_flows(request.first("namespace"), request.first("q"), size, offset)
        return {"results": [value for value, _source in rows], "total": total}

    @route("GET", "flows/export/by-query")
    def export_flows(self, request):
        """ZIP of the YAML sources."""
        with self.store.tx() as work:
            rows, _total = work.latest_flows(request.first("namespace"))
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for flow, source in rows:
                archive.writestr("%s-%s.yml" % (flow["namespace"], flow["id"]), source)
        raise Answer(200, content.getvalue(), "application/octet-stream")

    @route("GET", "flows/([^/]+)/([^/]+)")
    def get_flow(self, request, namespace, flow_id):
        """One flow, with ?source=true its YAML, with ?revision=n an older one."""
        revision = request.first("revision")
        with self.store.tx() as work:
            found = work.flow(namespace, flow_id, int(revision) if revision else None)
        if found is None:
            raise refuse(404, "Flow not found")
        return dict(found[0], source=found[1]) if request.first("source") == "true" else found[0]

    @route("DELETE", "flows/([^/]+)/([^/]+)")
    def delete_flow(self, _request, namespace, flow_id):
        """A new revision that says deleted."""
        with self.store.tx() as work:
            found = work.flow(namespace, flow_id)
            if found is None:
                raise refuse(404, "Flow not found")
            flow = dict(found[0], deleted=True, revision=found[0]["revision"] + 1)
            flow.pop("triggers", None)
            key = model.flow_uid(flow)
            work.put("flows", key, flow, source_code=found[1])
            work.emit("models.flows.FlowWithSource", key, dict(flow, source=found[1]))
            self.drop_triggers(work, flow)
        raise Answer(204)

    # executions -----------------------------------------------------------------------------------------------

    @route("POST", "executions/([^/]+)/([^/]+)")
    def create_execution(self, request, namespace, flow_id):
        """Start a flow with its inputs as form fields; ?wait=true answers when it has ended."""
        with self.store.tx() as work:
            found = work.flow(namespace, flow_id)
        if found is None or found[0].get("disabled"):
            raise refuse(404, "Flow not found")
        labels = [{"key": name, "value": value} for name, _colon, value in (
            text.partition(":") for text in request.query.get("labels", ()))]
        execution = model.new_execution(found[0], values.now(), labels=labels, tenant=self.server.tenant)
        inputs = self.inputs(found[0], execution, request.fields())
        if inputs:
            execution["inputs"] = inputs
        with self.store.tx() as work:
            executor.save(work, execution)
        self.server.wake.set()
        if request.first("wait") == "true":
            deadline = time.monotonic() + 300
            while not model.is_done(execution) and time.monotonic() < deadline:
                time.sleep(0.05)
                with self.store.tx() as work:
                    execution = work.get("executions", execution["id"]) or execution
        return execution

    def inputs(self, flow, execution, fields):
        """Typed inputs; files go into internal storage."""
        found = {}
        for one in flow.get("inputs", ()):
            name, kind = one["id"], one["type"]
            if name not in fields:
                given = next(((file, content) for key, (file, content) in fields.items() if file == name), None)
                if given is None:
                    if "defaults" in one:
                        found[name] = one["defaults"]
                    elif one["required"]:
                        raise refuse(422, "Invalid input for `%s`, missing required input, but received `null`" % name)
                    continue
            else:
                given = fields[name]
            content = given[1]
            if kind == "FILE":
                path = "%s/inputs/%s/%s_%d%s" % (
                    storage.execution_path(flow["namespace"], flow["id"], execution["id"]), name, name,
                    values.file_number(), one.get("extension", ".upl"))
                found[name] = self.server.storage.put(path, content)
                continue
            text = content.decode("utf-8", "replace")
            try:
                if kind == "INT":
                    found[name] = int(text)
                elif kind == "FLOAT":
                    found[name] = values.Decimal(text)
                elif kind in ("BOOL", "BOOLEAN"):
                    found[name] = text.lower() == "true" if kind == "BOOLEAN" else text.lower()
                elif kind == "JSON":
                    found[name] = values.loads(text)
                elif kind == "YAML":
                    found[name] = yaml.safe_load(text)
                else:
                    found[name] = text
            except (ValueError, ArithmeticError, yaml.YAMLError):
                raise refuse(422, "Invalid input for `%s`, Expected `%s` but received `%s`" % (
                    name, kind, text)) from None
        return found

    def filters(self, request, allowed):
        """(condition, arguments) from ?namespace=a or ?filters[namespace][EQUALS]=a, for the allowed names."""
        where, arguments = ["NOT deleted"] if "deleted" in allowed else ["true"], []
        for name, column in allowed.items():
            if name == "deleted":
                continue
            chosen = request.many(name)
            for key in request.query:
                if re.match(r"^filters\[%s\]\[(EQUALS|IN)\]$" % re.escape(name), key):
                    chosen += request.many(key)
            if not chosen:
                continue
            if name == "namespace":
                where.append("(%s = %%s OR %s LIKE %%s)" % (column, column))
                arguments += [chosen[0], chosen[0] + ".%"]
            elif name in ("startDate", "endDate"):
                where.append(self.store.started(">=" if name == "startDate" else "<="))
                arguments.append(values.iso(values.parse_iso(chosen[0])))
            elif name == "minLevel":
                where.append(self.store.up_to_level())
                arguments.append(chosen[0])
            else:
                found, entries = self.store.among(column, chosen)
                where.append(found)
                arguments += entries
        return " AND ".join(where), arguments

    @route("GET", "executions/search")
    @route("GET", "executions")
    def search_executions(self, request):
        """Page of executions, newest first."""
        where, arguments = self.filters(request, {
            "deleted": "", "namespace": "namespace", "flowId": "flow_id", "state": "state_current", "startDate": "",
            "endDate": ""})
        size, offset = request.page()
        with self.store.tx() as work:
            rows, total = work.search("executions", where, arguments, ["start_date DESC"], size, offset)
        return {"results": [value for _key, value in rows], "total": total}

    @route("GET", "executions/([^/]+)/file")
    def execution_file(self, request, execution_id):
        """A file of the execution."""
        execution = self.execution(execution_id)
        path = request.first("path", "")
        own = storage.execution_path(execution["namespace"], execution["flowId"], execution_id)
        if not path.startswith(storage.LocalStorage.SCHEME + own + "/"):
            raise refuse(422, "Invalid path '%s' for execution '%s'" % (path, execution_id))
        raise Answer(200, self.server.storage.get(path), "application/octet-stream")

    def execution(self, execution_id):
        """An execution, or 404."""
        with self.store.tx() as work:
            found = work.get("executions", execution_id)
        if found is None or found.get("deleted"):
            raise refuse(404, "Execution not found")
        return found

    @route("GET", "executions/([^/]+)")
    def get_execution(self, _request, execution_id):
        """One execution."""
        return self.execution(execution_id)

    @route("DELETE", "executions/([^/]+)")
    def delete_execution(self, _request, execution_id):
        """Delete a finished execution with its logs, metrics and files."""
        execution = self.execution(execution_id)
        if not model.is_done(execution):
            raise refuse(409, "Cannot delete an execution that is not terminated")
        with self.store.tx() as work:
            execution["deleted"] = True
            work.put("executions", execution_id, execution)
            work.remove("logs", "execution_id = %s", (execution_id,))
            work.remove("metrics", "execution_id = %s", (execution_id,))
        self.server.storage.delete(storage.execution_path(execution["namespace"], execution["flowId"], execution_id))
        raise Answer(204)

    def change(self, execution_id, allowed, action):
        """Change a running execution under its lock and tell the executors."""
        with self.store.tx() as work:
            execution = work.get("executions", execution_id, lock=True)
            if execution is None:
                raise refuse(404, "Execution not found")
            if execution["state"]["current"] not in allowed:
                raise refuse(409, "Execution is %s" % execution["state"]["current"])
            flow = work.flow(execution["namespace"], execution["flowId"], execution["flowRevision"])
            progress = executor.Progress(flow[0], execution, values.now())
            action(work, progress)
            executor.save(work, execution)
        self.server.wake.set()

    @route("POST", "executions/([^/]+)/resume")
    def resume(self, _request, execution_id):
        """Let a paused execution go on."""
        self.change(execution_id, ("PAUSED",), lambda _work, progress: progress.resume())
        raise Answer(204)

    @route("DELETE", "executions/([^/]+)/kill")
    def kill(self, _request, execution_id):
        """Kill a running execution."""
        def action(work, progress):
            progress.set("KILLING")
            work.emit("models.executions.ExecutionKilled", execution_id,
                      {"type": "execution", "executionId": execution_id, "state": "REQUESTED", "isOnKillCascade": True})
        self.change(execution_id, ("CREATED", "RUNNING", "PAUSED", "QUEUED", "RESTARTED"), action)
        raise Answer(202)

    @route("DELETE", "executions/kill/by-ids")
    def kill_many(self, request):
        """Kill a list of executions, all or none."""
        ids = values.loads(request.body.decode() or "null")
        if not isinstance(ids, list):
            raise refuse(400, "Required Body [executionsId] not specified")
        with self.store.tx() as work:
            found = {one: work.get("executions", one) for one in ids}
        whys = {one: "execution not found" if execution is None else "execution already finished"
                for one, execution in found.items() if execution is None or model.is_done(execution)}
        if whys:
            raise Answer(400, {"message": "invalid bulk kill", "invalids": [
                {"message": why, "rootBean": one, "rootBeanClass": "java.lang.String", "leafBean": one, "invalidValue": one}
                for one, why in whys.items()]})
        for one in ids:
            self.change(one, (found[one]["state"]["current"],), self.killing)
        if version_tuple(self.server.version) >= (2, 0):
            raise Answer(202, {"operationId": values.new_id()})
        return {"count": len(ids)}

    @staticmethod
    def killing(work, progress):
        """The order to kill an execution, without what it has started."""
        progress.set("KILLING")
        execution_id = progress.execution["id"]
        work.emit("models.executions.ExecutionKilled", execution_id,
                  {"type": "execution", "executionId": execution_id, "state": "REQUESTED", "isOnKillCascade": False})

    @route("POST", "executions/([^/]+)/replay")
    @route("POST", "executions/([^/]+)/actions/replay")
    def replay(self, request, execution_id):
        """A new execution like this one, from its first task. Its path has actions in it since 2.0."""
        if request.path.endswith("/actions/replay") != (version_tuple(self.server.version) >= (2, 0)):
            raise refuse(404, "Page Not Found")
        old = self.execution(execution_id)
        with self.store.tx() as work:
            found = work.flow(old["namespace"], old["flowId"], old["flowRevision"])
            if found is None or found[0].get("disabled"):
                raise refuse(409, "The flow cannot be executed")
            execution = model.new_execution(found[0], values.now(), inputs=old.get("inputs"), trigger=old.get("trigger"),
                                            tenant=old.get("tenantId"))
            execution.update(parentId=execution_id, originalId=old["originalId"], labels=list(old.get("labels", ())))
            execution["metadata"] = dict(old["metadata"], attemptNumber=old["metadata"]["attemptNumber"] + 1)
            executor.save(work, execution)
        self.server.wake.set()
        return execution

    # the rest -------------------------------------------------------------------------------------------------

    @route("GET", "namespaces/search")
    def search_namespaces(self, request):
        """Namespaces by name."""
        text = request.first("q", "")
        with self.store.tx() as work:
            found = [name for name in work.namespaces() if text in name]
        size, offset = request.page()
        page = found[offset:offset + size]
        return {"results": [{"id": name, "disabled": False} for name in page], "total": len(found)}

    @route("GET", "triggers/search")
    def search_triggers(self, request):
        """State of triggers."""
        where, arguments = self.filters(request, {"namespace": "namespace", "flowId": "flow_id"})
        size, offset = request.page()
        with self.store.tx() as work:
            rows, total = work.search("triggers", where, arguments, (), size, offset)
        return {"results": [{"triggerContext": value} for _key, value in rows], "total": total}

    @route("PUT", "triggers")
    def update_trigger(self, request):
        """Switch a trigger on or off: {namespace, flowId, triggerId, disabled}."""
        given = values.loads(request.body.decode())
        given.setdefault("tenantId", self.server.tenant)
        key = model.trigger_uid(given)
        with self.store.tx() as work:
            trigger = work.get("triggers", key, lock=True)
            if trigger is None:
                raise refuse(404, "Trigger not found")
            trigger["disabled"] = bool(given.get("disabled"))
            if not trigger["disabled"]:
                flow = work.flow(trigger["namespace"], trigger["flowId"])
                for one in flow[0].get("triggers", ()) if flow else ():
                    if one["id"] == trigger["triggerId"]:
                        trigger["nextExecutionDate"] = values.iso(schedule.following(one, values.now()))
            work.put("triggers", key, trigger)
        return trigger

    @route("GET", "logs/search")
    def search_logs(self, request):
        """Page of log lines, newest first."""
        where, arguments = self.filters(request, {
            "deleted": "", "namespace": "namespace", "flowId": "flow_id", "executionId": "execution_id",
            "minLevel": ""})
        size, offset = request.page()
        with self.store.tx() as work:
            rows, total = work.search("logs", where, arguments, ["timestamp DESC"], size, offset)
        return {"results": [value for _key, value in rows], "total": total}

    @route("GET", "logs/([^/]+)")
    def execution_logs(self, _request, execution_id):
        """All log lines of an execution."""
        with self.store.tx() as work:
            rows = work.documents("logs", "execution_id = %s", (execution_id,), "ORDER BY timestamp")
        return [value for _key, value in rows]

    @route("GET", "dashboards")
    def dashboards(self, request):
        """Page of dashboards."""
        size, offset = request.page()
        with self.store.tx() as work:
            rows, total = work.search("dashboards", "NOT deleted", (), (), size, offset)
        return {"results": [value for _key, value in rows], "total": total}

    @route("POST", "dashboards")
    def create_dashboard(self, request):
        """A dashboard from YAML."""
        source = request.body.decode()
        document = yaml.safe_load(source)
        if not isinstance(document, dict) or not document.get("title"):
            raise refuse(422, "title: must not be empty")
        document.update(id=document.get("id") or values.new_id(), deleted=False)
        if self.server.tenant:
            document["tenantId"] = self.server.tenant
        with self.store.tx() as work:
            work.put("dashboards", model.uid(self.server.tenant, document["id"]), document, source_code=source)
        return document

    @route("GET", "namespaces/([^/]+)/kv")
    def list_kv(self, _request, namespace):
        """Keys of a namespace."""
        found = self.server.storage.files(storage.namespace_path(namespace) + "/_kv")
        return [{"key": re.sub(r"\.ion$", "", path.rsplit("/", 1)[1])} for path in found]

    @route("GET", "namespaces/([^/]+)/kv/([^/]+)")
    def get_kv(self, _request, namespace, key):
        """A key's value with its type."""
        found = tasks.get_kv(self.server.storage, namespace, key)
        if found is None:
            raise refuse(404, "No value found for key '%s' in namespace '%s'" % (key, namespace))
        kind = ("BOOLEAN" if isinstance(found, bool) else "STRING" if isinstance(found, str)
                else "JSON" if isinstance(found, (dict, list)) else "NUMBER")
        return {"type": kind, "value": found}

    @route("PUT", "namespaces/([^/]+)/kv/([^/]+)")
    def put_kv(self, request, namespace, key):
        """Set a key; the body is JSON, or plain text."""
        text = request.body.decode()
        try:
            value = values.loads(text)
        except ValueError:
            value = text
        metadata = {}
        if request.headers.get("description"):
            metadata["description"] = request.headers["description"]
        if request.headers.get("ttl"):
            metadata["expirationDate"] = values.iso(
                values.now() + timedelta(seconds=values.duration(request.headers["ttl"])))
        tasks.put_kv(self.server.storage, namespace, key, value, metadata)
        return None

    @route("DELETE", "namespaces/([^/]+)/kv/([^/]+)")
    def delete_kv(self, _request, namespace, key):
        """Delete a key."""
        return self.server.storage.delete(storage.kv_file(namespace, key))

    @route("GET", "namespaces/([^/]+)/files")
    def get_file(self, request, namespace):
        """A namespace file's content."""
        raise Answer(200, self.server.storage.get(storage.namespace_file(namespace, request.first("path", ""))),
                     "application/octet-stream")

    @route("POST", "namespaces/([^/]+)/files")
    def put_file(self, request, namespace):
        """Upload a namespace file (field fileContent)."""
        fields = request.fields()
        if "fileContent" not in fields:
            raise refuse(400, "Required argument [fileContent] not specified")
        self.server.storage.put(storage.namespace_file(namespace, request.first("path", "")), fields["fileContent"][1])
        return None

    @route("DELETE", "namespaces/([^/]+)/files")
    def delete_file(self, request, namespace):
        """Delete a namespace file or directory."""
        if not self.server.storage.delete(storage.namespace_file(namespace, request.first("path", ""))):
            raise refuse(404, "File not found")
        return None

    @route("POST", "namespaces/([^/]+)/files/directory")
    def make_directory(self, request, namespace):
        """An empty directory."""
        self.server.storage.make_directory(storage.namespace_file(namespace, request.first("path", "")))
        return None

    @route("GET", "namespaces/([^/]+)/files/search")
    def search_files(self, request, namespace):
        """Paths of namespace files."""
        top = storage.namespace_path(namespace) + "/_files"
        found = [path[len(top):].replace("+", " ") for path in self.server.storage.files(top)]
        return [path for path in found if request.first("q", "") in path]

    @route("GET", "namespaces/([^/]+)/files/export")
    def export_files(self, _request, namespace):
        """ZIP of all namespace files."""
        top = storage.namespace_path(namespace) + "/_files"
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for path in self.server.storage.files(top):
                archive.writestr(path[len(top) + 1:].replace("+", " "), self.server.storage.get(path))
        raise Answer(200, content.getvalue(), "application/octet-stream")
