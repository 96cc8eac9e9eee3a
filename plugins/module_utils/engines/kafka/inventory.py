# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Kafka cluster is and holds of Kestra's: its identity, topics with their ends, consumer groups and who is in them."""
from __future__ import annotations

from ...core.errors import ConnectError
from . import connect

# Of a group nobody is in.
_QUIET = ("EMPTY", "DEAD")


def read(session, topics, consumers) -> dict:
    """{cluster_id, brokers, topics: {name: topic}, groups: [group]} of the prefixes topics and consumers.

    Kafka Streams calls its own topics after the consumer group. Raises ConnectError.

    A topic has id, partitions, replicas, begin and end (offsets by partition) and records, which is how many there are
    at most: compaction takes some away without moving the ends. A group has name, state, members and behind: how many
    records of each topic it has yet to take.
    """
    cluster = session.ask("asking for the cluster", lambda admin: admin.describe_cluster())
    if "DESCRIBE" not in (cluster.get("authorized_operations") or []):
        _require_sight(session, topics, consumers)
    found, busy = _topics(session, (topics, consumers)), groups(session, consumers)
    taken = _taken(session, [group["name"] for group in busy])
    for group in busy:
        group["behind"] = behind(taken.get(group["name"], {}), found)
    return {"cluster_id": cluster["cluster_id"], "brokers": len(cluster["brokers"]), "topics": found, "groups": busy}


def _require_sight(session, topics, consumers) -> None:
    """To an account that may not see them Kafka shows no topics and no groups, as if there were none."""
    def seen_group(admin):
        try:
            admin.describe_groups([consumers + connect.CLIENT])
        except connect.library().errors.CoordinatorNotAvailableError:
            return  # a cluster that never had a group; it was no refusal

    session.ask(f"looking at consumer groups {consumers}*", seen_group)
    name = topics + connect.CLIENT
    found = session.ask(f"looking at topics {topics}*", lambda admin: admin.describe_topics([name]))
    denied = connect.library().errors.TopicAuthorizationFailedError.errno
    if any(one["error_code"] == denied for one in found):
        raise ConnectError(f"Kafka does not let this account see topics {topics}*.", reason="privileges_missing",
                           hint="Grant it DESCRIBE on Kestra's topics and groups, or DESCRIBE on the cluster.")


def _topics(session, prefixes) -> dict:
    doing = "reading Kestra's topics"
    names = sorted(name for name in session.ask(doing, lambda admin: admin.list_topics()) if name.startswith(prefixes))
    if not names:
        return {}
    described = session.ask(doing, lambda admin: admin.describe_topics(names))
    found = {one["name"]: one for one in described if one["error_code"] == 0}
    structs, spec = connect.library().structs, connect.library().admin.OffsetSpec
    parts = [structs.TopicPartition(name, part["partition_index"]) for name, one in found.items()
             for part in one["partitions"]]
    ends, begins = ({part: answer.offset for part, answer in session.ask(
        doing, lambda admin, at=at: admin.list_partition_offsets({part: at for part in parts})).items()}
        for at in (spec.LATEST, spec.EARLIEST))
    return {name: _topic(one, name, begins, ends, structs.TopicPartition) for name, one in sorted(found.items())}


def _topic(one, name, begins, ends, partition) -> dict:
    numbers = sorted(part["partition_index"] for part in one["partitions"])
    begin, end = ([offsets[partition(name, number)] for number in numbers] for offsets in (begins, ends))
    return {"id": str(one["topic_id"]), "partitions": len(numbers), "begin": begin, "end": end,
            "replicas": min((len(part["replica_nodes"]) for part in one["partitions"]), default=0),
            "records": sum(end) - sum(begin), "may_delete": "DELETE" in (one.get("authorized_operations") or ["DELETE"])}


def groups(session, prefix) -> list:
    """The consumer groups of a prefix, by name: [{name, state, members: [{client, host}]}]."""
    doing = "reading Kestra's consumer groups"
    listed = session.ask(doing, lambda admin: admin.list_groups())
    found = sorted((one["group_id"], str(one["group_state"]).upper()) for one in listed
                   if one["group_id"].startswith(prefix))
    busy = [name for name, state in found if state not in _QUIET]
    members = _members(session, busy)
    return [{"name": name, "state": state, "members": members.get(name, [])} for name, state in found]


def _members(session, names) -> dict:
    """Who is in these groups, as far as it can be told: groups of newer kinds do not answer this question."""
    if not names:
        return {}
    try:
        described = session.ask("reading their members", lambda admin: admin.describe_groups(names))
    except ConnectError:
        return {}
    return {name: [{"client": one["client_id"], "host": one["client_host"].lstrip("/")} for one in group["members"]]
            for name, group in described.items()}


def _taken(session, names) -> dict:
    """{group: {topic: {partition: offset}}} up to which groups have taken records."""
    if not names:
        return {}
    found: dict = {}
    answer = session.ask("reading what consumer groups have taken", lambda admin: admin.list_group_offsets(names))
    for group, offsets in answer.items():
        for part, taken in offsets.items():
            if taken.offset >= 0:
                found.setdefault(group, {}).setdefault(part.topic, {})[part.partition] = taken.offset
    return found


# -- what it means ----------------------------------------------------------------------------------------------------

def behind(taken, topics) -> dict:
    """{topic: number} of the records a group has yet to take. taken: {topic: {partition: offset}}. Pure.

    Only of topics that are there and that it ever took from.
    """
    found = {}
    for name in sorted(set(taken) & set(topics)):
        ends = enumerate(topics[name]["end"])
        found[name] = sum(max(0, end - taken[name].get(number, topics[name]["begin"][number])) for number, end in ends)
    return found


def alive(found) -> list:
    """The groups somebody is in: a Kestra lives. found: read()'s groups. Pure."""
    return [group for group in found if group["state"] not in _QUIET]


def describe_alive(found) -> str:
    """The same in one line, for messages. Pure."""
    def told(group):
        hosts = sorted({member["host"] for member in group["members"]})
        return f"{group['name']} ({group['state'].lower()}{', from ' + ', '.join(hosts) if hosts else ''})"
    return "; ".join(told(group) for group in found[:5]) + (f"; and {len(found) - 5} more" if len(found) > 5 else "")


def is_new(found, recorded):
    """Whether this is another cluster than the recorded one, or one Kestra never used. Pure.

    recorded: the cluster id of the manifest, or None. None: nothing tells.
    """
    if recorded:
        return found["cluster_id"] != recorded
    return True if not found["topics"] and not found["groups"] else None


def other_prefixes(topics, prefix) -> list:
    """Longer prefixes that another Kestra on the same cluster seems to use, such as kestra_test_. Pure."""
    core = ("flow", "execution", "trigger")
    longer = {name[:-len(core[0])] for name in topics if name.startswith(prefix) and name.endswith("_" + core[0])}
    return sorted(one for one in longer - {prefix} if all(one + kind in topics for kind in core))


def component(found, place) -> dict:
    """What the manifest holds about the queue. found: read(). place: options.Place. Pure."""
    return {"held": "external", "engine": "kafka", "strategy": "rebuild", "system": place.login.place,
            "cluster_id": found["cluster_id"], "topic_prefix": place.topics,
            "topics": {name: topic["end"] for name, topic in found["topics"].items()}}
