# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Enterprise face: what the stand-in has more when KESTRA_STANDIN_EDITION is EE.

How Kestra's Enterprise Edition names and fills its tables is not public. These are the stand-in's own, so that there
are rows of the kinds its archives count.
"""
from __future__ import annotations

import os
import sys

from . import model, values

TABLES = ("tenants", "users", "namespaces")
_MODE = "instance.maintenance"


def edition(environ=None):
    """OSS or EE, from KESTRA_STANDIN_EDITION."""
    found = ((os.environ if environ is None else environ).get("KESTRA_STANDIN_EDITION") or "OSS").upper()
    if found not in ("OSS", "EE"):
        raise ValueError("KESTRA_STANDIN_EDITION is neither OSS nor EE: %r" % found)
    return found


def unknown(arguments):
    """What a Kestra without the command answers: with --help its own help, else picocli's refusal as Java shows it."""
    if set(arguments) & {"-h", "--help"}:
        print("Usage: kestra [-hV] [COMMAND]\n\nOptions:\n  -h, --help      Show this help message and exit.\n"
              "  -V, --version   Print version information and exit.\n\nCommands:\n  plugins\n  server\n  sys\n  configs")
        return 0
    print('Exception in thread "main" picocli.CommandLine$UnmatchedArgumentException: Unmatched arguments from index 0: '
          + ", ".join("'%s'" % word for word in arguments), file=sys.stderr)
    return 1


def in_maintenance(work):
    """Whether the instance is in maintenance mode. It is in the database, so a dump remembers it."""
    return bool((work.get("settings", _MODE) or {}).get("value"))


def set_maintenance(work, wanted):
    """Write down that the instance is to be in maintenance mode, or not."""
    work.put("settings", _MODE, {"key": _MODE, "value": wanted})


def user(work, token):
    """The user an API token belongs to, or None: it is unknown, was revoked, or has expired.

    Tokens are in the document of their user: {"apiTokens": [{"token", "exp": when it ends, or nothing}]}.
    """
    for _key, one in work.documents("users"):
        for known in one.get("apiTokens") or ():
            if known["token"] == token and (not known.get("exp") or values.parse_iso(known["exp"]) > values.now()):
                return one
    return None


class Maintenance:
    """What the services of a process make of it: executors and workers take nothing, all say that they follow.

    kestra.standin.deaf in the configuration names a service that never follows.
    """

    def __init__(self, server):
        self.server = server
        self.deaf = str(server.configuration.get("kestra.standin.deaf", "")).upper()

    def look(self):
        """One look at what is wanted; falsy, so that the loop pauses."""
        with self.server.store.tx() as work:
            wanted = in_maintenance(work)
        if wanted == self.server.maintenance.is_set() or self.server.stopping.is_set():
            return
        kinds = [kind for kind in self.server.kinds if kind != self.deaf]
        if wanted:
            self.server.maintenance.set()
        else:
            self.server.maintenance.clear()
        self.server.registry.move(kinds, "MAINTENANCE" if wanted else "RUNNING")


def tenants(work, version):
    """Ids of all tenants; [None] before 0.23, where documents have none."""
    return sorted(key for key, _value in work.documents("tenants")) if version >= (0, 23) else [None]


def prepare(store, version):
    """Make the tables with a first tenant and user, and a row for every namespace that has a flow."""
    with store.preparing(TABLES) as work:
        if not work.count("users"):
            identifier = values.new_id()
            work.put("users", identifier, {"id": identifier, "username": "admin", "superAdmin": True, "deleted": False})
        if version >= (0, 23):
            work.add("tenants", "main", {"id": "main", "name": "main", "deleted": False})
        for _key, flow in work.documents("flows", "NOT deleted"):
            parts = flow["namespace"].split(".")
            for end in range(1, len(parts) + 1):
                name, tenant = ".".join(parts[:end]), flow.get("tenantId")
                document = {"id": name, "deleted": False}
                if tenant:
                    document["tenantId"] = tenant
                work.add("namespaces", model.uid(tenant, name), document)
