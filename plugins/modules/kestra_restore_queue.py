#!/usr/bin/python
# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fills Kestra's queue in Kafka from the restored repository."""
from __future__ import annotations

DOCUMENTATION = r"""
module: kestra_restore_queue
short_description: Fill Kestra's queue in Kafka from its repository after a restore (Enterprise Edition)
version_added: 1.0.0
author:
  - Kestra community DR contributors (@kestra-community)
description:
  - Runs C(kestra sys-ee restore-queue) of Kestra's Enterprise Edition, which drops topics, makes them again and sends all
    flows, triggers, namespaces and the like from the repository, reads what was sent, and compares it with the ends of the
    topics. Then it runs C(restore-flow-listeners) and C(reset-concurrency-limit) where the version has them.
  - It belongs after the restore of the indices and before the start of Kestra. Kestra must not run meanwhile, on no
    host, which is proved at Kafka. Nobody may be in its consumer groups.
  - Executions are never sent. What was under way exists in Kafka alone, so with a new Kafka it stays where it was in the
    repository and never goes on by itself. See M(kestra_community.dr.kafka_inventory_info).
  - Topics of an older life of Kestra that the command does not drop would let Kestra go on with executions the restored
    repository does not know, see O(leftovers).
  - After a failure it may be run again. It begins anew, and nothing comes twice. When the commands that follow have failed,
    it takes O(leftovers=delete).
extends_documentation_fragment:
  - kestra_community.dr.attributes
  - kestra_community.dr.kestra_cli
  - kestra_community.dr.kestra_config
  - kestra_community.dr.kafka
  - kestra_community.dr.job
attributes:
  check_mode:
    support: full
    details:
      - Asks the command line for its version and Kafka for what it holds, and returns the plan.
      - It does not ask the command line for its options, since that would boot Kestra, which makes the indices that are
        missing and so stands in the way of their restore.
  diff_mode:
    support: none
  idempotent:
    support: partial
    details: Every run drops and sends again, unless O(job_dir) holds the result of a finished run with the same options.
options:
  leave_out:
    description: What is not sent (C(--no-flows) and the like). What the version has no option for is refused.
    type: list
    elements: str
    choices: [flows, templates, triggers, namespaces, tenants]
    default: []
  recreate:
    description: Whether the topics are dropped first. V(false) is C(--no-recreate), and adds to what is there.
    type: bool
    default: true
  forget_trigger_executions:
    description:
      - Whether triggers forget the execution they wait for (C(--no-triggers-execution-id), where the version has it).
      - Such an execution does not go on in a new Kafka, and its trigger would wait for ever.
    type: bool
    default: true
  leftovers:
    description:
      - What to do when Kafka holds topics of Kestra with records that C(restore-queue) does not drop.
      - V(refuse) does nothing at all. V(delete) deletes all of Kestra's topics and consumer groups first, by their names;
        Kestra makes them again. V(keep) leaves them.
    type: str
    choices: [refuse, delete, keep]
    default: refuse
  cluster_id:
    description:
      - Id of the Kafka cluster the recovery point was taken with. With it, a new cluster is recognised.
    type: str
  members_timeout:
    description:
      - Seconds to wait for the last members to leave Kestra's consumer groups. A Kestra that was killed stays in them until
        its session ends, by default 45 s.
      - Check mode does not wait.
    type: float
    default: 60.0
  flow_listeners:
    description: Whether C(restore-flow-listeners) follows, where the version has it.
    type: bool
    default: true
  flow_listeners_silence:
    description:
      - Seconds without a flow after which C(restore-flow-listeners) takes itself for done (its C(--timeout)); nothing
        tells it the end. Default is Kestra's, a minute.
    type: int
  concurrency_limit:
    description: Whether C(reset-concurrency-limit) follows, where the version has it.
    type: bool
    default: true
  state_directories:
    description:
      - State directories of Kafka Streams on the host the module runs on (Kestra's C(state.dir), by default
        C(/tmp/kafka-streams)). When Kafka is new or its topics were deleted, the directories of Kestra's applications
        in them are removed; everything else in them stays.
      - Executors on other hosts need the same, see M(kestra_community.dr.kafka_streams_state).
    type: list
    elements: path
    default: []
seealso:
  - module: kestra_community.dr.kafka_inventory_info
"""

EXAMPLES = r"""
- name: Fill a new Kafka after the indices are restored, with the configuration and user of the service
  kestra_community.dr.kestra_restore_queue:
    cluster_id: "{{ manifest.components.queue.cluster_id }}"
    state_directories: [/var/lib/kestra/kafka-streams]
    config:
      unit: kestra

- name: Begin anew in the old Kafka, whose topics know a future that the restored indices do not
  kestra_community.dr.kestra_restore_queue:
    leftovers: delete
    job_dir: /var/lib/kestra-dr/jobs/queue
    cli:
      method: container
      image: kestra-ee:v1.3.26
      server_version: 1.3.26
      run_options: [--network=kestra_default, --env-file=/etc/kestra/kestra.env]
    bootstrap_servers: [kafka.example.org:9092]

- name: The same for a Kestra in Kubernetes that is scaled to 0, by a pod that may reach Kafka as Kestra does
  kestra_community.dr.kestra_restore_queue:
    leftovers: delete
    cli:
      method: kubernetes
      namespace: kestra
      workload: deployment/kestra-executor
      pod_labels:
        app.kubernetes.io/name: kestra
    bootstrap_servers: [kafka.example.org:9092]
"""

