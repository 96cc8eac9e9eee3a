# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an escrow kit is kept. Must be kept in sync with plugins/doc_fragments/escrow_place.py."""
from __future__ import annotations

from dataclasses import dataclass

from ..core import places
from ..core.errors import ConfigError, DrError, RefusedError
from ..storage.objects import client, failures
from ..storage.objects import options as object_options
from ..storage.objects.listing import Entry
from . import options

# What AnsibleModule is to check of these options and those of the repository.
CONSTRAINTS = {
    "required_one_of": options.REQUIRED_ONE_OF,
    "mutually_exclusive": options.MUTUALLY_EXCLUSIVE + [("sftp_host", "s3_bucket")],
    "required_together": [("sftp_host", "sftp_user", "sftp_key_file", "sftp_known_hosts")],
    "required_by": {name: ["s3_bucket"] for name in ("s3_endpoint", "s3_region", "s3_credentials_file", "s3_ca_path")}}


def argument_spec() -> dict:
    """The options of every module that looks at a kit."""
    return {
        "path": {"type": "path", "required": True},
        "max_age_days": {"type": "int", "default": 30},
        "sftp_host": {"type": "str"},
        "sftp_port": {"type": "int", "default": 22},
        "sftp_user": {"type": "str"},
        "sftp_key_file": {"type": "path", "no_log": False},
        "sftp_known_hosts": {"type": "path"},
        "s3_bucket": {"type": "str"},
        "s3_endpoint": {"type": "str"},
        "s3_region": {"type": "str"},
        "s3_credentials_file": {"type": "path", "no_log": False},
        "s3_ca_path": {"type": "path"},
    }


@dataclass(frozen=True)
class InBucket:
    """An object of a bucket, as the places of core.places. place: an object_options.Place."""

    path: str
    place: object_options.Place

    @property
    def shown(self) -> str:
        return f"s3://{self.place.bucket}/{self.path} at {self.place.shown}"

    def read(self):
        """The content, or None when there is none. Raises DrError."""
        content = bytearray()

        def sink(block):
            content.extend(block)
            places.limited(content, self.shown)

        with client.opened(self.place) as bucket:
            try:
                bucket.read(Entry(self.path, 0, "", ""), sink, same=False)
            except DrError as exc:
                if exc.reason == failures.GONE:
                    return None
                raise
        return bytes(content)

    def write(self, data: bytes) -> None:
        """Replaces it: the server takes it whole or not at all, and checks what it got. Raises DrError."""
        with client.opened(self.place) as bucket:
            bucket.put(Entry(self.path, len(data), "", "", headers={"ContentType": "application/octet-stream"}), data)


def of_module(module, redactor):
    """The place that the options of a module name. Raises ConfigError."""
    params = module.params
    if params["s3_bucket"]:
        known = {name: option.get("default") for name, option in object_options.argument_spec().items()}
        known.update({name: params["s3_" + name] for name in ("bucket", "endpoint", "region", "credentials_file", "ca_path")},
                     patience=60.0)
        path = params["path"].lstrip("/")
        if not path:
            raise ConfigError("path names no object.", reason="bad_path")
        return InBucket(path, object_options.of_module(module, redactor, known))
    if not params["path"].startswith("/"):
        raise ConfigError("path must be absolute.", reason="bad_path")
    if not params["sftp_host"]:
        return places.Local(params["path"])
    return places.Sftp(params["path"], host=params["sftp_host"], port=params["sftp_port"], user=params["sftp_user"],
                       key_file=params["sftp_key_file"], known_hosts=params["sftp_known_hosts"])


def require_apart(place, vault, repository) -> None:
    """Raises RefusedError when the kit would be lost together with what it is for."""
    if isinstance(place, InBucket):
        if repository.startswith("s3:") and f"/{place.place.bucket}/" in repository.rstrip("/") + "/":
            raise _not_apart(place.shown, f"the repository ({repository})", "another bucket, of another account")
        return
    if not isinstance(place, places.Local):
        return
    here = repository if repository.startswith("/") else None
    for directory, what in ((vault, "the vault"), (here, "the repository")):
        if directory and places.inside(place.path, directory):
            raise _not_apart(place.path, f"{what} ({directory})", "another disk, another machine")


def _not_apart(shown, where, elsewhere) -> RefusedError:
    return RefusedError(f"{shown} lies in {where}, and would be lost with it.", reason="not_apart",
                        hint=f"Name a place elsewhere: {elsewhere}.")
