# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the API has more in the Enterprise Edition: maintenance mode, services, tenants, the licence.

Paths by version: /cluster until 0.22, below the tenant in 0.23, /instance since 0.24; the status since 2.0.
"""
from __future__ import annotations

from . import enterprise, version_tuple
from .web import Answer, Api, refuse, route

_ALIVE = ("CREATED", "RUNNING", "ERROR", "TERMINATING", "MAINTENANCE")


class EnterpriseApi(Api):
    """/api/v1."""

    def check_login(self, request):
        """An API token is a login as well, and the only one whose user is looked at."""
        kind, _blank, token = request.headers.get("Authorization", "").partition(" ")
        request.user = None
        if kind.lower() != "bearer":
            return super().check_login(request)
        with self.store.tx() as work:
            request.user = enterprise.user(work, token)
        if request.user is None:
            raise Answer(401, {"message": "Unauthorized"}, headers=[("WWW-Authenticate", "Bearer")])
        return None

    @staticmethod
    def only_administrators(request):
        """403 for a user who is none."""
        if request.user and not request.user.get("superAdmin"):
            raise refuse(403, "Forbidden")

    def version(self):
        """(major, minor)."""
        return version_tuple(self.server.version)

    def here(self, request, root):
        """404 unless this version has its instance level there."""
        wanted = "instance" if self.version() >= (0, 24) else "cluster"
        if root != wanted or bool(request.tenant) != (self.version() == (0, 23)):
            raise refuse(404, "Page Not Found")

    @route("GET", "configs")
    def configs(self, request):
        """As open source, and more."""
        found = super().configs(request)
        if self.version() >= (1, 0):
            found["edition"] = "EE"
        if self.version() >= (0, 22):
            with self.store.tx() as work:
                found["inMaintenance"] = enterprise.in_maintenance(work)
        return found

    @route("GET", "license-info")
    def licence(self, _request):
        """There is one."""
        return {"type": "STAND-IN", "expiry": "2099-12-31T00:00:00Z"}

    @route("GET", "tenants/search")
    def tenants(self, request):
        """Page of tenants."""
        if self.version() < (0, 23):
            raise refuse(404, "Page Not Found")
        with self.store.tx() as work:
            found = sorted(key for key, _value in work.documents("tenants"))
        size, offset = request.page()
        return {"results": [{"id": name, "name": name} for name in found[offset:offset + size]], "total": len(found)}

    @route("POST", "(instance|cluster)/maintenance/(enter|exit)")
    def change_mode(self, request, root, step):
        """What is asked is written down; the services follow by themselves."""
        self.here(request, root)
        self.only_administrators(request)
        with self.store.tx() as work:
            enterprise.set_maintenance(work, step == "enter")
        return {}

    @route("GET", "instance/maintenance/status")
    def mode(self, _request):
        """Which services follow."""
        if self.version() < (2, 0):
            raise refuse(404, "Page Not Found")
        with self.store.tx() as work:
            active, services = enterprise.in_maintenance(work), self.alive(work)
        counted = {}
        for one in services:
            entry = counted.setdefault(one["type"], {"total": 0, "inMaintenance": 0})
            entry["total"] += 1
            entry["inMaintenance"] += one["state"] == "MAINTENANCE"
        ready = active and all(one["total"] == one["inMaintenance"] for one in counted.values())
        return {"maintenance": active, "ready": ready, "services": counted}

    @route("GET", "(instance|cluster)/services/search")
    def search_services(self, request, root):
        """Page of services."""
        self.here(request, root)
        with self.store.tx() as work:
            found = self.alive(work)
        size, offset = request.page()
        rows = [{name: one[name] for name in ("id", "type", "state", "createdAt", "updatedAt", "server")}
                for one in found[offset:offset + size]]
        return {"results": rows, "total": len(found)}

    @staticmethod
    def alive(work):
        """Documents of the services that have not ended."""
        return [value for _key, value in work.documents("service_instance", "true", (), "ORDER BY " + work.store.KEY)
                if value["state"] in _ALIVE]
