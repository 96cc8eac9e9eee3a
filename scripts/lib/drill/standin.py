# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The laboratory of the role lab: a database server and the Kestra stand-in, made for the drill and lost by it."""
from __future__ import annotations

import getpass
import hashlib
import os
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

from . import DrillError, disaster, inventory
from .console import size, span
from .database import database_of
from .options import engine_of
from .target import describe, own_configuration

LAB_PLAYBOOK = Path(__file__).resolve().with_name("lab.yml")
# The account of each server that may do everything.
ADMINISTRATORS = {"postgresql": "postgres", "mysql": "root", "elasticsearch": "elastic"}
# Rows of all tables and files of the storage, as kestra-standin-fill takes them; 87 % of the rows are logs.
FILL = {"small": (2300, 60), "medium": (115_000, 2000), "large": (1_150_000, 20_000)}


def reachable(path) -> bool:
    """Whether another account could enter a directory (its own mode and that of all above it)."""
    path = Path(path).resolve()
    return all(one.stat().st_mode & 0o001 for one in (path, *path.parents) if one.exists())


def lab_directory(root, uid) -> Path:
    """Where the servers live. They do not run as root, so root's private home will not do."""
    root = Path(root)
    if uid or reachable(root.parent):
        return root / "lab"
    return Path("/var/lib") / f"kestra-dr-drill-{tag(root)}"


def tag(root) -> str:
    """Six hex digits that tell the laboratories of two lab directories apart."""
    return hashlib.sha256(str(root).encode()).hexdigest()[:6]


