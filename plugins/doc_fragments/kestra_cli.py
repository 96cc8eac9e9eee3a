# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Kestra's server CLI is reached. Must be kept in sync with argument_spec() in module_utils/kestra/cli.py."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  cli:
    description:
      - How Kestra's server command line is reached from the host the module runs on.
      - It works on the database, the queue and the storage itself, not through the API, so it needs Kestra's
        configuration and a way to all of them.
      - Every command boots Kestra, also one that only prints its help, and that migrates the database to the version of
        the command line (unless migrations are off, as by default in Enterprise 2.0). Its version is therefore asked
        first, without any configuration, and has to be the server's.
      - A second Java machine runs beside the server; leave memory for it.
    type: dict
    suboptions:
      method:
        description:
          - V(host) runs it on this host, with what O(config) says of Kestra's environment, files and user.
          - V(container) runs it in the container Kestra runs in (O(cli.container)), or in one of its own (O(cli.image)).
          - V(kubernetes) runs it by C(kubectl exec) in the pod Kestra runs in (O(cli.pod)), or in one of its own
            (O(cli.workload)).
        type: str
        choices: [host, container, kubernetes]
        default: host
      executable:
        description:
          - Path of the executable. On a host the default is the one O(config.unit) starts, else V(kestra) in the search
            path; elsewhere it is V(/app/kestra).
          - A shell starts it, because Kestra's executable needs one.
        type: str
      config_file:
        description:
          - File for C(--config), where the command line runs. Default on a host is the one O(config.unit) has.
          - What else O(config) names reaches it by E(MICRONAUT_CONFIG_FILES), E(KESTRA_CONFIGURATION) and the rest of
            the environment.
        type: str
      java_options:
        description:
          - Options of the Java machine (E(JAVA_OPTS)), in place of the server's, for example V(-Xmx512m).
          - Kestra's launcher puts them on a command line; no secrets here.
        type: str
      environment:
        description: Environment variables, in addition to those of O(config). Values are never put on a command line.
        type: dict
      user:
        description:
          - User to run as. On a host it takes root, and the default is then the user of O(config.unit). In a container
            the default is the image's.
          - Files in a local storage will belong to this user, so it has to be the one Kestra runs as.
        type: str
      server_version:
        description:
          - Version of the server, as M(kestra_community.dr.kestra_info) returns it. A command line of another version
            is refused.
          - It may be left out where the command line is the server's own, which is the executable that O(config.unit)
            starts, the container or pod Kestra runs in, or one with the image of O(cli.workload). After an upgrade
            without a restart that is not enough.
        type: str
      timeout:
        description:
          - Seconds a command may take.
          - In a container or pod that Kestra runs in the command may go on when it is given up here. It ends with a pod
            of its own.
        type: float
        default: 3600.0
      engine:
        description: The program for O(cli.method=container).
        type: str
        choices: [docker, podman]
        default: docker
      container:
        description: Name of the running container Kestra is in.
        type: str
      image:
        description:
          - Image for a container of its own, for a Kestra that is stopped. It has to be the server's image.
          - It gets nothing of the server's container by itself; see O(cli.run_options) and O(cli.environment).
        type: str
      run_options:
        description:
          - Options of C(run) for O(cli.image), for example V(--volumes-from=kestra), V(--network=kestra_default) and
            V(--env-file=/etc/kestra/kestra.env).
        type: list
        elements: str
        default: []
      namespace:
        description: Kubernetes namespace. Default is that of the kubectl context.
        type: str
      pod:
        description: Name of the running pod Kestra is in, or for example V(deployment/kestra-standalone).
        type: str
      workload:
        description:
          - V(deployment/NAME) or V(statefulset/NAME) that Kestra runs as, for a pod of its own for a Kestra that is stopped
            (scaled to 0).
          - A Job makes the pod from the workload's pod template, with its image, environment, volumes, accounts, init
            containers and all that is beside Kestra. For a StatefulSet the volumes are those of its first pod. In place of
            Kestra's server a program waits in it, and commands and files reach it as they reach a running pod, so no
            secrets are added to the Job.
          - The pod is made for the first command, used for all of the module's, also in check mode, and deleted at the end,
            whatever it is. Where the module is killed, Kubernetes ends the Job when six commands have had their
            O(cli.timeout); until then the next run is refused.
          - It has the labels of the template but those by which the workload finds its pods, and never becomes ready, so
            nothing is sent to it.
          - The account needs to C(get) the workload, to C(create), C(get), C(list), C(watch) and C(delete) C(jobs), to
            C(get) and C(list) C(pods), to C(create) C(pods/exec), and should C(list) C(events).
        type: str
      pod_container:
        description:
          - Kestra's container in the pod. Default is the pod's default container. With O(cli.workload) that has to be
            annotated when there are several.
        type: str
      pod_labels:
        description:
          - More labels for the pod of O(cli.workload), for example those by which a network policy lets Kestra through to its
            database.
        type: dict
        default: {}
      pod_timeout:
        description:
          - Seconds until the pod of O(cli.workload) has to run. Finding a node and pulling the image are part of it.
        type: float
        default: 300.0
      kubeconfig:
        description: File with the access to the cluster. Default is kubectl's.
        type: path
      kube_context:
        description: Context of that file. Default is the current one.
        type: str
notes:
  - In containers and pods the variables reach Kestra by the environment of C(docker) or C(podman), or by the standard
    input of C(kubectl exec), never by arguments. A variable's value that holds a line break works as well.
"""
