# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running Kestra says about itself, from 0.19 to 2.x. A fact that cannot be had is named with its reason.

Version differences this knows (kestra's controllers and the client-sdk's OpenAPI files):
the tenant in the path since 0.23; search filters as state=X until 0.21, filters[state][EQUALS|IN]=X since 0.22, where
2.0 first ignores and later refuses the old form; /configs behind a login since 2.0; one list of all KV entries since
1.1, one per namespace before; `edition` in /configs only in newer versions.
"""
from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from ..core.errors import ConnectError
from .client import refusal, segment

# Every state of io.kestra.core.models.flows.State.Type up to 2.x, ended ones last.
UNFINISHED = ("CREATED", "SUBMITTED", "QUEUED", "RUNNING", "PAUSED", "BREAKPOINT", "RESTARTED", "RETRYING", "KILLING")
FINISHED = ("SUCCESS", "WARNING", "FAILED", "KILLED", "CANCELLED", "SKIPPED", "RETRIED", "RESUBMITTED")
# States in which a worker may hold a task.
BUSY = ("RUNNING", "KILLING", "RESTARTED", "RETRYING")
_STYLES = ("filters[state][EQUALS]", "filters[state][IN]", "state")
_NO_API = ("api_unreachable", "api_timeout", "api_tls", "api_unknown", "api_redirect", "unauthorized")
_EE_KEYS = ("inMaintenance", "tenants", "supportedStorages", "supportedSecrets", "secretsEnabled", "license")
_PAGE = 100
_MAX_NAMESPACES = 1000


def version_key(text):
    """(major, minor) of a version like 1.3.15, 0.23.0-SNAPSHOT or 0.21.0-oss; None when it is none."""
    found = re.match(r"v?(\d+)\.(\d+)", str(text or ""))
    return (int(found.group(1)), int(found.group(2))) if found else None


@dataclass
class Facts:
    """What was found. not_run: {fact: reason}; a fact is None exactly when it is named there."""

    health: dict = field(default_factory=lambda: {"status": None, "url": None})
    version: str | None = None
    commit: str | None = None
    edition: str | None = None
    uuid: str | None = None
    url: str | None = None
    tenants: list | None = None
    counts: dict = field(default_factory=dict)
    counts_by_tenant: dict = field(default_factory=dict)
    in_flight: dict | None = None
    maintenance: bool | None = None
    not_run: dict = field(default_factory=dict)

    def to_result(self) -> dict:
        """JSON-ready; `facts` is what a manifest records: api, or not_run when the API told nothing."""
        known = self.version is not None or self.uuid is not None
        return {"facts": "api" if known else "not_run", "health": self.health, "version": self.version,
                "commit": self.commit, "edition": self.edition, "uuid": self.uuid, "url": self.url,
                "tenants": self.tenants, "counts": self.counts, "counts_by_tenant": self.counts_by_tenant,
                "in_flight": self.in_flight, "maintenance": self.maintenance, "not_run": self.not_run}


def gather(client, *, counts=True, max_in_flight=100) -> Facts:
    """Asks everything. Never raises for what Kestra does or does not answer; see Facts.not_run.

    max_in_flight: at most this many executions are listed (the total is exact).
    """
    facts = Facts()
    _health(client, facts)
    api_error = _configs(client, facts)
    if api_error is not None and api_error.reason in _NO_API:
        _version_from_management(client, facts)
        _skip(facts, ("edition", "tenants", "counts", "in_flight", "maintenance"), api_error)
        return facts
    _edition(client, facts)
    if facts.maintenance is None:
        _maintenance(client, facts)
    if not counts:
        return facts
    api = Api(client, version_key(facts.version))
    try:
        facts.tenants = api.tenants(facts.edition)
    except ConnectError as exc:
        _skip(facts, ("tenants", "counts", "in_flight"), exc)
        return facts
    if api.tenants_error is not None:
        facts.not_run["other_tenants"] = _reason(api.tenants_error)
    _count(api, facts)
    _in_flight(api, facts, max_in_flight)
    return facts


def wait_idle(client, seconds, interval=2.0, clock=time.monotonic, sleep=time.sleep) -> dict:
    """Waits until no execution holds a worker, for so many seconds at most: {"running", "seconds", "not_run"}.

    running: how many still do, None when Kestra does not tell; then not_run says why.
    """
    started, running, reason = clock(), None, None
    try:
        body = client.get("/api/v1/configs").body
        api = Api(client, version_key(body.get("version") if isinstance(body, dict) else None))
        tenants = api.tenants()
        while True:
            running = api.busy(tenants)
            left = started + seconds - clock()
            if not running or left <= 0:
                break
            sleep(min(interval, left))
    except ConnectError as exc:
        running, reason = None, _reason(exc)
    return {"running": running, "seconds": round(clock() - started, 3), "not_run": reason}


def _reason(exc) -> str:
    return f"{exc.message} {exc.hint}" if exc.hint else exc.message


def _skip(facts, names, exc) -> None:
    for name in names:
        facts.not_run.setdefault(name, _reason(exc))


def _health(client, facts) -> None:
    facts.health["url"] = client.settings.management_url
    try:
        answer = client.management("/health")
    except ConnectError as exc:
        facts.not_run["health"] = _reason(exc)
        return
    status = answer.body.get("status") if isinstance(answer.body, dict) else None
    if isinstance(status, str):
        facts.health["status"] = status.upper()
    else:
        facts.not_run["health"] = _reason(refusal(answer, "its health"))


def _configs(client, facts):
    """Fills version, uuid, edition, maintenance; returns the ConnectError when /configs cannot be had, else None."""
    error = None
    try:
        answer = client.get("/api/v1/configs")
        body = answer.body if isinstance(answer.body, dict) else {}
        if answer.ok and ("uuid" in body or "version" in body):
            facts.version, facts.commit, facts.uuid = body.get("version"), body.get("commitId"), body.get("uuid")
            facts.url = body.get("url")
            edition = body.get("edition")
            if edition in ("OSS", "EE"):
                facts.edition = edition
            elif any(key in body for key in _EE_KEYS):
                facts.edition = "EE"
            if isinstance(body.get("inMaintenance"), bool):
                facts.maintenance = body["inMaintenance"]
        else:
            error = refusal(answer, "its configuration")
    except ConnectError as exc:
        error = exc
    for name in ("version", "uuid"):
        if getattr(facts, name) is None:
            facts.not_run[name] = _reason(error) if error else "Kestra's /api/v1/configs does not say."
    return error


def _version_from_management(client, facts) -> None:
    """Open source serves its version on the management port as well, with -oss behind it (VersionEndpoint)."""
    try:
        answer = client.management("/version")
    except ConnectError:
        return
    version = answer.body.get("version") if answer.ok and isinstance(answer.body, dict) else None
    if version_key(version):
        facts.version = re.sub(r"-oss$", "", version)
        facts.not_run.pop("version", None)
        if version.endswith("-oss"):
            facts.edition = "OSS"


def _edition(client, facts) -> None:
    if facts.edition is not None:
        return
    error = None
    try:
        answer = client.get("/api/v1/license-info")  # Enterprise only
        if answer.ok or answer.status == 403:
            facts.edition = "EE"
        elif answer.status in (404, 405):
            facts.edition = "OSS"
        else:
            error = refusal(answer, "its licence")
    except ConnectError as exc:
        error = exc
    if error is not None:
        facts.not_run["edition"] = _reason(error)


def _maintenance(client, facts) -> None:
    if facts.edition == "OSS":
        facts.not_run["maintenance"] = "Open-source Kestra has no maintenance mode."
        return
    try:
        answer = client.get("/api/v1/instance/maintenance/status")  # since 2.0
        if answer.ok and isinstance(answer.body, dict) and isinstance(answer.body.get("maintenance"), bool):
            facts.maintenance = answer.body["maintenance"]
            return
        facts.not_run["maintenance"] = _reason(refusal(answer, "its maintenance mode"))
    except ConnectError as exc:
        facts.not_run["maintenance"] = _reason(exc)


def _count(api, facts) -> None:
    """Counts per tenant and their sums. A number missing for one tenant is missing in the sum."""
    names = ("flows", "namespaces", "triggers", "kv")
    totals = {name: 0 for name in names}
    states: dict = {}
    executions = 0
    for tenant in facts.tenants:
        found = {}
        for name in names:
            try:
                found[name] = getattr(api, name)(tenant)
                if totals[name] is not None:
                    totals[name] += found[name]
            except ConnectError as exc:
                totals[name] = found[name] = None
                facts.not_run.setdefault(f"counts.{name}", _reason(exc))
        try:
            by_state = api.executions_by_state(tenant)
            found["executions"] = {"total": api.executions_total(tenant), "by_state": by_state}
            if executions is not None:
                executions += found["executions"]["total"]
                for state, number in by_state.items():
                    states[state] = states.get(state, 0) + number
        except ConnectError as exc:
            executions = found["executions"] = None
            facts.not_run.setdefault("counts.executions", _reason(exc))
        facts.counts_by_tenant[tenant or ""] = found
    facts.counts = {**totals, "executions": None if executions is None else {"total": executions, "by_state": states}}


def _in_flight(api, facts, limit) -> None:
    total, listed = 0, []
    try:
        for tenant in facts.tenants:
            counted = (facts.counts_by_tenant.get(tenant or "", {}).get("executions") or {}).get("by_state")
            for state in UNFINISHED:
                number = api.count_in_state(tenant, state) if counted is None else counted.get(state)
                if not number:
                    continue
                total += number
                for item in api.list_in_state(tenant, state, limit - len(listed)):
                    listed.append({**item, "tenant": tenant} if tenant else item)
    except ConnectError as exc:
        facts.not_run["in_flight"] = _reason(exc)
        return
    facts.in_flight = {"total": total, "executions": listed, "truncated": total > len(listed)}


class Api:
    """The search endpoints of one Kestra, with their version differences found out by asking.

    version: (major, minor) or None. tenants_error: why other tenants could not be listed, or None.
    """

    def __init__(self, client, version=None):
        self._client = client
        self._version = version
        self._styles: dict = {}
        self.tenants_error = None

    # -- paths ----------------------------------------------------------------

    @staticmethod
    def prefix(tenant) -> str:
        """/api/v1, with the tenant when there is one."""
        return "/api/v1" + (f"/{segment(tenant)}" if tenant else "")

    def _total(self, tenant, path, what, query=None):
        """(total, first row or None) of a search."""
        answer = self._client.get(self.prefix(tenant) + path, {"page": 1, "size": 1, **(query or {})})
        body = answer.body
        if answer.ok and isinstance(body, dict) and isinstance(body.get("total"), int):
            rows = body.get("results") or []
            return body["total"], rows[0] if rows else None
        raise refusal(answer, what)

    def _answers(self, tenant) -> bool:
        """Whether searches work below this tenant. Raises ConnectError for anything but yes and 404."""
        answer = self._client.get(self.prefix(tenant) + "/flows/search", {"page": 1, "size": 1})
        if answer.ok and isinstance(answer.body, dict) and "total" in answer.body:
            return True
        if answer.status in (404, 405):
            return False
        raise refusal(answer, "its flows")

    def tenants(self, edition=None) -> list:
        """The tenants to ask; [None] for an instance without any. Raises ConnectError."""
        wanted = self._client.settings.tenant
        if wanted:
            if self._answers(wanted):
                return [wanted]
            if self._version is not None and self._version < (0, 23) and self._answers(None):
                return [None]
            raise ConnectError(f"Kestra has no tenant {wanted}.", reason="not_found", hint="Check the option tenant.")
        if edition != "OSS":
            listed = self._list_tenants()
            if listed:
                return listed
        # Before 0.23 open source has no tenant in its paths; from then on it is called main.
        order = [None, "main"] if self._version is not None and self._version < (0, 23) else ["main", None]
        for tenant in order:
            if self._answers(tenant):
                return [tenant]
        raise ConnectError("Kestra's flows are neither at /api/v1/main nor at /api/v1.", reason="not_found",
                           hint="Name the tenant with the option tenant, or check the context path in api_url.")

    def _list_tenants(self) -> list:
        """All tenants of an Enterprise instance; [] when they cannot be listed (see tenants_error)."""
        names, page = [], 1
        while True:
            try:
                answer = self._client.get("/api/v1/tenants/search", {"page": page, "size": _PAGE})
            except ConnectError as exc:
                self.tenants_error = exc
                return []
            body = answer.body
            if not answer.ok or not isinstance(body, dict):
                if answer.status not in (404, 405):  # there: open source, or tenants are off
                    self.tenants_error = refusal(answer, "the list of tenants")
                return []
            rows = body.get("results") or []
            names += [row["id"] for row in rows if isinstance(row, dict) and row.get("id")]
            if not rows or len(names) >= int(body.get("total") or 0):
                return names
            page += 1

    # -- numbers --------------------------------------------------------------

    def flows(self, tenant) -> int:
        return self._total(tenant, "/flows/search", "the number of flows")[0]

    def triggers(self, tenant) -> int:
        return self._total(tenant, "/triggers/search", "the number of triggers")[0]

    def namespaces(self, tenant) -> int:
        return self._total(tenant, "/namespaces/search", "the number of namespaces", {"existing": "true"})[0]

    def executions_total(self, tenant) -> int:
        return self._total(tenant, "/executions/search", "the number of executions")[0]

    def kv(self, tenant) -> int:
        """The number of KV entries: one list since 1.1, before that one per namespace."""
        answer = self._client.get(self.prefix(tenant) + "/kv", {"page": 1, "size": 1})
        if answer.ok and isinstance(answer.body, dict) and isinstance(answer.body.get("total"), int):
            return answer.body["total"]
        if answer.status not in (404, 405) and not answer.ok:
            raise refusal(answer, "the number of KV entries")
        return sum(self._kv_of(tenant, namespace) for namespace in self._namespace_names(tenant))

    def _kv_of(self, tenant, namespace) -> int:
        answer = self._client.get(f"{self.prefix(tenant)}/namespaces/{segment(namespace)}/kv")
        if answer.status == 404:
            return 0
        if answer.ok and isinstance(answer.body, list):
            return len(answer.body)
        raise refusal(answer, f"the KV entries of {namespace}")

    def _namespace_names(self, tenant) -> list:
        names, page = [], 1
        while True:
            answer = self._client.get(self.prefix(tenant) + "/namespaces/search", {"page": page, "size": _PAGE})
            body = answer.body
            if not answer.ok or not isinstance(body, dict):
                raise refusal(answer, "the namespaces")
            rows = [row["id"] for row in body.get("results") or [] if isinstance(row, dict) and row.get("id")]
            names += rows
            total = int(body.get("total") or 0)
            if total > _MAX_NAMESPACES:
                raise ConnectError(f"Kestra has {total} namespaces; counting the KV entries of each would take too "
                                   "long.", reason="too_many", hint="Rely on the counts of the storage instead.")
            if not rows or len(names) >= total:
                return names
            page += 1

    # -- executions -----------------------------------------------------------

    def _style(self, tenant) -> str:
        """How this version filters by state, proved on two states: a filter that is ignored answers both with the
        same row. Raises ConnectError when none works."""
        if tenant in self._styles:
            return self._styles[tenant]
        for style in _STYLES:
            proofs = [self._honours(tenant, style, state) for state in ("SUCCESS", "FAILED")]
            if None in proofs:
                continue
            if any(proofs) or self.executions_total(tenant):
                self._styles[tenant] = style
            return style  # without any execution there is no proof yet, and no wrong number either
        raise ConnectError("Kestra's search for executions does not filter by state in any known way.",
                           reason="not_supported")

    def _honours(self, tenant, style, state):
        """Number of rows that prove it; None when the filter is refused or ignored."""
        answer = self._client.get(self.prefix(tenant) + "/executions/search", {"page": 1, "size": 1, style: state})
        if answer.status in (400, 422):
            return None
        if not answer.ok or not isinstance(answer.body, dict) or not isinstance(answer.body.get("total"), int):
            raise refusal(answer, "the number of executions by state")
        rows = answer.body.get("results") or []
        return len(rows) if all(_state(row) == state for row in rows) else None

    def count_in_state(self, tenant, state):
        """How many executions are in a state; None when this version does not know the state."""
        style = self._style(tenant)
        answer = self._client.get(self.prefix(tenant) + "/executions/search", {"page": 1, "size": 1, style: state})
        if answer.status in (400, 422):
            return None
        if answer.ok and isinstance(answer.body, dict) and isinstance(answer.body.get("total"), int):
            return answer.body["total"]
        raise refusal(answer, f"the number of {state} executions")

    def busy(self, tenants) -> int:
        """How many executions of these tenants may hold a worker."""
        return sum(self.count_in_state(tenant, state) or 0 for tenant in tenants for state in BUSY)

    def executions_by_state(self, tenant) -> dict:
        """{state: number} of the states this version knows."""
        found = {state: self.count_in_state(tenant, state) for state in UNFINISHED + FINISHED}
        return {state: number for state, number in found.items() if number is not None}

    def list_in_state(self, tenant, state, limit) -> list:
        """At most limit executions in a state: [{id, namespace, flow, state}]."""
        found, page = [], 1
        style = self._style(tenant)
        while len(found) < limit:
            answer = self._client.get(self.prefix(tenant) + "/executions/search",
                                      {"page": page, "size": _PAGE, style: state})
            if not answer.ok or not isinstance(answer.body, dict):
                raise refusal(answer, f"the {state} executions")
            rows = answer.body.get("results") or []
            found += [{"id": row.get("id"), "namespace": row.get("namespace"), "flow": row.get("flowId"),
                       "state": _state(row)} for row in rows if isinstance(row, dict)]
            if len(rows) < _PAGE:
                break
            page += 1
        return found[:max(limit, 0)]


def _state(row):
    state = row.get("state") if isinstance(row, dict) else None
    return state.get("current") if isinstance(state, dict) else None
