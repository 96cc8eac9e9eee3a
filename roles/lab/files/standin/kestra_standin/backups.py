# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`backups create` and `backups restore` of the Enterprise Edition: archives of the stand-in's rows and files.

Options, places, names, log lines, encryption (AES/GCM, the IV of 12 bytes in front) and which records are written over
are Kestra's; what is inside an archive is not public and is the stand-in's own: JSON lines, compressed.
"""
from __future__ import annotations

import base64
import binascii
import gzip
import logging
import os
import sys
import time
import zlib
from collections import Counter

from . import NAME, config, database, enterprise, model, personality, storage, values, version_tuple
from .server import set_up_logging

log = logging.getLogger("io.kestra.ee.backup.BackupService")

KEY = "kestra.encryption.secret-key"
# kind -> (table, of the whole instance only, columns beside key and value)
ROWS = {
    "TENANT": ("tenants", False, ()), "USER": ("users", True, ()), "SETTING": ("settings", True, ()),
    "NAMESPACE": ("namespaces", False, ()), "FLOW": ("flows", False, ("source_code",)),
    "TRIGGER": ("triggers", False, ()), "DASHBOARD": ("dashboards", False, ("source_code",)),
    "EXECUTION": ("executions", False, ()), "LOG": ("logs", False, ()), "METRIC": ("metrics", False, ()),
}
FILES = {"KV_STORE": "/_kv/", "NAMESPACE_FILE": "/_files/"}
DATA = ("EXECUTION", "LOG", "METRIC")
KINDS = tuple(ROWS) + tuple(FILES)


class BackupError(Exception):
    """What ends a command with 1."""


# -- the command line -------------------------------------------------------------------------------------------------

def main(arguments, parser_class, common):
    """Run `backups ...`; the exit code. arguments: from the word backups on."""
    try:
        version = personality()
        if enterprise.edition() != "EE" or version_tuple(version) < (0, 19):
            return enterprise.unknown(arguments)
        parser, commands = _parser(parser_class, common, version_tuple(version))
        # Kestra boots with its configuration, and migrates, before it looks at its options.
        known = parser_class(add_help=False, parents=[common]).parse_known_args(arguments)[0]
        level = {"TRACE": "DEBUG", "WARN": "WARNING"}.get(known.log_level, known.log_level)
        set_up_logging((logging.DEBUG if known.verbose else level) if known.internal_log else logging.INFO)
        configuration = config.read(known.config)
        store = database.store(*config.database(configuration))
        if store.engine == "elasticsearch":
            raise BackupError("the stand-in makes its archives on PostgreSQL and MySQL only")
        store.migrate(version_tuple(version), logging.getLogger(NAME))
        options = parser.parse_args(arguments)
        if options.help:
            print(commands[options.backups].format_help().replace("usage: ", "Usage: ", 1), end="", flush=True)
            return 0
        if options.what is None:
            print("Missing required parameter: '<%s>'" % ("type" if options.backups == "create" else "uri"),
                  file=sys.stderr)
            return 2
        enterprise.prepare(store, version_tuple(version))
        run = create if options.backups == "create" else restore
        run(store, configuration, options, version)
        return 0
    except (BackupError, config.ConfigurationError, storage.StorageError, ValueError, OSError, *database.errors()) as error:
        print("%s: %s" % (NAME, str(error).strip() or type(error).__name__), file=sys.stderr)
        return 1


def _parser(parser_class, common, version):
    parser = parser_class(prog="kestra", add_help=False)
    commands = parser.add_subparsers(dest="root", parser_class=parser_class, required=True).add_parser(
        "backups", add_help=False).add_subparsers(dest="backups", parser_class=parser_class, required=True)
    create_ = commands.add_parser("create", add_help=False, parents=[common])
    restore_ = commands.add_parser("restore", add_help=False, parents=[common])
    for one in (create_, restore_):
        one.add_argument("-h", "--help", action="store_true")
        one.add_argument("--encryption-key")
        one.add_argument("--resources", action="append", default=[])
    create_.add_argument("--no-encryption", action="store_true")
    create_.add_argument("--tenant", default="default")
    if version >= (0, 22):
        create_.add_argument("--include-data", action="store_true")
    create_.add_argument("what", metavar="type", nargs="?", choices=["FULL", "TENANT"])
    restore_.add_argument("--to-tenant")
    restore_.add_argument("what", metavar="uri", nargs="?")
    return parser, {"create": create_, "restore": restore_}


def _resources(options):
    wanted = [name for text in options.resources for name in text.split(",")]
    for name in wanted:
        if name not in KINDS:
            raise BackupError("Invalid value for option '--resources': %s" % name)
    return wanted


def _key(options, configuration):
    """The key's bytes, or None: the option, else the setting; a file of --config is above the environment."""
    text = options.encryption_key
    if not text and options.config:
        bare = {name: value for name, value in os.environ.items() if name not in (
            "KESTRA_ENCRYPTION_SECRET_KEY", "KESTRA_CONFIGURATION", "MICRONAUT_CONFIG_FILES")}
        text = config.read(options.config, bare).get(KEY)
    text = text or configuration.get(KEY)
    if not text:
        return None
    try:
        key = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        raise BackupError("Illegal base64 in the encryption key") from None
    if len(key) not in (16, 24, 32):
        raise BackupError("Invalid AES key length: %d bytes" % len(key))
    return key


def _cipher(key):
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise BackupError("encrypted archives need a Python with cryptography") from None
    return AESGCM(key)


def _place(configuration, tenant=None):
    return storage.opened(*config.storage(configuration), tenant)


