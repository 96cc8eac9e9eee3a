# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kills or replays, through Kestra's API, executions that a recovery point recorded as under way.

What Kestra takes for them (its ExecutionController and ExecutionService, 0.17 to 2.x):
- restart takes none: it wants what FAILED, later what has ended, and one that was killed while a task ran has no task to be restarted from.
- force-run, since 0.20, takes them, but a task that a worker had is not sent again, and one that waits for a person goes on.
- DELETE kill/by-ids, in every version: what has not ended, the whole list or nothing (400 with `invalids`). It is an order, carried out later;
  an executor that does not know the execution any more may not carry it out.
- replay, in every version: any state. A new execution from the first task, with the same inputs and revision. Below actions/ since 2.0.
So one is run again by a kill and then a replay: never two lives of it at once.
"""
from __future__ import annotations

import json
import time

from ..core.errors import ConfigError, ConnectError, StateError
from .client import refusal, segment
from .info import FINISHED, Api

KILL, REPLAY = "kill", "replay"
# They wait for a person, who can resume them in Kestra; replayed, what they did before would be done again.
WAITING = ("PAUSED", "BREAKPOINT")
_BATCH = 100
_SHOWN = 20


def check(recorded) -> None:
    """Raises ConfigError (bad_recorded) for what is no list of executions as a manifest has it. Pure."""
    if not all(isinstance(item.get("id"), str) and item.get("state") for item in recorded or ()):
        raise ConfigError("What is recorded are no executions with id and state.", reason="bad_recorded",
                          hint="Give in_flight.executions of a manifest.")


def judge(item, found, action) -> dict:
    """What is to become of a recorded execution that is now in a state (None: it is not there). Pure.

    Returns {id, namespace, flow, tenant, was, found, now, action, done, new_id, why}; action is None where none is meant for it, with why.
    """
    entry = {name: item[name] for name in ("id", "namespace", "flow", "tenant") if item.get(name)}
    why = None
    if found is None:
        why = "It is not there."
    elif found in FINISHED:
        why = "It has ended."
    elif action == REPLAY and found in WAITING:
        why = "It waits for a person: resume it in Kestra, or kill it."
    return dict(entry, was=item["state"], found=found, now=found, action=None if why else action, done=False, new_id=None, why=why)


def _ended(state) -> bool:
    """Whether nothing more comes of it; so it is with what is not there."""
    return state is None or state in FINISHED


def batches(entries) -> list:
    """[(tenant or None, at most 100 entries)] in the order of the tenants' first. Pure."""
    groups = {}
    for entry in entries:
        groups.setdefault(entry.get("tenant"), []).append(entry)
    return [(tenant, group[first:first + _BATCH]) for tenant, group in groups.items() for first in range(0, len(group), _BATCH)]


def refused(body, ids) -> dict:
    """{id: why} of the answer to a bulk request that names what it cannot take; {} for any other answer. Pure."""
    listed, found = body.get("invalids") if isinstance(body, dict) else None, {}
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict):
            found.update((name, str(one.get("message") or "Kestra refuses it")) for name in ids
                         if name in (one.get("invalidValue"), one.get("rootBean")))
    return found


def by_hand(url, entries, action) -> list:
    """The commands that do for these entries what was not done. Pure."""
    lines = []
    for tenant, group in batches(entries):
        base, login = f"{url or 'http://localhost:8080'}{Api.prefix(tenant)}/executions", "-u USER -H 'Content-Type: application/json'"
        alive = [entry["id"] for entry in group if not _ended(entry["now"])]
        if alive:
            lines.append(f"curl -X DELETE {login} -d '{json.dumps(alive)}' {base}/kill/by-ids")
        if action == REPLAY:
            lines.append(f"curl -X POST {login} -d '{json.dumps([entry['id'] for entry in group])}' {base}/replay/by-ids")
    return lines


def result(entries, changed) -> dict:
    """The module's result, with the keys of elasticsearch_pending_info. Pure."""
    return {"changed": changed, "became": entries, "stuck": [one["id"] for one in entries if not _ended(one["now"])],
            "lost": [one["id"] for one in entries if one["now"] is None],
            "not_done": [one["id"] for one in entries if one["action"] and not one["done"]]}


