# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`sys-ee` of the Enterprise Edition: the topics of Kafka filled from the indices of Elasticsearch.

Commands, options and what they print are Kestra's, as its documentation and its last open-source version show them.
Not public, and the stand-in's own, are the topics of namespaces and tenants, and where the concurrency limit and the
state of the flow listeners are kept.
"""
from __future__ import annotations

import logging
import sys

from . import NAME, config, enterprise, flows, indices, model, personality, topics, values, version_tuple
from .server import set_up_logging

COMMANDS = {
    "restore-flow-listeners": "restore state-store for FlowListeners",
    "restore-queue": "send all data from a repository to kafka.",
    "reset-concurrency-limit": "Reset the concurrency limit stored on the Kafka\n                             runner.",
}
# What a flow with a limit has open is counted here.
LIMIT = "executor_concurrency_limit"


def main(arguments, parser_class, common):
    """Run `sys-ee ...`; the exit code. arguments: from the word sys-ee on."""
    try:
        if enterprise.edition() != "EE":
            return enterprise.unknown(arguments)
        version = version_tuple(personality())
        # Kestra boots with its configuration before it looks at its options.
        known = parser_class(add_help=False, parents=[common]).parse_known_args(arguments)[0]
        level = {"TRACE": "DEBUG", "WARN": "WARNING"}.get(known.log_level, known.log_level)
        set_up_logging((logging.DEBUG if known.verbose else level) if known.internal_log else logging.INFO)
        settings = _settings(config.read(known.config))
        repository = indices.Indices(settings["elasticsearch"])
        repository.prepare()
        if not arguments[1:] or arguments[1] in ("-h", "--help"):
            print(_overview(), end="", flush=True)
            return 0 if arguments[1:] else 2
        parser, commands = _parser(parser_class, common, version)
        options = parser.parse_args(arguments)
        if options.help:
            print(commands[options.command].format_help().replace("usage: ", "Usage: ", 1), end="", flush=True)
            return 0
        queue = topics.Topics(settings["kafka"])
        try:
            options.run(repository, queue, options)
        finally:
            queue.close()
        return 0
    except (indices.IndicesError, topics.TopicsError, config.ConfigurationError, ValueError, OSError) as error:
        print("%s: %s" % (NAME, str(error).strip() or type(error).__name__), file=sys.stderr)
        return 1


def _settings(configuration):
    kinds = configuration.get("kestra.repository.type"), configuration.get("kestra.queue.type")
    if kinds != ("elasticsearch", "kafka"):
        raise config.ConfigurationError("sys-ee is for repository elasticsearch and queue kafka, this is %s and %s" % kinds)
    return {"elasticsearch": config.elasticsearch(configuration), "kafka": config.kafka(configuration)}


def _overview():
    lines = ["Usage: kestra sys-ee [-hVv] [--internal-log] [-c=<config>] [-l=<logLevel>]",
             "                     [-p=<pluginsPath>] [COMMAND]", "handle kestra ee systems maintenance", "Commands:"]
    return "\n".join(lines + ["  %-24s %s" % pair for pair in COMMANDS.items()]) + "\n"


def _parser(parser_class, common, version):
    parser = parser_class(prog="kestra", add_help=False)
    commands = parser.add_subparsers(dest="root", parser_class=parser_class, required=True).add_parser(
        "sys-ee", add_help=False).add_subparsers(dest="command", parser_class=parser_class, required=True)
    made = {}
    for name, run in (("restore-queue", restore_queue), ("restore-flow-listeners", restore_flow_listeners),
                      ("reset-concurrency-limit", reset_concurrency_limit)):
        made[name] = commands.add_parser(name, add_help=False, parents=[common])
        made[name].add_argument("-h", "--help", action="store_true")
        made[name].set_defaults(run=run)
    queue = made["restore-queue"]
    for flag in ("--no-recreate", "--no-flows", "--no-triggers", "--no-triggers-execution-id", "--no-namespaces"):
        queue.add_argument(flag, action="store_true")
    queue.set_defaults(no_templates=version >= (2, 0), no_tenants=version < (0, 20))
    if version < (2, 0):
        queue.add_argument("--no-templates", action="store_true")
    if version >= (0, 20):
        queue.add_argument("--no-tenants", action="store_true")
    made["restore-flow-listeners"].add_argument("--timeout", type=_java_duration, default=60.0)
    return parser, made


def _java_duration(text):
    """Java knows PT1M, not 60."""
    if not text.upper().startswith("P"):
        raise ValueError("cannot convert '%s' to Duration" % text)
    return values.duration(text)


# -- the commands -----------------------------------------------------------------------------------------------------

def restore_queue(repository, queue, options):
    """Drop the topics, make them again and send what the indices hold. Executions are not sent."""
    todo = (("flows", "flow", options.no_flows, _flows), ("templates", "template", options.no_templates, _plain),
            ("triggers", "trigger", options.no_triggers, _triggers),
            ("namespaces", "namespace", options.no_namespaces, _plain),
            ("tenants", "tenant", options.no_tenants, _plain))
    for kind, topic, left_out, read in todo:
        if left_out:
            continue
        documents = read(repository, kind, options)
        queue.recreate(topic, drop=not options.no_recreate)
        queue.send(topic, documents)
        # As Java's MessageFormat writes a number.
        print("Successfully send {:,} {}".format(len(documents), kind), flush=True)


def _flows(repository, _kind, _options):
    """All revisions of the flows there are; one that cannot be read is left out."""
    alive = {model.uid(flow.get("tenantId"), flow["namespace"], flow["id"])
             for _key, flow in repository.documents("flows") if not flow.get("deleted")}
    found = []
    for _key, flow in repository.documents("flows_revisions"):
        if model.uid(flow.get("tenantId"), flow["namespace"], flow["id"]) not in alive:
            continue
        try:
            flows.parse(flow["source"])
        except (flows.InvalidFlow, KeyError):
            continue
        found.append((model.flow_uid(flow), flow))
    return found


def _triggers(repository, kind, options):
    found = []
    for _key, trigger in repository.documents(kind):
        if options.no_triggers_execution_id:
            trigger.pop("executionId", None)
        found.append((model.trigger_uid(trigger), trigger))
    return found


def _plain(repository, kind, _options):
    return [pair for pair in repository.documents(kind) if not pair[1].get("deleted")]


def restore_flow_listeners(_repository, queue, options):
    """Read all flows, until there was silence for a while; nothing tells the end."""
    queue.follow("flow", "flow_listeners", options.timeout, lambda number: print(
        "Received {:,} flows".format(number), flush=True))


def reset_concurrency_limit(_repository, queue, _options):
    """Forget what is counted for flows with a limit."""
    if queue.exists(LIMIT):
        queue.send(LIMIT, [(key, None) for key in queue.keys(LIMIT)])
