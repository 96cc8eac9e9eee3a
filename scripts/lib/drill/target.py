# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kestra that is drilled: how it is reached and where its data lies, all from its configuration."""
from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import DrError
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import (
    buckets,
    config,
    env_file,
    sources,
)

from . import DrillError
from .bucket import Bucket

_PLACEHOLDER = re.compile(r"\$\{\s*([A-Za-z_][A-Za-z0-9_.]*)")
# What Kestra itself reads from its environment: overrides of its settings, secrets and variables of flows.
_KESTRA_VARIABLES = ("KESTRA_", "DATASOURCES_", "MICRONAUT_", "ENDPOINTS_", "SECRET_", "ENV_")


@dataclass
class Target:
    """One Kestra. scripts: {start, stop, status} paths; health_headers: basic auth of the management port, if any."""

    title: str
    config_files: list
    environment_files: list
    scripts: dict
    api_url: str
    health_url: str
    storage: Path | Bucket
    api_user: str | None = None
    api_password: str | None = field(default=None, repr=False)
    health_headers: dict = field(default_factory=dict, repr=False)
    credentials: dict = field(default_factory=dict, repr=False)


def relevant_environment(environment, text, file_keys) -> dict:
    """The variables of an environment that Kestra's configuration needs. Pure.

    text: of the configuration file; file_keys: the keys it sets, which win over variables as --config does.
    """
    named = set(_PLACEHOLDER.findall(text))
    taken = {config.env_name(key) for key in file_keys}
    return {
        name: value for name, value in environment.items()
        if name in named or (name.startswith(_KESTRA_VARIABLES) and config.env_name(name) not in taken)
    }


def environment_text(environment) -> str:
    """Variables in the syntax of systemd's EnvironmentFile."""
    return "".join(f"{name}={env_file.quote(value)}\n" for name, value in sorted(environment.items()))


def own_configuration(config_file, environment_file=None):
    """The Configuration of a file and of an environment file. Raises DrillError."""
    try:
        found = sources.gather(
            files=[str(config_file)], environment_files=[str(environment_file)] if environment_file else None
        )
        return config.load(found.sources)
    except DrError as error:
        raise DrillError(error.message, error.hint) from None


def credentials_of(configuration) -> dict:
    """How Kestra reaches its data; the key driver says what they are in."""
    if configuration.repository_type() == "elasticsearch":
        return dict(configuration.elasticsearch_credentials(), driver="elasticsearch")
    return configuration.database_credentials()


def describe(configuration, *, title, config_files, environment_files, scripts) -> Target:
    """The Target of a configuration. Raises DrillError for a Kestra that this collection does not cover."""
    try:
        configuration.require_supported()
        credentials, api = credentials_of(configuration), configuration.api_credentials()
        api_url, management = configuration.api_url(), configuration.management_url()
        if configuration.storage_type() in buckets.TYPES:
            settings = buckets.settings(configuration)
            if settings["kind"] != "s3":
                raise DrillError(f"Kestra's storage is a bucket of type {settings['type']}; the drill destroys and looks at those of S3 servers only.",
                                 "Rehearse with the playbooks: backup, then restore into another bucket.")
            storage = Bucket(settings)
        else:
            storage = Path(configuration.describe_storage()["base_path"])
    except DrError as error:
        raise DrillError(error.message, error.hint) from None
    if not api_url or not management:
        raise DrillError(
            "Kestra's ports are not fixed in its configuration.",
            "Set micronaut.server.port and endpoints.all.port, so that the drill can find it.",
        )
    headers = {}
    if api["management_user"]:
        token = base64.b64encode(f"{api['management_user']}:{api['management_password'] or ''}".encode()).decode()
        headers["Authorization"] = f"Basic {token}"
    return Target(
        title=title, config_files=list(config_files), environment_files=list(environment_files), scripts=scripts,
        api_url=api_url, health_url=management + "/health", storage=storage, api_user=api["user"],
        api_password=api["password"], health_headers=headers, credentials=credentials,
    )


def write_environment_file(path, environment, config_file) -> bool:
    """Writes what the configuration needs of the caller's environment to a 0600 file. False when it needs nothing."""
    text = Path(config_file).read_text("utf-8")
    keys = own_configuration(config_file).keys()
    wanted = relevant_environment(environment, text, keys)
    if not wanted:
        return False
    with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as handle:
        handle.write(environment_text(wanted))
    return True
