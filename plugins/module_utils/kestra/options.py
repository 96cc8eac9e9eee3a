# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Option groups about Kestra. Kept in step with plugins/doc_fragments/kestra_config.py and kestra_api.py."""
from __future__ import annotations

from . import client, config, sources, values

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

    AnsibleModule masks every value of the no_log option config.environment, also a host name or a path that the
    result has to show; those are released here, and the secrets found in files are added.
    """
    secrets = set(configuration.secrets())
    passed = ((module.params.get("config") or {}).get("environment") or {})
    public = {str(value) for name, value in passed.items()
              if not values.is_secret_key(str(name).replace("_", "-")) and not str(name).startswith("SECRET_")}
    module.no_log_values.difference_update(public - secrets)
    module.no_log_values.update(secret for secret in secrets if len(secret) >= 4)
    if redactor is not None:
        redactor.add(*secrets)


def api_settings(module, redactor):
    """client.Settings of a module with API_SPEC; its secrets are made known to module and redactor.

    Raises ConfigError for a bad address or an unreadable configuration; without config and api_url the client fails
    later, with a ConnectError that names the missing option.
    """
    configuration = None
    if given(module.params.get("config")):
        configuration = configuration_from_params(module.params["config"])
        protect(module, configuration, redactor)
    settings = client.settings_from_params(module.params, configuration)
    redactor.add(*settings.secrets())
    return settings