def free_ports(count) -> list:
    """Ports of the loopback address that are free now, all different."""
    held = [socket.create_server(("127.0.0.1", 0)) for _each in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def account(root, uid):
    """The account that root has made for the servers; None: our own."""
    return None if uid else f"kestra-drill-{tag(root)}"


# Of the Enterprise Edition the newest line that has everything the drill uses.
ENTERPRISE = "1.3.26"


def variables(directory, root, uid, python, ports, backend="postgresql", programs=None, edition="oss", s3_server=None) -> dict:
    """The variables of the role and of the playbooks. programs: directory of the backend's programs, if not the system's.
    s3_server: the program of the server in whose bucket the storage is, if it is to be in one."""
    engine = engine_of(backend)
    found = {
        "kestra_dr_lab_directory": str(directory), "kestra_dr_lab_python": str(python), "kestra_dr_lab_install": False,
        "kestra_dr_lab_started": False, "kestra_dr_lab_flows": False,
        "kestra_dr_lab_backend": engine, f"kestra_dr_lab_{engine}_port": ports[0],
        "kestra_dr_lab_kestra_port": ports[1], "kestra_dr_lab_kestra_management_port": ports[2],
        # Kestra's own account may not create or rename databases.
        "kestra_dr_database_admin_user": ADMINISTRATORS[engine],
        "kestra_dr_database_admin_password_file": str(directory / engine / "admin-password"),
    }
    if programs:
        found.update({f"kestra_dr_lab_{engine}_bin": programs, "kestra_dr_database_bin_dir": programs})
    if edition == "enterprise":
        found.update({
            "kestra_dr_lab_kestra_edition": "EE", "kestra_dr_lab_kestra_version": ENTERPRISE, "kestra_dr_drain_seconds": 3,
            "kestra_dr_cli": {"executable": str(directory / "bin" / "kestra")}})
    if s3_server:
        found.update({"kestra_dr_lab_s3_server": s3_server, "kestra_dr_lab_s3_port": ports[6]})
    if engine == "elasticsearch":
        return {**found, **search_variables(directory, ports), "kestra_dr_lab_elasticsearch_program": backend}
    user = account(root, uid)
    return dict(found, kestra_dr_lab_user=user) if user else found


def search_variables(directory, ports) -> dict:
    """What Elasticsearch and Kafka need besides. They run as we do, since their programs lie in our cache."""
    snapshots = directory / "elasticsearch" / "snapshots"
    return {
        "kestra_dr_lab_user": getpass.getuser(), "kestra_dr_lab_kestra_edition": "EE", "kestra_dr_lab_kestra_version": ENTERPRISE,
        "kestra_dr_lab_kafka_bin": os.environ.get("KDR_KAFKA_BIN", ""), "kestra_dr_lab_elasticsearch_transport_port": ports[3],
        "kestra_dr_lab_kafka_port": ports[4], "kestra_dr_lab_kafka_controller_port": ports[5],
        "kestra_dr_cli": {"executable": str(directory / "bin" / "kestra")}, "kestra_dr_flow_listeners_silence": 2,
        "kestra_dr_snapshot_location": str(snapshots / "kestra"),
        # What is verified goes beside Kestra's own indices.
        "kestra_dr_scratch_host": f"http://127.0.0.1:{ports[0]}", "kestra_dr_scratch_snapshot_location": str(snapshots),
        "kestra_dr_scratch_user": ADMINISTRATORS["elasticsearch"],
        "kestra_dr_scratch_password_file": str(directory / "elasticsearch" / "admin-password"),
    }


class StandIn:
    """The drill's side of the laboratory; see own.OwnKestra for the same on a user's Kestra."""

    def __init__(self, lab, options, *, playbooks, console, python, edition="oss"):
        self._lab, self._options, self._playbooks, self._console = lab, options, playbooks, console
        self._python, self._edition = python, edition
        self.directory = lab_directory(lab.root, os.geteuid())
        self.config = self.directory / "kestra" / "application.yml"
        self.environment_file = self.directory / "kestra" / "kestra.env"
        self._command = str(self.directory / "bin" / "kestra-server")
        self.target = None
        self.database = None
        self.aside = None

    def state(self) -> dict:
        """What a later run has to know to remove it."""
        return {"kind": "stand-in", "aside": None}

    def prepare(self, content=None) -> None:
        """Brings the servers up, fills them, writes the inventory. Kestra itself is not started yet.

        content: (rows, files) in place of those of the options' size.
        """
        if not os.geteuid() and self.directory.parent == self._lab.root:
            self._lab.root.chmod(0o711)
        begin = time.monotonic()
        ports = free_ports(7)
        engine = self._options.engine
        lab_variables = variables(
            self.directory, self._lab.root, os.geteuid(), self._python, ports, self._options.backend, os.environ.get("KDR_LAB_BIN"),
            self._edition, os.environ["KDR_S3_SERVER"] if self._options.storage == "s3" else None)
        scripts = {verb: f"{self._command} {verb}" for verb in ("start", "stop", "status")}
        extra = dict(lab_variables, kestra_dr_repository_password_file=str(self.directory / "restic-password"))
        structure = inventory.build(
            python=sys.executable, lab=self._lab, config_files=[self.config],
            environment_files=[self.environment_file], scripts=scripts, extra=extra,
        )
        inventory.write(self._lab.inventory, structure)
        self._playbooks.must("lab", {"drill_lab_entry": "present"}, playbook=LAB_PLAYBOOK)
        self.fill(*(content or FILL[self._options.size]))
        configuration = own_configuration(self.config, self.environment_file)
        self.target = describe(
            configuration, title="Kestra stand-in", config_files=[str(self.config)],
            environment_files=[str(self.environment_file)], scripts=scripts,
        )
        password = (self.directory / engine / "admin-password").read_text("utf-8").strip()
        self.database = database_of(
            dict(self.target.credentials, user=ADMINISTRATORS[engine], password=password))
        facts = self.database.facts()
        self._console.step(
            f"laboratory up in {span(time.monotonic() - begin)}: {self.database.title} {facts['version']}, "
            f"{facts['rows']:,} rows ({size(facts['bytes'])})"
        )

    def fill(self, rows, files, *, shape="kestra", seed="1", config=None) -> None:
        """Adds to what is there; config: of another database and storage than the laboratory's own."""
        user = None if self._options.engine == "elasticsearch" else account(self._lab.root, os.geteuid())
        self._console.working(f"filling {rows:,} rows and {files:,} files")
        become = f"setpriv --reuid={user} --regid=$(id -g {user}) --init-groups -- " if user else ""
        fill = shlex.join([
            str(self.directory / "standin" / "kestra-standin-fill"), "--config", str(config or self.config),
            "--rows", str(rows), "--files", str(files), "--shape", shape, "--seed", seed, "--quiet",
        ])
        script = f"set -eu; set -a; . {shlex.quote(str(self.environment_file))}; set +a; cd /; exec {become}{fill}"
        with open(self._lab.log, "ab") as log:
            done = subprocess.run(["sh", "-c", script], stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
        if done.returncode:
            raise DrillError("The laboratory's database could not be filled.", self._playbooks.tail())

    def running(self) -> bool:
        """Whether the stand-in runs."""
        return self._call("status") == 0

    def _call(self, verb) -> int:
        with open(self._lab.root / "kestra.log", "ab") as log:
            return subprocess.run(
                [self._command, verb], stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False).returncode

    def start(self) -> None:
        """Starts it; the caller waits for its health."""
        self._call("start")

    def stop(self) -> None:
        """Stops it and returns when it is down."""
        self._call("stop")

    def log_tail(self) -> str:
        """The end of the stand-in's own log."""
        path = self.directory / "kestra" / "kestra.log"
        try:
            lines = path.read_text("utf-8", "replace").splitlines()[-15:]
        except FileNotFoundError:
            lines = []
        return "\n".join([f"The last lines of {path}:", *("  | " + line[:300] for line in lines)])

    def plan_loss(self) -> str:
        """What the disaster will be."""
        if self._options.engine == "elasticsearch":
            return f"Kestra killed, {self.database.title} and Kafka lost with all they held, storage {self.target.storage} destroyed"
        return f"database {self.database.name} and storage {self.target.storage} destroyed while Kestra runs"

    def lose(self) -> None:
        """The disaster."""
        if self._options.engine == "elasticsearch":
            self._call("kill")
            self._playbooks.must("lab", {"drill_lab_entry": "destroy"}, playbook=LAB_PLAYBOOK)
            return
        disaster.destroy(self.database, self.target.storage)

    def after_verdict(self, _keep, _verified) -> list:
        """Nothing of a user's was touched."""
        return []

    def tear_down(self) -> None:
        """Removes the laboratory."""
        if self._lab.inventory.exists():
            remove(self._lab, self._playbooks)


def remove(lab, playbooks) -> None:
    """Stops the laboratory's servers and removes them, by the inventory they were made with."""
    playbooks.must("lab", {"drill_lab_entry": "absent"}, playbook=LAB_PLAYBOOK)
