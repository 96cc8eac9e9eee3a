# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Option groups about Kestra. Kept in step with plugins/doc_fragments/kestra_config.py and kestra_api.py."""
from __future__ import annotations

import dataclasses
import os

from ..core.errors import ConfigError
from . import cli, client, config, layers, sources, values

# Each module that takes this has one option `config` of this kind.
CONFIG_SPEC = {
    "type": "dict",
    "options": {
        "files": {"type": "list", "elements": "path"},
        "environment_files": {"type": "list", "elements": "path"},
        "environment": {"type": "dict", "no_log": True},
        "text": {"type": "str", "no_log": True},
        "unit": {"type": "str"},
        "bundle": {"type": "path"},
    },
}

API_SPEC = {
    "api_url": {"type": "str"},
    "management_url": {"type": "str"},
    "api_user": {"type": "str"},
    "api_password": {"type": "str", "no_log": True},
    "api_token": {"type": "str", "no_log": True},
    "tenant": {"type": "str"},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "api_timeout": {"type": "float", "default": 10.0},
    "config": CONFIG_SPEC,
}


def given(params) -> bool:
    """Whether the option `config` names anything."""
    return any((params or {}).values())


def gather_from_params(params) -> sources.Gathered:
    """Reads what the option `config` names. params: its value (dict or None). Raises ConfigError."""
    params = params or {}
    return sources.gather(**{name: params.get(name) for name in CONFIG_SPEC["options"]})


def configuration_from_params(params) -> config.Configuration:
    """The Configuration the option `config` leads to. Raises ConfigError (config_missing when it names nothing)."""
    return config.load(gather_from_params(params).sources)


def protect(module, configuration, redactor=None) -> None:
    """Makes module (an AnsibleModule) and redactor mask exactly the secrets of configuration.

    AnsibleModule masks every value of the no_log options config.environment and cli.environment, also a host name or a path that the
    result has to show; those are released here, and the secrets found in files are added.
    """
    secrets = set(configuration.secrets())
    passed = {name: value for option in ("config", "cli")
              for name, value in ((module.params.get(option) or {}).get("environment") or {}).items()}
    public = {str(value) for name, value in passed.items()
              if not values.is_secret_key(str(name).replace("_", "-")) and not str(name).startswith("SECRET_")}
    module.no_log_values.difference_update(public - secrets)
    module.no_log_values.update(secret for secret in secrets if len(secret) >= 4)
    if redactor is not None:
        redactor.add(*secrets)


def read_of(module, redactor):
    """The Configuration of a module with the option `config`, its secrets made known to module and redactor; None where
    nothing names one. Raises ConfigError."""
    if not given(module.params.get("config")):
        return None
    configuration = configuration_from_params(module.params["config"])
    protect(module, configuration, redactor)
    return configuration


def api_settings(module, redactor):
    """client.Settings of a module with API_SPEC; its secrets are made known to module and redactor.

    Raises ConfigError for a bad address or an unreadable configuration; without config and api_url the client fails
    later, with a ConnectError that names the missing option.
    """
    configuration = read_of(module, redactor)
    settings = client.settings_from_params(module.params, configuration)
    redactor.add(*settings.secrets())
    return settings


def reached_cli(module, redactor):
    """(cli.Cli, Configuration as that command line reads it, None where nothing names one) of a module with the
    options `cli` and `config`. Its secrets are made known to module and redactor. Raises ConfigError."""
    params, gathered = module.params["cli"], None
    if given(module.params.get("config")):
        if params["method"] == "host" and module.params["config"].get("bundle"):
            raise ConfigError("Kestra's command line cannot read a bundle.", reason="cli_options",
                              hint="Restore the bundle's files first (kestra_config_restore) and name those.")
        gathered = gather_from_params(module.params["config"])
    at = cli.place(params, gathered, root=os.geteuid() == 0)
    read = gathered.sources if gathered else layers.Sources()
    read = dataclasses.replace(read, environment={**read.environment, **at.environment})
    known = gathered is not None
    if at.method == "host" and params["config_file"]:
        text = sources.read_bytes(params["config_file"], "configuration file").decode("utf-8-sig", "replace")
        read, known = dataclasses.replace(read, overrides=(layers.Layer(params["config_file"], text),)), True
    configuration = config.load(read)
    protect(module, configuration, redactor)
    line = cli.Cli(at, redactor, params["timeout"], lambda text: module.warn(redactor.scrub(text)))
    return line, configuration if known else None


def encryption_key(params, redactor):
    """The key of the options encryption_key and encryption_key_file, or None. Raises ConfigError."""
    key = params["encryption_key"]
    if params["encryption_key_file"]:
        raw = sources.read_bytes(params["encryption_key_file"], "key file")
        key = raw.decode("utf-8", "replace").strip()
        if not key:
            raise ConfigError(f"The key file {params['encryption_key_file']} is empty.", reason="bad_key")
    redactor.add(key)
    return key