def _summary(name, counted):
    log.info("%s summary: [%s]", name, ", ".join("%s: %d" % pair for pair in counted))


# -- create -----------------------------------------------------------------------------------------------------------

def create(store, configuration, options, version):
    """Write one archive into the storage and tell its address."""
    began = time.monotonic()
    key = None if options.no_encryption else _key(options, configuration)
    if key is None and not options.no_encryption:
        raise BackupError("No encryption key: set %s, or use --encryption-key or --no-encryption" % KEY)
    full = options.what == "FULL"
    wanted = _resources(options) or [
        kind for kind in KINDS if kind not in DATA or getattr(options, "include_data", False)]
    with store.tx() as work:
        work.stand_still()
        scope = enterprise.tenants(work, version_tuple(version))
        if not full:
            # Before 0.23 what belongs to no tenant is the tenant called default.
            one = None if scope == [None] and options.tenant == "default" else options.tenant
            if one not in scope:
                raise BackupError("Tenant '%s' does not exist" % options.tenant)
            scope = [one]
        records = list(_records(work, configuration, wanted, full, scope))
    counted = Counter(record["type"] for record in records)
    head = {"standin": 1, "type": options.what, "tenant": None if full else options.tenant, "version": version,
            "created": values.iso(values.now()), "summary": counted}
    content = gzip.compress("".join(values.dumps(one) + "\n" for one in [head, *records]).encode())
    if key is not None:
        iv = os.urandom(12)
        content = iv + _cipher(key).encrypt(iv, content, None)
    place = _place(configuration)
    directory = "/backups/full" if full else "/backups/tenants/%s" % options.tenant
    while True:
        path = "%s/backup-%s.kestra" % (directory, values.now().strftime("%Y%m%d%H%M%S"))
        if not place.exists(path):
            break
        time.sleep(0.05)
    uri = place.put(path, content)
    _summary("Backup", counted.items())
    log.info("Backup instance created in %d ms", (time.monotonic() - began) * 1000)
    print("Backup created: " + uri, flush=True)


def _records(work, configuration, wanted, full, scope):
    for kind, (table, whole, extra) in ROWS.items():
        if kind not in wanted or (whole and not full):
            continue
        for row in work.rows("SELECT %s FROM %s ORDER BY 1" % (", ".join((work.store.KEY, "value") + extra), table)):
            tenant = row[1].get("id") if kind == "TENANT" else row[1].get("tenantId")
            if full or tenant == scope[0]:
                yield dict({"type": kind, "key": row[0], "value": row[1]}, **dict(zip(extra, row[2:])))
    for kind, inside in FILES.items():
        for tenant in scope if kind in wanted else ():
            place = _place(configuration, tenant)
            for path in place.files("/"):
                if inside in path:
                    yield {"type": kind, "tenant": tenant, "path": path, "metadata": place.metadata(path),
                           "content": base64.b64encode(place.get(path)).decode("ascii")}


# -- restore ----------------------------------------------------------------------------------------------------------

def restore(store, configuration, options, version):
    """Write an archive's records over what is there."""
    uri, wanted = options.what, _resources(options)
    print("Restoring " + uri, flush=True)
    head, records = _opened(_place(configuration).get(uri), options, configuration)
    if options.to_tenant and head["type"] != "TENANT":
        raise BackupError("--to-tenant works with TENANT backups only")
    log.info("Restoring %s backup from Kestra version %s created at %s", head["type"], head["version"], head["created"])
    if head["version"] != version:
        log.warning("The backup is of Kestra version %s, this is %s", head["version"], version)
    _summary("Backup", head["summary"].items())
    counted = Counter()
    with store.tx() as work:
        for record in records:
            if wanted and record["type"] not in wanted:
                continue
            if record["type"] in FILES:
                _put_file(configuration, record, options.to_tenant)
            else:
                _put_row(work, record, options.to_tenant)
            counted[record["type"]] += 1
    _summary("Restore", reversed(list(counted.items())))
    print("Backup restored from URI: " + uri, flush=True)


def _opened(content, options, configuration):
    """(head, records) of an archive's bytes."""
    if not content.startswith(b"\x1f\x8b"):
        key = _key(options, configuration)
        if key is None:
            raise BackupError("The backup is encrypted and there is no encryption key")
        cipher = _cipher(key)
        from cryptography.exceptions import InvalidTag
        try:
            content = cipher.decrypt(content[:12], content[12:], None)
        except (InvalidTag, ValueError):
            raise BackupError("Tag mismatch") from None
    try:
        lines = [values.loads(line) for line in gzip.decompress(content).decode().splitlines()]
        return lines[0], lines[1:]
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError, IndexError):
        raise BackupError("The backup cannot be read") from None


def _put_row(work, record, to_tenant):
    kind, value, key = record["type"], record["value"], record["key"]
    table, _whole, extra = ROWS[kind]
    if to_tenant:
        value["id" if kind == "TENANT" else "tenantId"] = to_tenant
        key = {"TENANT": lambda: to_tenant, "NAMESPACE": lambda: model.uid(to_tenant, value["id"]),
               "DASHBOARD": lambda: model.uid(to_tenant, value["id"]), "FLOW": lambda: model.flow_uid(value),
               "TRIGGER": lambda: model.trigger_uid(value)}.get(kind, lambda: key)()
    if kind in ("LOG", "METRIC"):
        key = values.new_id()  # always inserted
    work.put(table, key, value, **{name: record[name] for name in extra})


def _put_file(configuration, record, to_tenant):
    place = _place(configuration, to_tenant or record["tenant"])
    place.put(record["path"], base64.b64decode(record["content"]), record["metadata"])
