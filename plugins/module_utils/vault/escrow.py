# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The escrow kit: what a person needs to get Kestra back when only the repository is left, apart from the repository.

A text that its owner opens with gpg and a passphrase. It is made from a sealed recovery point: the manifest, and the
configuration as the recovery point holds it. Every value in it may be a secret; none of it is shown.
"""
from __future__ import annotations

import json
import os
import shlex

from ..core import clock, proc
from ..core.errors import ConfigError, IntegrityError, RefusedError
from ..core.secrets import memory_file
from ..engines.elasticsearch.clients import ELASTICSEARCH, TITLES
from ..kestra import config, sources
from . import contents, points

# Lines that differ although nothing has changed.
_VOLATILE = _WRITTEN, _POINT, _CHOSEN = "Written: ", "Made from recovery point: ", "POINT="
_SHOWN_KEYS = ("kestra.repository.type", "kestra.queue.type", "kestra.storage.type", "kestra.storage.local.base-path",
               "kestra.storage.s3.endpoint", "kestra.storage.s3.bucket", "kestra.storage.s3.path",
               "kestra.storage.minio.endpoint", "kestra.storage.minio.port", "kestra.storage.minio.bucket",
               "kestra.storage.gcs.bucket", "kestra.storage.gcs.path", "kestra.storage.azure.endpoint", "kestra.storage.azure.container",
               "kestra.secret.type")
_BUCKET = """Put the objects of $TARGET/objects into the bucket, with boto3, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of an account that may
write there; ENDPOINT, BUCKET and PREFIX (empty, or with a slash at its end) as kestra.storage says. Then start Kestra.

python3 -c '
import gzip, json, sys
import boto3
copy, endpoint, bucket, prefix = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint)
for line in gzip.open(f"{copy}/list.jsonl.gz", "rt"):
    it = json.loads(line)
    if it.get("d") == "deleted":
        continue
    digest = it.get("h", "")
    body = open(f"{copy}/{digest[:2]}/{digest}", "rb") if it["s"] else b""
    s3.put_object(Bucket=bucket, Key=prefix + it["k"], Body=body, Metadata=it.get("u", {}), **it.get("c", {}))
' "$TARGET/objects" ENDPOINT BUCKET PREFIX
"""
_GOOGLE = """Put the objects of $TARGET/objects into the bucket, with google-cloud-storage, and GOOGLE_APPLICATION_CREDENTIALS naming the JSON
file of a service account that may write there; BUCKET and PREFIX (empty, or with a slash at its end) as kestra.storage says. Then start Kestra.

python3 -c '
import gzip, json, sys
from google.cloud import storage
copy, bucket, prefix = sys.argv[1:]
bucket = storage.Client(project=None).bucket(bucket)
names = {"CacheControl": "cache_control", "ContentDisposition": "content_disposition", "ContentEncoding": "content_encoding",
         "ContentLanguage": "content_language", "ContentType": "content_type"}
for line in gzip.open(f"{copy}/list.jsonl.gz", "rt"):
    it = json.loads(line)
    if it.get("d") == "deleted":
        continue
    blob = bucket.blob(prefix + it["k"])
    for name, value in it.get("c", {}).items():
        setattr(blob, names[name], value)
    blob.metadata = it.get("u")
    digest = it.get("h", "")
    blob.upload_from_filename(f"{copy}/{digest[:2]}/{digest}" if it["s"] else "/dev/null")
' "$TARGET/objects" BUCKET PREFIX
"""
_CONTAINER = """Put the blobs of $TARGET/objects into the container, with azure-storage-blob and AZURE_STORAGE_CONNECTION_STRING of the
account; CONTAINER as kestra.storage says. Then start Kestra.

python3 -c '
import gzip, json, os, sys
from azure.storage.blob import ContainerClient, ContentSettings
copy, container = sys.argv[1:]
client = ContainerClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"], container)
names = {"CacheControl": "cache_control", "ContentDisposition": "content_disposition", "ContentEncoding": "content_encoding",
         "ContentLanguage": "content_language", "ContentType": "content_type"}
