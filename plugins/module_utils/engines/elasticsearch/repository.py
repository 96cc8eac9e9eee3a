# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A repository of snapshots: registered as asked, and verified on every node."""
from __future__ import annotations

from urllib.parse import urlsplit

from ...core.errors import ConfigError, RefusedError
from . import catalog, names

# What would be a secret in the cluster's state, readable for everybody who may read repositories.
_SECRETS = ("access_key", "secret_key", "session_token", "password")


def wanted(kind, *, location=None, url=None, bucket=None, base_path=None, client=None, readonly=False, settings=None) -> dict:
    """The settings of a repository, as texts, as the cluster returns them. Pure. Raises ConfigError."""
    given = {"location": location, "url": url, "bucket": bucket, "base_path": base_path, "client": client}
    allowed = {"fs": ("location",), "url": ("url",), "s3": ("bucket", "base_path", "client")}[kind]
    strange = sorted(name for name, value in given.items() if value is not None and name not in allowed)
    if strange:
        raise ConfigError(f"A repository of the type {kind} has no {strange[0]}.", reason="repository_options",
                          hint=f"It has {', '.join(allowed)} and settings.")
    if given[allowed[0]] is None:
        raise ConfigError(f"A repository of the type {kind} needs {allowed[0]}.", reason="repository_options")
    result = {name: value for name, value in given.items() if value is not None}
    for name, value in (settings or {}).items():
        if name in _SECRETS:
            raise ConfigError(
                f"{name} is not a setting to give here: everybody who may read the repository would see it.",
                reason="repository_secret", hint="Put it into the keystore of every node (s3.client.NAME.access_key and "
                "secret_key) and call POST _nodes/reload_secure_settings.")
        if name in result or name == "readonly":
            raise ConfigError(f"The setting {name} is given twice; use the option {name}.", reason="repository_options")
        result[name] = str(value).lower() if isinstance(value, bool) else str(value)
    if readonly and kind != "url":
        result["readonly"] = "true"
    return result


def read(cluster, name) -> dict | None:
    """The registered repository {type, settings, uuid}, or None."""
    answer = cluster.get(names.repository_path(name), doing=f"reading the repository {name}", missing=True)
    if not answer:
        return None
    item = answer[name]
    settings = {key: str(value) for key, value in (item.get("settings") or {}).items()}
    return {"type": item["type"], "uuid": item.get("uuid"), "settings": settings}


def differs(current, kind, settings) -> bool:
    """Whether what is registered is not what is asked for. Pure."""
    return current is None or current["type"] != kind or current["settings"] != settings


def require_movable(current, kind, settings) -> None:
    """Refuses to let a name point to another place: snapshots of recovery points would be gone from it. Pure.

    A name under which the cluster only reads may go where it is needed.
    """
    if current is None or is_readonly(current) and is_readonly({"type": kind, "settings": settings}):
        return
    place = ("location", "url", "bucket", "base_path")
    there = [current["type"]] + [current["settings"].get(name) for name in place]
    if there != [kind] + [settings.get(name) for name in place]:
        raise RefusedError("The repository is registered for another place.", reason="repository_differs",
                           hint="Choose another name, or remove it first (state: absent leaves its snapshots where they are).",
                           detail={"registered": current})


def put(cluster, name, kind, settings) -> None:
    """Registers a repository, unverified."""
    cluster.request("PUT", names.repository_path(name), params={"verify": "false"},
                    body={"type": kind, "settings": settings}, doing=f"registering the repository {name}")


def verify(cluster, name) -> list:
    """The names of the nodes that reach the repository, which have to be all that hold data or may be master."""
    answer = cluster.request("POST", names.repository_path(name, action="_verify"), doing=f"verifying the repository {name}")
    nodes = cluster.get("/_nodes", params={"filter_path": "nodes.*.name,nodes.*.roles"}, doing="listing the nodes")["nodes"]
    missing = unverified(nodes, answer["nodes"])
    if missing:
        raise RefusedError(f"The repository {name} was not verified on {', '.join(missing)}.", reason="repository_unverified",
                           hint="Every node must reach the same place.", detail={"nodes": missing})
    return sorted(item["name"] for item in answer["nodes"].values())


def unverified(nodes, verified) -> list:
    """Names of nodes that have to reach a repository and were not asked. Both {id: {name, …}}. Pure."""
    return sorted(item["name"] for number, item in nodes.items() if number not in verified
                  and any(role == "master" or role.startswith("data") for role in item.get("roles", ())))


def require_alone(cluster, name) -> None:
    """Refuses to write to a repository that another cluster has written to: two writers destroy it."""
    others = catalog.of_others(catalog.everything(cluster, name), cluster.identity["cluster_uuid"])
    if others:
        raise RefusedError(f"Another cluster has taken snapshots into the repository {name}, such as {others[-1]}.",
                           reason="repository_shared", detail={"snapshots": others[-50:]},
                           hint="Register it with readonly: true. If that cluster is gone for good, and this one takes its "
                                "place, take_over: true.")


def reading(cluster, name, kind, settings) -> None:
    """Registers a place of snapshots for reading only, and verifies it. Raises when the cluster could write to it."""
    current = read(cluster, name)
    asked = settings if kind == "url" else dict(settings, readonly="true")
    require_movable(current, kind, asked)
    if differs(current, kind, asked):
        put(cluster, name, kind, asked)
    require_readonly(name, read(cluster, name))
    verify(cluster, name)


def place(recorded) -> dict:
    """The settings of a repository as a manifest has them, without what says who may write. Pure."""
    return {name: value for name, value in recorded["settings"].items() if name != "readonly"}


def require_readonly(name, current) -> None:
    """Refuses a registration through which the cluster could write. current: of read(). Pure."""
    if not is_readonly(current):
        raise RefusedError(f"The repository {name} is not registered for reading only.", reason="repository_writable",
                           hint="Two clusters that write to one repository destroy it: register it with readonly: true.")


def is_readonly(current) -> bool:
    """Whether a registered repository takes no snapshots. Pure."""
    return current["type"] == "url" or str((current["settings"] or {}).get("readonly", "false")) == "true"


def shared(kind, settings, nodes) -> list:
    """What a repository has in common with the nodes that write to it, as sentences: lost together, it protects nothing. Pure.

    nodes: of _nodes.
    """
    if kind == "fs":
        return [f"The directory {settings['location']} belongs to the account that the nodes run as, and lies on their host unless it is a mount: "
                "who takes over that account, or what destroys that host, takes the snapshots along with the indices."]
    host = urlsplit(settings.get("endpoint") or settings.get("url") or "").hostname or settings.get("endpoint", "").partition(":")[0]
    own = {value for node in nodes.values() for value in (node.get("host"), node.get("ip"), node.get("name"))} | {"localhost", "127.0.0.1", "::1"}
    if host and host in own:
        return [f"The repository is served by {host}, which is a host of the cluster: what destroys it takes the snapshots along with the indices."]
    return []


def remove(cluster, name) -> None:
    """Unregisters a repository; its snapshots stay where they are."""
    cluster.request("DELETE", names.repository_path(name), doing=f"removing the repository {name}")
