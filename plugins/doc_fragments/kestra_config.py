# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Kestra's configuration is. Kept in step with CONFIG_SPEC in plugins/module_utils/kestra/options.py."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  config:
    description:
      - Where Kestra's own configuration is read from, on the host the module runs on.
      - It is merged as Kestra merges it. In rising precedence these are the files of E(MICRONAUT_CONFIG_FILES) or the text
        of E(KESTRA_CONFIGURATION), O(config.files), environment variables, C(-D) properties of E(JAVA_OPTS), the file
        of C(--config) in the unit's start command, and options of that command.
      - Values of secrets are used where they are needed and never returned or logged.
    type: dict
    suboptions:
      files:
        description:
          - YAML files, weakest first. A later one overrides an earlier one, environment variables override all of them.
        type: list
        elements: path
      environment_files:
        description:
          - Files with the environment Kestra runs in, in the syntax of systemd's C(EnvironmentFile=). A later one wins.
        type: list
        elements: path
      environment:
        description:
          - Environment variables Kestra runs with, in addition to those found elsewhere; these win.
        type: dict
      text:
        description:
          - The text of E(KESTRA_CONFIGURATION), for instances that get their configuration from this variable.
        type: str
      unit:
        description:
          - A systemd unit, or the path of a unit file. Its environment, its environment files, C(--config) of its
            start command and what these lead to are read, with all drop-ins.
        type: str
      bundle:
        description:
          - A bundle written by M(kestra_community.dr.kestra_config_bundle), in place of the original files.
        type: path
"""