for line in gzip.open(f"{copy}/list.jsonl.gz", "rt"):
    it = json.loads(line)
    if it.get("d") == "deleted":
        continue
    digest = it.get("h", "")
    settings = {names[name]: value for name, value in it.get("c", {}).items()}
    settings["content_md5"] = bytearray.fromhex(it["m"])
    body = open(f"{copy}/{digest[:2]}/{digest}", "rb") if it["s"] else b""
    client.upload_blob(it["k"], body, length=it["s"], overwrite=True, metadata=it.get("u"), content_settings=ContentSettings(**settings))
' "$TARGET/objects" CONTAINER
"""
_BY_HAND = {"s3": _BUCKET, "minio": _BUCKET, "gcs": _GOOGLE, "azure": _CONTAINER}


def judge(kit, fresh, max_age_days, now) -> dict:
    """What a kit is worth: {"written", "age_days", "state" missing|stale|current, "why"}. Pure.

    kit: its text, or None. fresh: the text that would be written now. now: UTC text.
    """
    if kit is None:
        return {"written": None, "age_days": None, "state": "missing", "why": "there is none"}
    written = next((line[len(_WRITTEN):] for line in kit.splitlines() if line.startswith(_WRITTEN)), None)
    try:
        age = (clock.parse_utc(now) - clock.parse_utc(written or "")).total_seconds() / 86400
    except ConfigError:
        return {"written": None, "age_days": None, "state": "stale", "why": "it does not say when it was written"}
    why = None
    if _essence(kit) != _essence(fresh):
        why = "its content is no longer true"
    elif age > max_age_days:
        why = f"it is older than {max_age_days} days"
    return {"written": written, "age_days": round(age, 3), "state": "stale" if why else "current", "why": why}


def _essence(text) -> list:
    return [line for line in text.splitlines() if not line.startswith(_VOLATILE)]


# -- what goes in -----------------------------------------------------------------------------------------------------

def gather(catalog, point, restic) -> dict:
    """What compose() needs of a sealed point. Raises DrError."""
    manifest = catalog.manifest(point)
    component = manifest["components"].get("config")
    if component is None:
        raise RefusedError(f"The recovery point {point} does not hold the configuration, so there are no keys to keep.",
                           reason="no_config", hint="Take one with the component config.")
    return {"instance": manifest["instance"], "kestra": manifest["kestra"], "point": point,
            "components": manifest["components"], "tools": manifest["tools"],
            "repository": repository_facts(restic),
            "hosts": {name: host_facts(text) for name, text in sorted(_bundles(restic, component).items())}}


def repository_facts(restic) -> dict:
    """What opens the repository. Raises DrError."""
    repository = restic.repository
    if repository.password_file:
        with open(repository.password_file, encoding="utf-8", errors="surrogateescape") as handle:
            password = handle.read()
    else:
        try:
            words = shlex.split(repository.password_command)
        except ValueError:
            raise ConfigError("repository_password_command is no command.", reason="bad_option") from None
        password = proc.run(words, timeout=120, redactor=restic.redactor).stdout
    # As restic reads it.
    password = password.strip()
    restic.redactor.add(password)
    return {"location": repository.location, "id": restic.config()["id"], "password": password,
            "environment": dict(repository.environment)}


def _bundles(restic, component) -> dict:
    """{host: text of its bundle}, as the manifest knows them."""
    texts: dict = {}
    found = {}
    for entry in contents.entries(restic, component["snapshot"], component["path"],
                                  content=lambda name, block: texts.setdefault(name, []).append(block)):
        if entry.type == "f":
            found[os.fsdecode(entry.path)] = entry.sha256
    expected = {item["path"]: item["sha256"] for item in component["files"]}
    if found != expected:
        raise IntegrityError("The configuration in the repository is not the one the manifest knows.",
                             reason="config_differs", hint="Verify the recovery point, or take another one.")
    return {os.path.splitext(os.fsdecode(name))[0]: b"".join(blocks).decode("utf-8") for name, blocks in texts.items()}


def host_facts(text) -> dict:
    """Settings and variables of one host that are needed to start Kestra on the restored data."""
    with memory_file(text) as path:
        bundle = sources.read_bundle(path)
        configuration = config.load(sources.gather(bundle=path).sources)
    names = set(configuration.secret_keys())
    names.update(key for key in configuration.keys() if key in _SHOWN_KEYS or key.startswith("datasources."))
    known = configuration.environment_names()
    variables = sorted({*known["secrets"], *known["variables"], *known["other_secrets"]})
    return {"version": bundle.get("kestra_version"), "plugins": [item["name"] for item in bundle.get("plugins") or []],
            "settings": {name: _setting(configuration, name) for name in sorted(names)},
            "environment": {name: configuration.sources.environment[name] for name in variables},
            "files": [entry["path"] for entry in bundle["files"]]}


def _setting(configuration, name):
    try:
        return configuration.get(name)
    except ConfigError:  # a placeholder that nothing sets: as it is written
        return configuration.raw(name)[0]


# -- the text ---------------------------------------------------------------------------------------------------------

def compose(facts, written) -> str:
    """The kit as a text. facts: of gather(). written: UTC text. Pure."""
    instance, components = facts["instance"], facts["components"]
    database = components.get("database")
    parts = [f"""\
