# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Elasticsearch: snapshots and restores against the raw calls of its API, each waited for in one call; Kestra's downtime."""
from __future__ import annotations

import base64
import itertools
import json
import urllib.error
import urllib.request

from ansible_collections.kestra_community.dr.plugins.module_utils.engines.elasticsearch.options import url_of
from drill import DrillError

from . import figures
from .figures import MB
from .scene import CHANGED, FILES_PER_MB, Scene
from .tools import Tools, Took, remove, stored

# Until the first fill has shown how many it takes.
ROWS_PER_MB = 400
_MOST_ROWS = 100_000
_WAIT_SECONDS = 3600


class SearchTools(Tools):
    """See Tools. One cluster, reached as its administrator."""

    engine = "elasticsearch"

    def __init__(self, lab, kestra, **more):
        super().__init__(lab, kestra, **more)
        self._url = url_of(self.known["hosts"][0])
        password = self.admin_password_file.read_text("utf-8").strip()
        self._login = "Basic " + base64.b64encode(f"{self.admin}:{password}".encode()).decode("ascii")
        self.places = kestra.directory / "elasticsearch" / "snapshots"
        self._numbers = itertools.count(1)

    def ask(self, method, path, body=None) -> dict:
        """One call of the API."""
        request = urllib.request.Request(
            self._url + path, method=method, data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": self._login, "Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=_WAIT_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.URLError as error:
            raise DrillError(f"{method} {path} failed: {error}") from None

    @property
    def _ours(self) -> str:
        return self.known["prefix"] + "*"

    def _stores(self) -> dict:
        found = self.ask("GET", f"/{self._ours}/_stats/store")["indices"]
        return {name: one["primaries"]["store"]["size_in_bytes"] for name, one in found.items()}

    def size(self, database) -> float:
        return sum(self._stores().values()) / MB

    def analyse(self, database) -> str:
        self.ask("POST", f"/{self._ours}/_refresh")
        self.ask("POST", f"/{self._ours}/_flush")
        stores = self._stores()
        largest = sorted(stores.items(), key=lambda item: -item[1])[:3]
        return ", ".join(f"{name} {100 * held / max(1, sum(stores.values())):.0f} %" for name, held in largest)

    def documents(self) -> int:
        """How many there are."""
        return self.ask("GET", f"/{self._ours}/_count")["count"]

    # -- repositories ------------------------------------------------------------------------------------------------

    def place(self) -> str:
        """The name of a new empty repository."""
        name = f"bench-{next(self._numbers)}"
        self.ask("PUT", f"/_snapshot/{name}", {"type": "fs", "settings": {"location": str(self.places / name)}})
        return name

    def held(self, place) -> float:
        """MB in a repository."""
        return stored(self.places / place) / MB

    def forget(self, place) -> None:
        """Takes a repository away, with what is in it."""
        self.ask("DELETE", f"/_snapshot/{place}")
        remove(self.places / place)

    # -- both sides --------------------------------------------------------------------------------------------------

    def _reached(self) -> dict:
        return {"login_hosts": [self._url], "login_user": self.admin, "login_password_file": str(self.admin_password_file),
                "config": self._config()}

    def snapshot(self, place, name) -> Took:
        """elasticsearch_snapshot."""
        return self.module("elasticsearch_snapshot", repository=place, snapshot=name, **self._reached())

    def raw_snapshot(self, place, name) -> Took:
        """The call."""
        def call():
            done = self.ask("PUT", f"/_snapshot/{place}/{name}?wait_for_completion=true",
                            {"indices": self._ours, "include_global_state": False})
            if done["snapshot"]["state"] != "SUCCESS":
                raise DrillError("The raw snapshot is not whole.", str(done)[:2000])
        return self.timed(call)

    def beside(self, place, name, component) -> Took:
        """elasticsearch_restore beside, with its comparison; the copies are removed."""
        took = self.module("elasticsearch_restore", mode="beside", repository=place, snapshot=name, copies="bench",
                           component=component, **self._reached())
        self._delete(took.result["indices"])
        return took

    def raw_restore(self, place, name) -> Took:
        """The call; the copies are removed."""
        took = self.timed(lambda: self.ask("POST", f"/_snapshot/{place}/{name}/_restore?wait_for_completion=true", {
            "indices": self._ours, "include_aliases": False, "rename_pattern": "(.+)", "rename_replacement": "bench-raw-$1"}))
        self._delete([name for name in self.ask("GET", "/_all") if name.startswith("bench-raw-")])
        return took

    def _delete(self, names) -> None:
        for name in names:
            self.ask("DELETE", f"/{name}")


class SearchScene(Scene):
    """See Scene."""

    def run(self) -> None:
        only, small = self.options.only, self.options.small_mb
        self._rate = ROWS_PER_MB
        if "downtime" in only:
            self._grow(small)
            self._flows(small, bare=False)
        self._grow(self.options.size_mb)
        if "dump" in only:
            self._first_snapshots()
            self._second_snapshots()
        if "restore" in only:
            self._restores_beside()
        if "downtime" in only:
            self._flows(self.options.size_mb, bare=False)
            self._compare_downtimes()

    def _grow(self, megabytes) -> None:
        self._kestra.stop()
        held = self._tools.size(self._database)
        while held < megabytes * 0.98:
            rows = int(min(_MOST_ROWS, max(1000, (megabytes - held) * self._rate)))
            self._kestra.fill(rows, int(rows / self._rate * FILES_PER_MB), seed=self._seed())
            self._tools.analyse(self._database)
            before, held = held, self._tools.size(self._database)
            self._rate = rows / max(0.1, held - before)
        self._settle("kestra", megabytes, self._database)

    def _backup(self, mode) -> tuple:
        # Nothing of an earlier one is in the repository that the nodes write into.
        for name in self._tools.ask("GET", "/_snapshot"):
            self._tools.forget(name)
        remove(self._tools.places / "kestra")
        return super()._backup(mode)

    def _first_snapshots(self) -> None:
        def taken(take):
            def side():
                place = self._tools.place()
                took = take(place, "first")
                self._tools.forget(place)
                return took
            return side
        took = self._turns(taken(self._tools.snapshot), taken(self._tools.raw_snapshot))
        self._add(figures.over("dump", "first snapshot, against the raw call", *took, figures.SNAPSHOT_SECONDS))

    def _second_snapshots(self) -> None:
        places = {take: self._tools.place() for take in (self._tools.snapshot, self._tools.raw_snapshot)}
        seconds, sent = {take: [] for take in places}, {take: [] for take in places}
        for number in range(self.options.repeat + 1):
            if number:
                self._kestra.fill(max(1, int(self._tools.documents() * CHANGED)), 0, seed=self._seed())
                self._tools.analyse(self._database)
            for take in places if number % 2 else reversed(places):
                before = self._tools.held(places[take])
                took = take(places[take], f"point-{number}")
                if number:
                    seconds[take].append(took.seconds)
                    sent[take].append(self._tools.held(places[take]) - before)
        ours, raw = places
        self._add(figures.over("dump", "next snapshot, 1 % changed: time", seconds[ours], seconds[raw], figures.SNAPSHOT_SECONDS))
        self._add(figures.share("dump", "next snapshot, 1 % changed: sent", sent[ours], sent[raw], "MB"))
        for place in places.values():
            self._tools.forget(place)

    def _restores_beside(self) -> None:
        place = self._tools.place()
        component = self._tools.snapshot(place, "point").result["component"]
        took = self._turns(lambda: self._tools.beside(place, "point", component), lambda: self._tools.raw_restore(place, "point"))
        self._add(figures.over("restore", "beside, against the raw call", *took, figures.SNAPSHOT_SECONDS))
        self._tools.forget(place)
