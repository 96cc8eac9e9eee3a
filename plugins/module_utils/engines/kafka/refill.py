# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kestra's queue in Kafka filled from the restored repository, by way of Kestra's command line."""
from __future__ import annotations

import time
from dataclasses import dataclass

from ...core.errors import IntegrityError, RefusedError, ToolError
from ...kestra import cli as reaching
from ...kestra import restore_queue
from . import connect, inventory, streams

REFUSE, DELETE, KEEP = LEFTOVERS = ("refuse", "delete", "keep")
_POLL = 2.0
# Seconds until all brokers know that a topic is gone.
_GONE = 20.0
# What to do about a command that failed.
_ANEW = "Kestra's topics are not whole: do not start Kestra. Run this again when the cause is gone; it begins anew."
_ANEW_WITHOUT = ("The topics are filled, but what follows is missing: do not start Kestra. Run this again with leftovers: "
                 "delete, since what the followers have made would be taken for an older life.")


@dataclass(frozen=True)
class Options:
    """What to do beside sending. cluster_id: the manifest's, or None. members_timeout: seconds.

    followers: of restore_queue.FOLLOWERS. silence: seconds, or None. state_directories: of Kafka Streams on this host.
    """

    leftovers: str = REFUSE
    cluster_id: str | None = None
    members_timeout: float = 60.0
    followers: tuple = restore_queue.FOLLOWERS
    silence: float | None = None
    state_directories: tuple = ()