ESCROW KIT of the Kestra instance {instance["name"]}

Everything below is secret: it opens all data of this Kestra.
{_WRITTEN}{written}
{_POINT}{facts["point"]}

1. WHAT IT IS
""", *_table(_identities(facts)), f"""
2. THE REPOSITORY

Paste this into a shell of a machine with restic ({facts["tools"].get("restic", "0.14")} wrote it):

{_exports(facts["repository"])}
restic snapshots --tag {_tag(instance)}

Keys that ssh or a cloud's tools read from files of their own are not in this kit.

3. KEYS AND PASSWORDS OF KESTRA

Without them restored executions, secrets and users cannot be read.
"""]
    for name, host in facts["hosts"].items():
        parts.append(f"Host {name}:\n")
        parts += [f"  {key}: {json.dumps(value, ensure_ascii=False, sort_keys=True)}\n"
                  for key, value in host["settings"].items()]
        parts += [f"  environment {key}={shlex.quote(value)}\n" for key, value in host["environment"].items()]
        parts.append(f"  files in the recovery point: {', '.join(host['files']) or 'none'}\n"
                     f"  plugins: {', '.join(host['plugins']) or 'none'}\n")
    parts.append(f"""
4. RESTORE BY HAND

On a machine with restic, after the commands of section 2. Choose a recovery point from the tags (point=...):

{_CHOSEN}{facts["point"]}
TARGET=/restore
for component in manifest {' '.join(name for name in sorted(components) if components[name]["held"] == "vault")}; do
    restic restore latest --tag "{_tag(instance)},point=$POINT,component=$component" --target "$TARGET" || break
done

$TARGET/$POINT/manifest.json names every file of the dump with its sha256, and the rows of every table.
Kestra's configuration files come out of $TARGET/config/HOST.json:

python3 -c '
import base64, json, os, sys
for entry in json.load(open(sys.argv[1]))["files"]:
    path = sys.argv[2] + entry["path"]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(base64.b64decode(entry["content_b64"]))
    print(path, entry["mode"], entry["owner"], entry["group"])
' "$TARGET/config/HOST.json" /restore/files

""")
    parts.append("Install Kestra in the version above, and leave it stopped.\n\n")
    if database:
        parts.append(_DATABASES[database["engine"]](database) + "\n")
    if "search" in components:
        parts.append(_search(components["search"]) + "\n")
    if components.get("storage", {}).get("strategy") == "objects":
        parts.append(_BY_HAND[components["storage"]["engine"]])
    elif "storage" in components:
        parts.append(_directory(components["storage"]))
    return "".join(parts)


def _directory(storage) -> str:
    where = f'"$TARGET{storage["path"]}"'
    kept = ""
    if "kept" in storage:
        kept = f"""\
What changed in the storage while it was copied, as it was before:

tar -xpf "$TARGET/$POINT/{storage["kept"]["file"]}" -C {where}