class Resolver:
    """One Kestra. Raises ConnectError while nothing was touched, and StateError (not_done) when not all could be done; the detail of both has the
    commands that are left to do (by_hand)."""

    def __init__(self, client, action, timeout, interval=2.0, clock=time.monotonic, sleep=time.sleep):
        self._client, self._action, self._timeout, self._interval = client, action, timeout, interval
        self._clock, self._sleep = clock, sleep
        self._uncertain = set()  # told by no answer whether they run again

    def run(self, recorded, check_mode=False) -> dict:
        """The result(). recorded: in_flight.executions of a manifest."""
        tenant = self._client.settings.tenant
        recorded = [{**item, "tenant": item.get("tenant") or tenant} for item in recorded]
        try:
            entries = self._look(recorded)
        except ConnectError as exc:
            unknown = [judge(item, item["state"], self._action) for item in recorded]
            exc.detail["by_hand"] = self._commands([entry for entry in unknown if entry["action"]])
            raise
        meant = [entry for entry in entries if entry["action"]]
        if check_mode or not meant:
            return dict(result(entries, bool(meant)), not_done=[])
        self._kill(meant)
        self._wait(meant)
        if self._action == REPLAY:
            for entry in meant:
                if entry["now"] == "KILLED":
                    self._replay(entry)
        told = result(entries, True)
        if told["not_done"]:
            raise self._not_done(told, meant)
        return told

    # -- asking ---------------------------------------------------------------

    def _look(self, recorded) -> list:
        """What is found and meant for each."""
        for tenant in dict.fromkeys(item["tenant"] for item in recorded):
            Api(self._client).executions_total(tenant)  # or a wrong path would say that none of them is there
        return [judge(item, self._state(item), self._action) for item in recorded]

    def _state(self, item):
        """Its state; None when it is not there."""
        answer = self._client.get(self._path(item.get("tenant"), item["id"]))
        if answer.status == 404 or (answer.ok and answer.body is None):
            return None
        state = answer.body.get("state") if answer.ok and isinstance(answer.body, dict) else None
        if not isinstance(state, dict) or not state.get("current"):
            raise refusal(answer, f"the execution {item['id']}")
        return None if answer.body.get("deleted") else state["current"]

    @staticmethod
    def _path(tenant, *parts) -> str:
        return "/".join([Api.prefix(tenant), "executions", *(segment(part) for part in parts)])

    # -- acting ---------------------------------------------------------------

    def _kill(self, entries) -> None:
        """Orders it. Those that Kestra does not take know why."""
        for tenant, group in batches(entries):
            left = group
            while left:
                ids = [entry["id"] for entry in left]
                try:
                    answer = self._client.delete(self._path(tenant, "kill", "by-ids"), ids)
                    whys = {} if answer.ok else refused(answer.body, ids) or dict.fromkeys(ids, _said(answer, "kill"))
                except ConnectError as exc:
                    answer, whys = None, dict.fromkeys(ids, exc.message)
                for entry in left:
                    entry["why"] = whys.get(entry["id"])
                left = [entry for entry in left if not entry["why"]]
                if answer is not None and answer.ok:
                    break

    def _wait(self, entries) -> None:
        """Until they have ended, as long as that may take; those that were not taken are looked at once."""
        deadline, left = self._clock() + self._timeout, list(entries)
        while left:
            trouble = None
            try:
                for entry in left:
                    entry["now"] = self._state(entry)
            except ConnectError as exc:
                trouble = exc.message
            left = [entry for entry in left if not entry["why"] and not _ended(entry["now"])]
            if not left or self._clock() >= deadline:
                break
            self._sleep(min(self._interval, max(deadline - self._clock(), 0.05)))
        for entry in left:
            entry["why"] = trouble or f"Kestra took the order to kill it, but it is {entry['now']} after {self._timeout:g} s."
        for entry in entries:
            if entry["now"] == "KILLED":
                entry["why"], entry["done"] = None, self._action == KILL
            elif _ended(entry["now"]):
                entry["why"], entry["action"] = "It ended before it was killed.", None

    def _replay(self, entry) -> None:
        """Makes a new execution of it."""
        try:
            answer = self._client.post(self._path(entry.get("tenant"), entry["id"], "actions", "replay"))
            if answer.status in (404, 405):  # before 2.0
                answer = self._client.post(self._path(entry.get("tenant"), entry["id"], "replay"))
        except ConnectError as exc:
            entry["why"] = f"It was killed. Whether it runs again is not known: {exc.message}"
            self._uncertain.add(entry["id"])
            return
        new = answer.body.get("id") if answer.ok and isinstance(answer.body, dict) else None
        if new and new != entry["id"]:
            entry["new_id"], entry["done"] = new, True
        elif answer.ok or answer.status >= 500:
            entry["why"] = f"It was killed. Whether it runs again is not known: {_said(answer, 'replay')}"
            self._uncertain.add(entry["id"])
        else:
            entry["why"] = f"It was killed, and does not run again: {_said(answer, 'replay')}"

    # -- telling --------------------------------------------------------------

    def _commands(self, entries) -> list:
        return by_hand(self._client.settings.api_url, [entry for entry in entries if entry["id"] not in self._uncertain], self._action)

    def _not_done(self, told, meant) -> StateError:
        missing = [entry for entry in meant if entry["action"] and not entry["done"]]
        listed = " ".join(f"{entry['id']}: {entry['why']}" for entry in missing[:_SHOWN])
        more = f" And {len(missing) - _SHOWN} more." if len(missing) > _SHOWN else ""
        return StateError(
            f"{len(missing)} of {len(meant)} executions could not be {'killed' if self._action == KILL else 'run again'}. {listed}{more}",
            reason="not_done", hint="The commands in detail.by_hand do it by hand.", detail=dict(told, by_hand=self._commands(missing)))


def _said(answer, verb) -> str:
    """A refused action in a sentence."""
    if answer.status == 403:
        return f"Kestra does not let this user {verb} executions (HTTP 403)."
    message = answer.body.get("message") if isinstance(answer.body, dict) else None
    if answer.status == 401 or answer.ok or not isinstance(message, str):
        return refusal(answer, f"the {verb}").message
    return f"Kestra answered the {verb} with HTTP {answer.status}: {message[:300]}"
