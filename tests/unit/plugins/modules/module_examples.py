# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of the modules as ansible-doc shows them, for the tests that run them."""
from __future__ import annotations

import datetime
import importlib
import pkgutil

import yaml
from ansible_collections.kestra_community.dr.plugins import modules
from jinja2 import StrictUndefined
from jinja2.nativetypes import NativeEnvironment

PREFIX = "kestra_community.dr."
NAMES = sorted(found.name for found in pkgutil.iter_modules(modules.__path__))

_ENVIRONMENT = NativeEnvironment(undefined=StrictUndefined)
# What Ansible has and Jinja has not.
_ENVIRONMENT.filters["combine"] = lambda left, right: {**left, **right}
_ENVIRONMENT.globals["now"] = lambda utc: datetime.datetime.now(datetime.timezone.utc)


def load(name):
    """A module of the collection."""
    return importlib.import_module(modules.__name__ + "." + name)


def tasks(name):
    """The tasks of a module's EXAMPLES."""
    return yaml.safe_load(load(name).EXAMPLES)


def called(task):
    """(module of the collection, its options), or None for a task of another collection."""
    for key, options in task.items():
        if key.startswith(PREFIX):
            return key[len(PREFIX):], options
    return None


def render(value, variables):
    """A value of an example with its templates filled in. Raises jinja2.UndefinedError for a variable nobody gave."""
    if isinstance(value, dict):
        return {key: render(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [render(item, variables) for item in value]
    return _ENVIRONMENT.from_string(value).render(variables) if isinstance(value, str) and "{{" in value else value
