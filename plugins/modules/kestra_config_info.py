#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_config_info
short_description: Read Kestra's configuration as a normalised description
version_added: 1.0.0
description:
  - Reads Kestra's configuration where it lies and merges it as Kestra does. Several files, several documents in a
    file, environment variables, C(${NAME:default}) placeholders, and camel, kebab and snake case keys are understood.
  - Returns which engines, hosts, paths and ports Kestra uses, and the names of the secrets it has. Values of secrets
    are not returned.
  - A backend this collection does not cover is refused by name, see O(require).
options:
  require:
    description:
      - Fail when one of these is of a kind the collection does not cover. With an empty list the module only describes.
      - V(database) stands for V(repository) and V(queue).
    type: list
    elements: str
    choices: [repository, queue, database, storage]
    default: [database, storage]
  kestra_version:
    description: Kestra's version, if known. Before 2.0 the types of repository and queue have to match.
    type: str
extends_documentation_fragment:
  - kestra_community.dr.kestra_config
  - kestra_community.dr.attributes
attributes:
  check_mode:
    support: full
    details: Nothing is ever changed.
  diff_mode:
    support: none
  idempotent:
    support: full
seealso:
  - module: kestra_community.dr.kestra_info
  - module: kestra_community.dr.kestra_config_bundle
author:
  - Kestra community DR contributors (@kestra-community)
"""

EXAMPLES = r"""
- name: Read the configuration of a systemd service, with everything its unit leads to
  kestra_community.dr.kestra_config_info:
    config:
      unit: kestra
  register: kestra

- name: Show where the data is
  ansible.builtin.debug:
    msg: "{{ kestra.configuration.database.host }}, {{ kestra.configuration.storage.base_path }}"

- name: Read two files and an environment file, without refusing anything
  kestra_community.dr.kestra_config_info:
    config:
      files:
        - /etc/kestra/application.yml
        - /etc/kestra/production.yml
      environment_files:
        - /etc/kestra/kestra.env
    require: []
"""

RETURN = r"""
configuration:
  description:
    - The normalised description. Keys that do not apply, or whose value cannot be resolved, are null.
  returned: success
  type: dict
  contains:
    repository_type:
      description: C(kestra.repository.type).
      type: str
      sample: postgres
    queue_type:
      description: C(kestra.queue.type).
      type: str
      sample: postgres
    engine:
      description: >-
        The engine that holds the data, V(postgresql), V(mysql), V(elasticsearch), V(h2), V(sqlserver) or V(memory).
      type: str
      sample: postgresql
    database:
      description: >-
        The JDBC target. Several hosts are joined by commas and also listed in C(hosts); C(password_set) only says that
        there is a password.
      type: dict
      sample:
        {driver: postgresql, datasource: postgres, host: db1, port: 5432, hosts: [[db1, 5432]], name: kestra,
         schema: public, user: kestra, password_set: true, params: {sslmode: verify-full}, ssl_mode: verify-full}
    elasticsearch:
      description: Hosts, index prefix and user, when it is the repository.
      type: dict
      sample: null
    kafka:
      description: Bootstrap servers and prefixes, when it is the queue.
      type: dict
      sample: null
    storage:
      description: Type and settings of the internal storage, and whether this version covers it.
      type: dict
      sample: {type: local, covered: true, base_path: /app/storage}
    secret_type:
      description: C(kestra.secret.type) (Enterprise Edition).
      type: str
      sample: null
    ports:
      description: Ports of the web server and of the management endpoints; null when they are chosen at random.
      type: dict
      sample: {server: 8080, management: 8081}
    context_path:
      description: C(micronaut.server.context-path).
      type: str
      sample: null
    urls:
      description: C(kestra.url), and where API and management port answer on Kestra's own host.
      type: dict
      sample: {kestra: "https://kestra.example.org/", api: "http://localhost:8080", management: "http://localhost:8081"}
    tenants:
      description: Tenant settings of the Enterprise Edition.
      type: dict
      sample: {enabled: null, fallback: null}
    server:
      description: Termination grace period, liveness settings and whether configuration files are deleted at start.
      type: dict
      sample:
        {termination_grace_period_seconds: 300.0, worker_task_restart_strategy: null, heartbeat_interval_seconds: null,
         timeout_seconds: null, delete_files_on_start: false}
    plugins:
      description: Where managed plugins are kept.
      type: dict
      sample: {local_repository_path: null, remote_storage: null}
    keys:
      description: Names of the settings that hold a secret.
      type: list
      elements: str
      sample: [datasources.postgres.password, kestra.encryption.secret-key]
    environment:
      description: Names of environment variables that hold secrets, or are handed to flows.
      type: dict
      sample: {secrets: [SECRET_API], variables: [ENV_STAGE], other_secrets: [DB_PASSWORD], variables_prefix: ENV_}
    sources:
      description: The files, the unit and the command all this was read from.
      type: dict
      sample:
        {files: [/etc/kestra/application.yml], overrides: [], command: server standalone, unit: kestra.service,
         unit_files: [/etc/systemd/system/kestra.service], environment_files: [], executable: /opt/kestra/kestra,
         user: kestra}
    warnings:
      description: What is odd, for instance a placeholder that cannot be resolved here.
      type: list
      elements: str
      sample: []
supported:
  description: Whether repository, queue and storage are all of a kind this version covers.
  returned: success
  type: bool
  sample: true
problems:
  description: What is not covered, each with C(component), C(type), C(reason), C(message) and C(hint).
  returned: success
  type: list
  elements: dict
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.core.secrets import Redactor
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import options

ARGUMENT_SPEC = {
    "config": options.CONFIG_SPEC,
    "require": {"type": "list", "elements": "str", "choices": ["repository", "queue", "database", "storage"],
                "default": ["database", "storage"]},
    "kestra_version": {"type": "str"},
}


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    redactor = Redactor()

    def body(module):
        configuration = options.configuration_from_params(module.params["config"])
        options.protect(module, configuration, redactor)
        version = module.params["kestra_version"]
        configuration.require_supported(module.params["require"], kestra_version=version)
        problems = configuration.problems(kestra_version=version)
        described = configuration.describe()
        for warning in described["warnings"]:
            module.warn(redactor.scrub(warning))
        return {"changed": False, "configuration": described, "supported": not problems, "problems": problems}

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