"""
    return kept + f"Put {where} where kestra.storage.local.base-path says, with the owner it had, then start Kestra.\n"


def _tag(instance) -> str:
    return ",".join(points.tags(instance["name"], "", "")[:2])


def _identities(facts) -> list:
    kestra, components = facts["kestra"], facts["components"]
    versions = sorted({host["version"] for host in facts["hosts"].values() if host["version"]})
    rows = [("instance", f"{facts['instance']['name']}, id {facts['instance']['id']}"),
            ("Kestra", " ".join(str(kestra[key]) for key in ("version", "edition") if kestra.get(key))
             or ", ".join(versions) or "version not known"),
            ("repository", f"{facts['repository']['location']}, id {facts['repository']['id']}")]
    database = components.get("database")
    if database:
        identity = database["identity"]
        number = identity.get("system_identifier") or identity.get("server_uuid")
        rows.append(("database", f"{identity['database']} on {database['engine']} {identity['server_version']}"
                                 + (f", server {number}" if number else "")))
    rows += [(name, f"{component['engine']}, held: {component['held']}")
             for name, component in sorted(components.items()) if name != "database"]
    return rows


def _table(rows) -> list:
    return [f"\n{name:<12}{value}" for name, value in rows] + ["\n"]


def _exports(repository) -> str:
    values = {"RESTIC_REPOSITORY": repository["location"], "RESTIC_PASSWORD": repository["password"],
              **repository["environment"]}
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in values.items())


def _postgresql(database) -> str:
    identity = database["identity"]
    name, owner = shlex.quote(identity["database"]), shlex.quote(identity.get("owner") or "kestra")
    zone = shlex.quote(database.get("timezone") or "UTC")
    what = '"$TARGET/database"'
    if database["format"] != "directory":
        what = f'"$TARGET/database/{database["files"][0]["path"]}"'
    load = f"pg_restore --exit-on-error --no-owner --role={owner} -d {name} {what}"
    if database["format"] == "plain":
        load = f"psql --no-psqlrc --set=ON_ERROR_STOP=1 -d {name} -f {what}"
    return f"""\
The database, as a PostgreSQL superuser; the server must be {identity["server_version"].split(".")[0]} or newer:

createuser --login --pwprompt {owner}
createdb --owner={owner} {name}
PGTZ={zone} {load}
psql -d {name} -c ANALYZE
"""


def _mysql(database) -> str:
    name = shlex.quote(database["identity"]["database"])
    path = f'"$TARGET/database/{database["files"][0]["path"]}"'
    read = f"zstd -dc {path}" if database.get("compression") == "zstd" else f"cat {path}"
    return f"""\
The database, as root of MySQL; the server must be {database["identity"]["server_version"]} or newer. Then create the
account that the settings above name, and grant it everything on the database:

mysql -e 'CREATE DATABASE `{database["identity"]["database"]}`'
{read} | mysql {name}
"""


def _search(component) -> str:
    name, title = component["snapshot_name"], TITLES[component["identity"].get("product", ELASTICSEARCH)]
    if component["held"] == "external":
        kind, settings = component["repository"]["type"], dict(component["repository"]["settings"], readonly="true")
        where = f"Their snapshot\nis not in the vault but in {component['system']}; that place has to be reachable for every node,"
    else:
        kind, settings = "fs", {"location": "PLACE", "readonly": True}
        where = f"Put\n$TARGET{component['path']} below path.repo of every node, readable for its account, as PLACE,"
    place = shlex.quote(json.dumps({"type": kind, "settings": settings}))
    return f"""\
The indices, into {title} {component["identity"]["server_version"]} or newer of the same major version or the next. {where}
and with none of Kestra's indices there:

curl -X PUT "$ELASTICSEARCH/_snapshot/restored" -H 'Content-Type: application/json' \\
    -d {place}
curl -X POST "$ELASTICSEARCH/_snapshot/restored/{name}/_restore?wait_for_completion=true" -H 'Content-Type: application/json' \\
    -d '{{"indices": "{component["identity"]["index_prefix"]}*", "include_global_state": false}}'

Then, with the storage in place and before Kestra starts, fill its queue in Kafka, which holds nothing of the old one:

kestra sys-ee restore-queue --no-triggers-execution-id --config FILE
"""


_DATABASES = {"postgresql": _postgresql, "mysql": _mysql}