class Refill:
    """One run. cli: Kestra's command line. place: options.Place. request: restore_queue.Request."""

    def __init__(self, cli, place, request, options, server_version=None):
        self._cli, self._place, self._request, self._options = cli, place, request, options
        self._server_version = server_version

    def plan(self) -> dict:
        """What can be known without Kestra's booting, which would make the indices that are missing. Raises DrError."""
        version = self._cli.version()
        reaching.require_version(self._cli.at, version, self._server_version)
        with connect.session(self._place.login) as session:
            return self._look(session, version, 0.0)[0]

    def _look(self, session, version, patience):
        """(plan, inventory); refuses whatever stands against it. patience: seconds for members to go."""
        place, options = self._place, self._options
        applications = [path for directory in options.state_directories
                        for path in streams.applications(directory, place.consumers)]
        streams.require_unused(applications)
        found = self._quiet(session, patience)
        new = inventory.is_new(found, options.cluster_id)
        left = restore_queue.leftovers(found["topics"], place.topics, self._request)
        delete = sorted(found["topics"]) if left and options.leftovers == DELETE else []
        if options.leftovers == REFUSE:
            restore_queue.require_no_leftovers(left, place.login.place)
        self._require_deletable(found, delete)
        plan = {"cli": self._cli.at.shown(), "kestra_version": version, "kafka": place.login.place,
                "cluster_id": found["cluster_id"], "new": new, "leftovers": left, "delete": delete,
                "wipe": applications if new or delete else [], "leave_out": list(self._request.leave_out),
                "recreate": self._request.recreate, "warnings": _warnings(new, delete, applications)}
        return plan, found

    def _quiet(self, session, patience) -> dict:
        """The inventory, once nobody is in Kestra's groups. Raises RefusedError (kestra_alive)."""
        place, until = self._place, time.monotonic() + patience
        while True:
            found = inventory.read(session, place.topics, place.consumers)
            living = inventory.alive(found["groups"])
            if not living:
                return found
            if time.monotonic() >= until:
                raise RefusedError(
                    "A Kestra server lives: somebody is in " + inventory.describe_alive(living) + ".",
                    reason="kestra_alive", detail={"groups": living},
                    hint="restore-queue drops topics under it. Stop Kestra on all hosts, then run again; one that was "
                         "killed stays in its groups until its session ends (45 s by default).")
            time.sleep(min(_POLL, max(0.1, until - time.monotonic())))

    def _require_deletable(self, found, delete) -> None:
        others = inventory.other_prefixes(found["topics"], self._place.topics) if delete else []
        if others:
            raise RefusedError(
                f"Another Kestra seems to share this Kafka with the longer prefix {others[0]}; deleting {self._place.topics}* "
                "would take its topics too.", reason="shared_prefix", detail={"prefixes": others},
                hint="Delete this Kestra's topics by hand, then run again.")
        denied = [name for name in delete if not found["topics"][name]["may_delete"]]
        if denied:
            raise RefusedError(f"This account may not delete the topic {denied[0]}.", reason="privileges_missing",
                               hint="Grant it DELETE on Kestra's topics and groups, or give another account.",
                               detail={"topics": denied})

    def run(self, progress) -> dict:
        """What was sent and done. Raises DrError; from the phase sending on Kestra's topics are not whole until it ends.

        It may be run again from the beginning after any failure.
        """
        started = time.monotonic()
        progress.phase("preflight")
        version = self._cli.version()
        reaching.require_version(self._cli.at, version, self._server_version)
        with connect.session(self._place.login) as session:
            self._look(session, version, self._options.members_timeout)
        words, followers = self._ask(version)
        # Asking takes Java its time: somebody may have come meanwhile.
        with connect.session(self._place.login) as session:
            plan, before = self._look(session, version, self._options.members_timeout)
            plan["followers"] = followers
            if plan["delete"]:
                progress.phase("deleting", topics=len(plan["delete"]))
                before = self._delete(session, before)
        progress.phase("sending", cluster_id=before["cluster_id"])
        done = self._call(words, _ANEW, restore_queue.TOLD)
        counted = restore_queue.sent(done.kept, self._request)
        topics = self._prove(counted, before)
        for name in followers:
            progress.phase(name)
            self._call(restore_queue.follower_words(name, self._options.silence), _ANEW_WITHOUT)
        streams.wipe(plan["wipe"])
        progress.phase("finished", **counted)
        return {"plan": plan, "sent": counted, "cluster_id": before["cluster_id"], "new": plan["new"],
                "topics": {name: topic["records"] for name, topic in topics.items()}, "deleted": plan["delete"],
                "followed": followers, "wiped": plan["wipe"], "seconds": round(time.monotonic() - started, 3)}

    def _ask(self, version):
        """(words, followers) of what this version has. Raises RefusedError (no_restore_queue, flag_unsupported)."""
        flags = reaching.flags_of(restore_queue.RESTORE, self._cli.help(restore_queue.RESTORE))
        if flags is None:
            raise restore_queue.no_command(version)
        words = restore_queue.words(self._request, flags)
        reaching.require_flags(words, flags, version)
        commands = ()
        if self._options.followers:
            commands = reaching.commands_of(self._cli.help(restore_queue.GROUP))
        return words, restore_queue.followers(commands, self._options.followers)

    def _call(self, words, hint, keep=None):
        try:
            return self._cli.run(words, what=" ".join(words[:2]), keep=keep)
        except ToolError as exc:
            exc.hint = " ".join(filter(None, (exc.hint, hint)))
            raise

    def _delete(self, session, found) -> dict:
        """Deletes Kestra's topics and groups by their names; the inventory afterwards. Raises IntegrityError."""
        names, groups = sorted(found["topics"]), [group["name"] for group in found["groups"]]
        session.ask("deleting Kestra's topics", lambda admin: admin.delete_topics(names))
        if groups:
            session.ask("deleting Kestra's consumer groups", lambda admin: admin.delete_groups(groups))
        until = time.monotonic() + _GONE
        while True:
            after = inventory.read(session, self._place.topics, self._place.consumers)
            if not after["topics"]:
                return after
            if time.monotonic() > until:
                break
            time.sleep(_POLL / 4)
        name = next(iter(after["topics"]))
        raise IntegrityError(f"The topic {name} is there again after it was deleted.", reason="topic_back",
                             hint="Somebody still uses it, and brokers with auto.create.topics.enable make it anew. Stop "
                                  "every client of Kestra's topics, then run again.",
                             detail={"topics": sorted(after["topics"])})

    def _prove(self, counted, before) -> dict:
        """The topics afterwards, which hold what was sent. Raises IntegrityError (queue_differs)."""
        place = self._place
        with connect.session(place.login) as session:
            after = inventory.read(session, place.topics, place.consumers)
        if after["cluster_id"] != before["cluster_id"]:
            raise IntegrityError("The Kafka that was looked at is not the one it was before.", reason="another_cluster",
                                 hint="Do the addresses lead to one cluster?", detail={"cluster_id": after["cluster_id"]})
        short = restore_queue.short(counted, place.topics, before["topics"], after["topics"])
        if short:
            first = short[0]
            raise IntegrityError(
                f"Kestra says it sent {first['sent']} records to {first['topic']}, which took {first['found']}.",
                reason="queue_differs", detail={"topics": short},
                hint="Do bootstrap_servers and the topic prefix lead to the Kafka that Kestra uses? Then run again.")
        return after["topics"]


def _warnings(new, delete, applications) -> list:
    if applications and new is None and not delete:
        return ["Nothing tells whether Kafka is new (give cluster_id), so the state directories of Kafka Streams were "
                "left as they are. Wipe them on every executor if it is."]
    return []