RETURN = r"""
sent:
  description: Number of records sent of each kind, as Kestra tells.
  type: dict
  returned: success, not in check mode
  sample: {flows: 31, templates: 0, triggers: 12, namespaces: 4, tenants: 1}
topics:
  description: Kestra's topics after C(restore-queue), with the number of their records.
  type: dict
  returned: success, not in check mode
  sample: {kestra_flow: 31, kestra_trigger: 12}
cluster_id:
  description: Id of the Kafka cluster.
  type: str
  returned: success, not in check mode
  sample: PiI-ret1SQu3ebNtLzG1Mg
new:
  description: Whether that is another cluster than O(cluster_id), or one without anything of Kestra's. Null when nothing tells.
  type: bool
  returned: success, not in check mode
deleted:
  description: Topics deleted for O(leftovers).
  type: list
  elements: str
  returned: success, not in check mode
followed:
  description: The commands that followed.
  type: list
  elements: str
  returned: success, not in check mode
  sample: [restore-flow-listeners, reset-concurrency-limit]
wiped:
  description: The directories of Kafka Streams that were removed.
  type: list
  elements: str
  returned: success, not in check mode
  sample: [/var/lib/kestra/kafka-streams/kestra_executor]
seconds:
  description: How long it took.
  type: float
  returned: success, not in check mode
plan:
  description: What was found before, and what follows from it. C(leftovers) are topics of an older life.
  type: dict
  returned: success
  sample:
    cli: {method: host, in: null, executable: /opt/kestra/kestra, config_file: null, user: kestra}
    kestra_version: 1.3.26
    kafka: kafka1.example.org:9092
    cluster_id: PiI-ret1SQu3ebNtLzG1Mg
    new: true
    leftovers: []
    delete: []
    wipe: [/var/lib/kestra/kafka-streams/kestra_executor]
    leave_out: []
    recreate: true
    warnings: []
reattached:
  description: Whether the result is that of an earlier run with the same O(job_dir).
  type: bool
  returned: success, not in check mode
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.kestra_community.dr.plugins.module_utils.core import jobs, wiring
from ansible_collections.kestra_community.dr.plugins.module_utils.engines import facts
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.kafka import options, refill
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import cli, restore_queue
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import options as kestra_options

ARGUMENT_SPEC = {
    **cli.argument_spec(), **options.argument_spec(), **jobs.argument_spec(),
    "leave_out": {"type": "list", "elements": "str", "choices": list(restore_queue.KINDS), "default": []},
    "recreate": {"type": "bool", "default": True},
    "forget_trigger_executions": {"type": "bool", "default": True},
    "leftovers": {"type": "str", "choices": list(refill.LEFTOVERS), "default": refill.REFUSE},
    "cluster_id": {"type": "str"},
    "members_timeout": {"type": "float", "default": 60.0},
    "flow_listeners": {"type": "bool", "default": True},
    "flow_listeners_silence": {"type": "int"},
    "concurrency_limit": {"type": "bool", "default": True},
    "state_directories": {"type": "list", "elements": "path", "default": []},
}
ASKED = ("leave_out", "recreate", "forget_trigger_executions", "leftovers", "cluster_id", "flow_listeners",
         "concurrency_limit", "state_directories")


def refill_of(module, redactor):
    """(Refill, its command line, what tells it from another one) of the module's options."""
    params = module.params
    line, configuration = kestra_options.reached_cli(module, redactor)
    place = options.of_module(module, redactor, configuration)
    request = restore_queue.Request(tuple(params["leave_out"]), params["recreate"], params["forget_trigger_executions"])
    wanted = zip(restore_queue.FOLLOWERS, ("flow_listeners", "concurrency_limit"))
    chosen = refill.Options(
        params["leftovers"], params["cluster_id"] or None, params["members_timeout"],
        tuple(name for name, option in wanted if params[option]), params["flow_listeners_silence"],
        tuple(params["state_directories"]))
    question = {**{name: params[name] for name in ASKED}, "cli": line.at.shown(), "kafka": place.fingerprint()}
    return refill.Refill(line, place, request, chosen, params["cli"]["server_version"]), line, question


def main():
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True,
                           mutually_exclusive=options.MUTUALLY_EXCLUSIVE)
    redactor = facts.FactRedactor()

    def body(module):
        run, line, question = refill_of(module, redactor)
        if module.check_mode:
            with line:
                result = {"changed": True, "plan": run.plan()}
        else:
            job = jobs.Job(module.params["job_dir"], "kestra_restore_queue", jobs.fingerprint_of(question), redactor)
            with line:
                result = job.run(lambda progress: facts.trust(module, run.run(progress)))
            result = dict(result, changed=not result["reattached"])
        for warning in result["plan"]["warnings"]:
            module.warn(warning)
        return facts.trust(module, result)

    wiring.run(module, body, redactor)


if __name__ == "__main__":
    main()
