# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line, in the shape of Kestra's own."""
from __future__ import annotations

import argparse
import ctypes
import logging
import os
import sys

from . import NAME, NOTICE, personality, version_tuple

try:
    import yaml

    from . import backups, config, database, enterprise, flows, system_ee
    from .server import ROLES, Server, set_up_logging
except ImportError as missing:
    sys.exit("%s: %s. It needs a Python with PyYAML; KESTRA_STANDIN_PYTHON names one." % (NAME, missing))


class _Parser(argparse.ArgumentParser):
    """Ends with 2 on bad usage, as picocli does (argparse does too) and without abbreviations."""

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)


def _common():
    parser = _Parser(add_help=False)
    parser.add_argument("-c", "--config", help="configuration file")
    parser.add_argument("-p", "--plugins", help="plugins directory (ignored)")
    parser.add_argument("-v", "--verbose", action="count", default=0)
    parser.add_argument("-l", "--log-level", default="INFO", choices=["TRACE", "DEBUG", "INFO", "WARN", "ERROR"])
    parser.add_argument("--internal-log", action="store_true")
    return parser


def parse(arguments):
    """The parsed command line; exits with 2 when it is wrong."""
    common = _common()
    parser = _Parser(prog=NAME, description="%s: %s" % (NAME, NOTICE))
    parser.add_argument("-V", "--version", action="store_true", help="print the version it pretends to be")
    commands = parser.add_subparsers(dest="command", parser_class=_Parser)
    roles = commands.add_parser("server", help="start a server").add_subparsers(
        dest="role", parser_class=_Parser, required=True)
    for role in ROLES:
        one = roles.add_parser(role, parents=[common])
        one.add_argument("--port", type=int)
        one.add_argument("-t", "--thread", "--worker-thread", dest="threads", type=int)
        if role == "standalone":
            one.add_argument("-f", "--flow-path", help="directory of flows to load at the start")
        one.add_argument("--no-tutorials", action="store_true")
        one.add_argument("--no-indexer", action="store_true")
    system = commands.add_parser("sys", help="system commands").add_subparsers(
        dest="system", parser_class=_Parser, required=True)
    base = system.add_parser("database").add_subparsers(dest="database", parser_class=_Parser, required=True)
    base.add_parser("migrate", parents=[common])
    plugins = commands.add_parser("plugins", help="plugins").add_subparsers(
        dest="plugins", parser_class=_Parser, required=True)
    plugins.add_parser("list", parents=[common])
    configs = commands.add_parser("configs", help="configuration").add_subparsers(
        dest="configs", parser_class=_Parser, required=True)
    configs.add_parser("properties", parents=[common])
    found = parser.parse_args(arguments)
    if not found.version and found.command is None:
        parser.print_help()
        parser.exit(2)
    return found


def main(arguments=None):
    """Run one command; its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments[:1] == ["backups"]:
        return backups.main(arguments, _Parser, _common())
    if arguments[:1] == ["sys-ee"]:
        return system_ee.main(arguments, _Parser, _common())
    options = parse(arguments)
    try:
        if options.version:
            print("%s\n%s: %s" % (personality(), NAME, NOTICE))
            return 0
        if options.command == "plugins":
            others = (flows.PAUSE, flows.WORKING_DIRECTORY, flows.SCHEDULE)
            print("\n".join(sorted(flows.RUNNABLE + flows.FLOWABLE + others)))
            return 0
        level = {"TRACE": logging.DEBUG, "WARN": logging.WARNING}.get(options.log_level, options.log_level)
        set_up_logging(logging.DEBUG if options.verbose else level)
        configuration = config.read(options.config)
        if options.command == "configs":
            print(yaml.safe_dump(configuration.tree, sort_keys=True), end="")
            return 0
        if options.command == "sys":
            store = database.store(*config.database(configuration))
            store.migrate(version_tuple(personality()), logging.getLogger(NAME))
            print("Successfully run the database schema migration.")
            return 0
        if enterprise.edition() == "EE":
            store = database.store(*config.database(configuration))
            store.migrate(version_tuple(personality()), logging.getLogger(NAME))
            enterprise.prepare(store, version_tuple(personality()))
            store.close()
        _name_process()
        return Server(options.role, configuration, options.port, options.threads, not options.no_indexer,
                      getattr(options, "flow_path", None)).run()
    except (config.ConfigurationError, ValueError, OSError, *database.errors()) as error:
        print("%s: %s" % (NAME, str(error).strip() or type(error).__name__), file=sys.stderr)
        return 1


def _name_process():
    """Show the stand-in's name in process lists that show the short name (Linux only)."""
    try:
        ctypes.CDLL(None).prctl(15, NAME.encode(), 0, 0, 0)
    except (OSError, AttributeError):
        return


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Task threads that were interrupted must not hold the process.
    os._exit(code)
