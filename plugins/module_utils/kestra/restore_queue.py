# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Enterprise's `sys-ee restore-queue`, which fills the queue from the repository: what to say to it, and what it answers.

Pure. It sends flows, triggers and the like, never executions: what was under way exists in the queue alone.
"""
from __future__ import annotations

import re
from dataclasses import dataclass

from ..core.errors import RefusedError, ToolError

GROUP = ("sys-ee",)
RESTORE = ("sys-ee", "restore-queue")
# What follows it, in this order, where the version has it: the flows anew for those who listen to them, and counters of
# executions that are gone.
FOLLOWERS = ("restore-flow-listeners", "reset-concurrency-limit")
KINDS = ("flows", "templates", "triggers", "namespaces", "tenants")
# The topic of each, after the prefix. Those of namespaces and tenants are not public.
TOPICS = {"flows": "flow", "templates": "template", "triggers": "trigger", "namespaces": "namespace", "tenants": "tenant"}
TOLD = re.compile(r"Successfully send ")

_SENT = re.compile(r"Successfully send (\d[\d.,'\u00a0\u202f\u2019 ]*?) ([a-z][a-z ]*[a-z])\s*$")
_FORGET = "--no-triggers-execution-id"


@dataclass(frozen=True)
class Request:
    """What to send. leave_out: of KINDS. recreate: drop the topics first. forget: the executions triggers wait for."""

    leave_out: tuple = ()
    recreate: bool = True
    forget: bool = True


def words(request, flags) -> list:
    """The words of `sys-ee restore-queue`. flags: what this version has; asked for without them, it is all."""
    found = [*RESTORE] + ([] if request.recreate else ["--no-recreate"])
    found += [f"--no-{kind}" for kind in KINDS if kind in request.leave_out]
    return found + ([_FORGET] if request.forget and _FORGET in flags else [])


def no_command(version) -> RefusedError:
    """The error for a Kestra without the command."""
    return RefusedError(
        f"This Kestra ({version}) has no command `{' '.join(RESTORE)}`.", reason="no_restore_queue",
        hint="It is part of the Enterprise Edition; the open-source edition has its queue in the database, with which it "
             "comes back. Where repository and queue are of different kinds (2.0), nothing else is known to fill Kafka.",
        detail={"version": version})


def followers(commands, wanted) -> list:
    """Which of the wanted followers this version has, in their order."""
    return [name for name in FOLLOWERS if name in wanted and name in commands]


def follower_words(name, silence=None) -> list:
    """The words of a follower. silence: seconds without a flow after which restore-flow-listeners ends."""
    return [*GROUP, name] + ([f"--timeout=PT{silence:g}S"] if silence and name == FOLLOWERS[0] else [])


def sent(lines, request) -> dict:
    """{kind: number} of what `restore-queue` says. Raises ToolError (restore_unproven, nothing_sent).

    Java writes 1000 as its locale does, 1,000 or 1.000.
    """
    found: dict = {}
    for line in lines:
        match = _SENT.search(line)
        if match:
            found[match.group(2)] = int(re.sub(r"\D", "", match.group(1)))
    # Templates may be switched off, and older versions know fewer kinds.
    missing = [kind for kind in ("flows", "triggers") if kind not in request.leave_out and kind not in found]
    if missing:
        raise ToolError(f"Kestra's `{' '.join(RESTORE)}` ended with 0, but did not say that it sent {missing[0]}.",
                        reason="restore_unproven", hint="Take the queue for empty; look at Kestra's log, then run again.",
                        detail={"missing": missing, "output": list(lines)})
    if not any(found.values()):
        raise ToolError(f"Kestra's `{' '.join(RESTORE)}` found nothing to send.", reason="nothing_sent",
                        hint="Does the command line read the configuration of the right instance, and are its indices "
                             "restored?", detail={"sent": found})
    return found


def short(counted, prefix, before, after) -> list:
    """Where a topic took fewer records than Kestra says it sent: [{topic, sent, found}].

    before, after: {name: topic} of the inventory. Topics this does not know by name are not looked at.
    """
    found = []
    for kind, number in counted.items():
        name = prefix + TOPICS.get(kind, "")
        if kind not in TOPICS or (name not in after and kind in ("namespaces", "tenants")):
            continue
        topic, old = after.get(name), before.get(name)
        end = sum(topic["end"]) if topic else 0
        if topic and old and old["id"] == topic["id"]:
            end -= sum(old["end"])
        if end < number:
            found.append({"topic": name, "sent": number, "found": end})
    return found


def leftovers(topics, prefix, request) -> list:
    """Topics with records that `restore-queue` does not drop: of an older life of Kestra. Names in order."""
    dropped = {prefix + TOPICS[kind] for kind in KINDS if kind not in request.leave_out} if request.recreate else set()
    return sorted(name for name, topic in topics.items() if topic["records"] and name not in dropped)


def require_no_leftovers(left, where) -> None:
    """Refuses to mix two lives of Kestra. where: the cluster, for the message. Raises RefusedError (old_topics)."""
    if left:
        raise RefusedError(
            f"Kafka at {where} holds {len(left)} topics of an older life of Kestra that restore-queue does not drop: "
            + ", ".join(left[:5]) + (", …" if len(left) > 5 else "") + ".", reason="old_topics",
            hint="With them Kestra would go on with executions the restored indices do not know. Delete all of Kestra's "
                 "topics with leftovers: delete, or keep them with leftovers: keep when the indices are not older.",
            detail={"topics": left})
