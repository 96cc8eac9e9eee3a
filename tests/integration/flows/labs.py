# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Laboratories for the flow tests, one for each database, and the playbooks run on them as a user runs them."""
from __future__ import annotations

import base64
import contextlib
import json
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psycopg
import pymysql
from ansible_collections.kestra_community.dr.tests.integration.flows.secret_watch import Watch
from ansible_collections.kestra_community.dr.tests.integration.object_storage import azure_server
from ansible_collections.kestra_community.dr.tests.integration.processes import processes

# What starts the playbooks: ansible-playbook, or ansible-runner as AWX does.
LAUNCHER = os.environ.get("KESTRA_DR_LAUNCHER", "ansible-playbook")
ROOT = Path(__file__).resolve().parents[3]
# Every flow of every test runs with secrets like these: quotes, %, @, :, blanks, backslashes, a dollar, not ASCII.
CORES = {"database password": "hushDb7QxLm2", "administrator's password": "hushAdm9TkWp4", "repository password": "hushRep3VbNz8",
         "secret of a flow": "hushFlw5YcRd6"}
SECRETS = {name: f"""{core} it's "50%" @home:é/\\ $x&{{{{ü}}}}""" for name, core in CORES.items()}


def free_ports(count):
    """Ports nobody listens on at the moment."""
    sockets = [socket.socket() for _number in range(count)]
    try:
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return [item.getsockname()[1] for item in sockets]
    finally:
        for item in sockets:
            item.close()


class Run:
    """How a playbook ended."""

    def __init__(self, rc, output, stats):
        self.rc = rc
        self.output = output
        self.stats = stats

    @property
    def report(self):
        """What the flow handed over with set_stats, as AWX gets it."""
        return self.stats["kestra_dr_report"]

    def ok(self):
        assert self.rc == 0, self.output[-6000:]
        return self

    def failed(self, *words):
        """It failed, and told these words."""
        assert self.rc != 0, self.output[-6000:]
        told = re.sub(r"\s+", " ", self.output)
        for word in words:
            assert word in told, f"{word!r} is not in\n{self.output[-6000:]}"
        return self


class Lab:
    """A database server, the stand-in, a repository, and an inventory for them, all below one directory."""

    # The name of the engine, of Kestra's type of it, and of the account that may do everything.
    engine = kind = administrator = ""

    def __init__(self, directory: Path):
        self.directory = directory
        self.lab = directory / "lab"
        self.vault = directory / "state" / "vault"
        self.repository = directory / "repository"
        self.database_port, self.port, self.management = free_ports(3)
        self.inventory = directory / "inventory.ini"
        self.collections = directory / "collections"
        namespace = self.collections / "ansible_collections" / "kestra_community"
        namespace.mkdir(parents=True)
        (namespace / "dr").symlink_to(ROOT)
        for name in ("home", "tmp"):
            (directory / name).mkdir()
        self.watch = Watch(CORES)
        self.played = set()
        ctl = self.lab / "bin" / "kestra-server"
        self.variables = {
            "kestra_dr_python": sys.executable,
            "kestra_dr_state_dir": str(directory / "state"),
            "kestra_dr_runtime_dir": str(directory / "run"),
            "kestra_dr_repository": str(self.repository),
            "kestra_dr_repository_password_file": str(self.lab / "restic-password"),
            "kestra_dr_manager": "command",
            "kestra_dr_start_command": f"{ctl} start",
            "kestra_dr_stop_command": f"{ctl} stop",
            "kestra_dr_status_command": f"{ctl} status",
            "kestra_dr_config_files": [str(self.lab / "kestra" / "application.yml")],
            "kestra_dr_config_environment_files": [str(self.lab / "kestra" / "kestra.env")],
            "kestra_dr_max_downtime": 240,
            "kestra_dr_database_admin_user": self.administrator,
            "kestra_dr_database_admin_password_file": str(self.admin_password_file),
            "kestra_dr_lab_directory": str(self.lab),
            "kestra_dr_lab_python": sys.executable,
            "kestra_dr_lab_install": False,
            "kestra_dr_lab_kestra_user": pwd.getpwuid(os.getuid()).pw_name,
            "kestra_dr_lab_backend": self.engine,
            f"kestra_dr_lab_{self.engine}_port": self.database_port,
            "kestra_dr_lab_kestra_port": self.port,
            "kestra_dr_lab_kestra_management_port": self.management,
            "kestra_dr_lab_started": False,
            "kestra_dr_lab_kestra_settings": {
                "kestra": {"server": {"termination-grace-period": "5s"}},
                "datasources": {self.kind: {"url": self.jdbc_url("kestra")}}},
            **self.engine_variables(),
        }
        self.write_inventory()

    @property
    def admin_password_file(self):
        return self.lab / self.engine / "admin-password"

    @property
    def admin_password(self):
        return self.admin_password_file.read_text().rstrip("\n")

    def engine_variables(self):
        """What this engine needs besides."""
        return {}

    def jdbc_url(self, database):
        """Kestra's URL of a database: TLS only."""
        raise NotImplementedError

    def harden_server(self):
        """TLS only for Kestra's account, and SECRETS as passwords."""
        raise NotImplementedError

    def sql(self, statement, database="kestra"):
        """Asks the lab's server as its administrator."""
        raise NotImplementedError

    def contents(self, database="kestra"):
        """Every row of every table as a digest: what was there, independent of our own code."""
        raise NotImplementedError

    def identity(self):
        """What stays the same as long as nobody replaces Kestra's database."""
        raise NotImplementedError

    def server_processes(self):
        """The process ids of the database server, its first one in front."""
        raise NotImplementedError

    def harden(self):
        """What managed services ask for, and what people choose: TLS only for Kestra's account, and awkward secrets."""
        self.harden_server()
        for name, file in (("database password", self.lab / "kestra" / "database-password"),
                           ("administrator's password", self.admin_password_file),
                           ("repository password", self.lab / "restic-password")):
            file.write_text(SECRETS[name] + "\n")
        environment = self.lab / "kestra" / "kestra.env"
        kept = [line for line in environment.read_text().splitlines() if not line.startswith("KESTRA_LAB_DATABASE_PASSWORD=")]
        environment.write_text("\n".join([*kept, f"KESTRA_LAB_DATABASE_PASSWORD={quoted(SECRETS['database password'])}",
                                          f"SECRET_TOKEN={quoted(SECRETS['secret of a flow'])}"]) + "\n")

    def write_inventory(self, hosts=("k1",), known=None):
        """The inventory of the instance. known: its variables, those of the lab unless given."""
        known = known or self.variables
        lines = ["[kestra]"] + [f"{host} ansible_connection=local ansible_python_interpreter={sys.executable}" for host in hosts]
        lines += ["[kestra:vars]"] + [f"{key}={json.dumps(value)}" if not isinstance(value, str) else f"{key}={value}"
                                      for key, value in known.items()]
        self.inventory.write_text("\n".join(lines) + "\n")

    def environment(self, **more):
        env = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
        # The job files of the tests are their own, so that labs beside each other cannot meet.
        env.update(ANSIBLE_COLLECTIONS_PATH=str(self.collections), ANSIBLE_NOCOLOR="1", ANSIBLE_SHOW_CUSTOM_STATS="1",
                   ANSIBLE_HOME=str(self.directory / "ansible"), ANSIBLE_LOCALHOST_WARNING="false",
                   ANSIBLE_PIPELINING="true", HOME=str(self.directory / "home"), TMPDIR=str(self.directory / "tmp"))
        env.update(more)
        return env

    def command(self, playbook, *arguments, **variables):
        name = playbook if "/" in str(playbook) else f"kestra_community.dr.{playbook}"
        argv = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(self.inventory), str(name), *arguments]
        return argv + (["-e", json.dumps(variables)] if variables else [])

    def play(self, playbook, *arguments, env=None, timeout=900, **variables):
        """Runs a playbook of the collection to its end."""
        argv = self.command(playbook, *arguments, **variables)
        if LAUNCHER == "ansible-runner":
            argv = self.as_runner(playbook, arguments, variables)
        done = subprocess.run(argv, env=self.environment(**(env or {})), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False)
        self.watch.check(done.stdout, f"the output of {playbook}")
        self.played.add((playbook, "-vvv" in arguments, done.returncode))
        return Run(done.returncode, done.stdout, _custom_stats(done.stdout))

    def as_runner(self, playbook, arguments, variables):
        """The same as AWX does it: a project whose playbook imports ours, run by ansible-runner."""
        private = self.directory / "runner"
        (private / "project").mkdir(parents=True, exist_ok=True)
        (private / "env").mkdir(exist_ok=True)
        name = str(playbook) if "/" in str(playbook) else f"kestra_community.dr.{playbook}"
        (private / "project" / "run.yml").write_text(json.dumps([{"ansible.builtin.import_playbook": name}]))
        (private / "env" / "extravars").write_text(json.dumps(variables))
        argv = [str(Path(sys.executable).with_name("ansible-runner")), "run", str(private), "-p", "run.yml",
                "--inventory", str(self.inventory)]
        return argv + ([f"--cmdline={shlex.join(arguments)}"] if arguments else [])

    def begin(self, playbook, *arguments, env=None, **variables):
        """Starts a playbook in a process group of its own; its output goes to a file."""
        log = open(self.directory / "begun.log", "w+", encoding="utf-8")  # noqa: SIM115 - lives as long as the process
        process = subprocess.Popen(self.command(playbook, *arguments, **variables), env=self.environment(**(env or {})),
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        process.log = log
        return process

    def told(self, process):
        """What a playbook that was begun has said so far."""
        process.log.seek(0)
        output = process.log.read()
        self.watch.check(output, "the output of a playbook that was begun")
        return output

    def ctl(self, name, *arguments):
        return subprocess.run([self.lab / "bin" / name, *arguments], capture_output=True, text=True, check=False, timeout=120)

    def healthy(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.management}/health", timeout=5) as answer:
                return json.load(answer).get("status") == "UP"
        except OSError:
            return False

    def wait_healthy(self, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.healthy():
                return True
            time.sleep(0.5)
        return False

    # What the API wants from whoever asks.
    headers: dict = {}

    def api(self, path, data=None, method=None, content_type="application/x-yaml"):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, method=method, headers=self.headers)
        if data is not None:
            request.add_header("Content-Type", content_type)
        with urllib.request.urlopen(request, timeout=30) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    @property
    def instance_id(self):
        return self.api("/api/v1/configs")["uuid"]

    def points(self):
        return sorted(path.name for path in (self.vault / "kestra" / "points").glob("2*"))

    @property
    def held(self):
        """The file that tells a person why Kestra stays down."""
        return self.directory / "state" / "kestra" / "HELD"

    def unsealed(self):
        return sorted(path.name for path in (self.vault / "kestra" / "open").glob("2*"))

    def point(self):
        """A recovery point that no cut restore could go on with: the newest there is, or a new one."""
        begun = self.vault / "kestra" / "restore"
        listed = [name for name in self.points() if not (begun / name).exists()]
        return listed[-1] if listed else self.play("backup").ok().report["recovery_point"]

    def manifest(self, point):
        return json.loads((self.vault / "kestra" / "points" / point / "manifest.json").read_text())

    def kill_database(self):
        """kill -9 of the server and all its processes, as a power cut of its host."""
        for pid in self.server_processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class PostgresqlLab(Lab):
    engine, kind, administrator = "postgresql", "postgres", "postgres"

    @property
    def certificate(self):
        return self.directory / "tls" / "server.pem"

    def jdbc_url(self, database):
        return (f"jdbc:postgresql://127.0.0.1:{self.database_port}/{database}"
                f"?sslmode=verify-full&sslrootcert={self.certificate}")

    def harden_server(self):
        tls = self.certificate.parent
        tls.mkdir()
        key, owner = tls / "server.key", (self.lab / "postgresql").stat()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", "/CN=lab", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", self.certificate],
                       check=True, capture_output=True)
        os.chown(key, owner.st_uid, owner.st_gid)
        key.chmod(0o600)
        rules = self.lab / "postgresql" / "data" / "pg_hba.conf"
        rules.write_text("hostnossl all kestra all reject\n" + rules.read_text())
        for setting in (f"ssl_cert_file = '{self.certificate}'", f"ssl_key_file = '{key}'", "ssl = 'on'"):
            self.sql(f"alter system set {setting}")
        self.sql("select pg_reload_conf()")
        # The administrator's last: it is what we log in with.
        for role, name in (("kestra", "database password"), ("postgres", "administrator's password")):
            self.sql(psycopg.sql.SQL("alter role {} password {}").format(psycopg.sql.Identifier(role), SECRETS[name]))

    def sql(self, statement, database="kestra"):
        with psycopg.connect(host="127.0.0.1", port=self.database_port, user="postgres", dbname=database, autocommit=True,
                             password=self.admin_password) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def contents(self, database="kestra"):
        tables = [row[0] for row in self.sql(
            "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = 'public' order by 1", database)]
        return {table: self.sql(f"select count(*), md5(coalesce(string_agg(md5(t::text), '' order by md5(t::text)), '')) "
                                f"from {table} t", database)[0] for table in tables}

    def identity(self):
        return self.sql("select oid from pg_database where datname = 'kestra'", "postgres")

    def server_processes(self):
        postmaster = int((self.lab / "postgresql" / "data" / "postmaster.pid").read_text().splitlines()[0])
        return [postmaster, *(pid for pid, process in processes().items() if process.parent == postmaster)]


class MysqlLab(Lab):
    engine, kind, administrator = "mysql", "mysql", "root"

    def engine_variables(self):
        programs = os.environ["KESTRA_DR_TEST_MYSQL_BIN"]
        return {"kestra_dr_lab_mysql_bin": programs, "kestra_dr_database_bin_dir": programs}

    def jdbc_url(self, database):
        return f"jdbc:mysql://127.0.0.1:{self.database_port}/{database}?sslMode=REQUIRED"

    def harden_server(self):
        for (host,) in self.sql("select host from mysql.user where user = 'kestra'"):
            self.sql("alter user %s@%s identified by %s require ssl", "mysql", "kestra", host, SECRETS["database password"])
        # At once: each statement is a session of its own.
        hosts = [host for (host,) in self.sql("select host from mysql.user where user = 'root'")]
        self.sql("alter user " + ", ".join(["%s@%s identified by %s"] * len(hosts)), "mysql",
                 *(value for host in hosts for value in ("root", host, SECRETS["administrator's password"])))

    def sql(self, statement, database="kestra", *values):
        with pymysql.connect(host="127.0.0.1", port=self.database_port, user="root", database=database, autocommit=True,
                             password=self.admin_password.encode(), charset="utf8mb4",
                             init_command="set group_concat_max_len = 1073741824") as connection:
            cursor = connection.cursor()
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else None

    def contents(self, database="kestra"):
        found = {}
        for (table,) in self.sql(f"select table_name from information_schema.tables where table_schema = '{database}' "
                                 "and table_name not like 'kestra_dr%%' order by 1", "mysql"):
            columns = [f"ifnull(hex(`{name}`), '-')" for (name,) in self.sql(
                f"select column_name from information_schema.columns where table_schema = '{database}' "
                f"and table_name = '{table}' order by ordinal_position", "mysql")]
            row = f"sha2(concat_ws('.', {', '.join(columns)}), 256)"
            found[f"{database}.{table}"] = self.sql(
                f"select count(*), sha2(ifnull(group_concat({row} order by {row} separator ''), ''), 256) from `{database}`.`{table}`", "mysql")[0]
        return found

    def identity(self):
        """When the tables were made; a table that moves keeps that."""
        return self.sql("select table_name, create_time from information_schema.tables where table_schema = 'kestra' "
                        "and table_name not like 'kestra_dr%' order by 1", "mysql")

    def server_processes(self):
        return [int((self.lab / "mysql" / "mysql.pid").read_text())]


class BucketLab(PostgresqlLab):
    """PostgreSQL with the storage in a bucket of an S3 server, which Kestra opens as a user of its own."""

    def __init__(self, directory, server):
        super().__init__(directory)
        # Its own: the server's administration has it as an argument, which a lab beside this one would see.
        self.core = "hushBkt" + os.urandom(6).hex()
        self.secret = f"{self.core}/+ %&$x='"
        self.server, self.bucket = server, "kestra"
        self.watch = Watch(dict(CORES, **{"secret key of the bucket": self.core}))
        server.user("kestra", self.secret, "admin")
        server.bucket(self.bucket)
        self.variables["kestra_dr_lab_kestra_settings"]["kestra"]["storage"] = {
            "type": "s3", "s3": {"endpoint": server.endpoint, "bucket": self.bucket, "force-path-style": "true",
                                 "access-key": "kestra", "secret-key": "${KESTRA_LAB_BUCKET_SECRET}"}}
        self.write_inventory()

    def harden(self):
        super().harden()
        with open(self.lab / "kestra" / "kestra.env", "a", encoding="utf-8") as handle:
            handle.write(f"KESTRA_LAB_BUCKET_SECRET={quoted(self.secret)}\n")

    def objects(self):
        """{key: (content, user metadata, content type)} of the whole bucket."""
        client, found = self.server.client(), {}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
            for item in page.get("Contents", ()):
                answer = client.get_object(Bucket=self.bucket, Key=item["Key"])
                found[item["Key"]] = (answer["Body"].read(), answer["Metadata"], answer["ContentType"])
        return found

    def empty(self):
        """Deletes every object that is there."""
        client = self.server.client()
        for key in self.objects():
            client.delete_object(Bucket=self.bucket, Key=key)


class GcsLab(PostgresqlLab):
    """PostgreSQL with the storage in a bucket of an emulator of Google Cloud Storage, which asks for no credentials."""

    def __init__(self, directory, server):
        super().__init__(directory)
        self.bucket = server.bucket("kestra")
        self.variables["kestra_dr_lab_kestra_settings"]["kestra"]["storage"] = {
            "type": "gcs", "gcs": {"bucket": "kestra", "project-id": "tests", "path": "prod"}}
        self.variables["kestra_dr_lab_kestra_environment"] = {"STORAGE_EMULATOR_HOST": server.endpoint}
        self.write_inventory()

    def objects(self):
        """{key: (content, user metadata, content type)} of the whole bucket."""
        return {blob.name: (blob.download_as_bytes(), blob.metadata or {}, blob.content_type) for blob in self.bucket.list_blobs()}

    def empty(self):
        """Deletes every object that is there, with all its generations."""
        for blob in self.bucket.list_blobs(versions="true"):
            blob.delete()


class AzureLab(PostgresqlLab):
    """PostgreSQL with the storage in a container of an emulator of Azure."""

    def __init__(self, directory, server):
        super().__init__(directory)
        self.server, self.bucket = server, "kestra"
        self.container = server.container(self.bucket)
        self.watch = Watch(dict(CORES, **{"key of the storage account": azure_server.KEY[:40]}))
        self.variables["kestra_dr_lab_kestra_settings"]["kestra"]["storage"] = {
            "type": "azure", "azure": {"endpoint": server.endpoint, "container": self.bucket, "shared-key-account-name": azure_server.ACCOUNT,
                                       "shared-key-account-access-key": "${KESTRA_LAB_ACCOUNT_KEY}"}}
        self.write_inventory()

    def harden(self):
        super().harden()
        with open(self.lab / "kestra" / "kestra.env", "a", encoding="utf-8") as handle:
            handle.write(f"KESTRA_LAB_ACCOUNT_KEY={quoted(azure_server.KEY)}\n")

    def objects(self):
        """{name: (content, metadata, content type)} of the whole container."""
        found = {}
        for item in self.container.list_blobs():
            answer = self.container.download_blob(item.name)
            found[item.name] = (answer.readall(), answer.properties.metadata, answer.properties.content_settings.content_type)
        return found

    def empty(self):
        """Deletes every blob that is there."""
        for item in self.container.list_blobs():
            self.container.delete_blob(item.name)


class Enterprise:
    """The stand-in's Enterprise face, with a login. Put in front of the Lab of a database."""

    version = "1.3.26"
    token_of_admin = "hushTok5JvGy9"
    login = ("admin@example.org", """hushApi8WmXs5 it's "50%" @home:é/\\ $x&{{{{ü}}}}""".replace(":", ";"))

    def __init__(self, directory):
        super().__init__(directory)
        self.watch = Watch({**CORES, "password of the API": "hushApi8WmXs5", "API token": self.token_of_admin})

    def engine_variables(self):
        return {
            **super().engine_variables(), "kestra_dr_lab_kestra_edition": "EE", "kestra_dr_lab_kestra_version": self.version,
            "kestra_dr_cli": {"executable": str(self.lab / "bin" / "kestra")}, "kestra_dr_drain_seconds": 3}

    def harden(self):
        super().harden()
        environment = self.lab / "kestra" / "kestra.env"
        environment.write_text(environment.read_text() + f"KESTRA_SERVER_BASIC_AUTH_PASSWORD={quoted(self.login[1])}\n"
                               f"KESTRA_SERVER_BASIC_AUTH_USERNAME={self.login[0]}\n")

    @property
    def headers(self):
        return {"Authorization": "Basic " + base64.b64encode(":".join(self.login).encode()).decode()}

    def with_token(self):
        """Arguments of a playbook that logs in with the token of the user admin, who has it for an hour from now."""
        until = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
        tokens = json.dumps([{"token": self.token_of_admin, "exp": until}])
        self.sql(f"update users set value = jsonb_set(value, '{{apiTokens}}', '{tokens}')")
        file = self.lab / "token.json"
        file.write_text(json.dumps({"kestra_dr_api_token": self.token_of_admin}))
        return ["-e", f"@{file}"]

    @property
    def in_maintenance(self):
        return self.api("/api/v1/configs")["inMaintenance"]

    @property
    def process(self):
        """The number of Kestra's process: the same as long as nobody stops it."""
        return (self.lab / "kestra" / "kestra.pid").read_text()


class EnterpriseLab(Enterprise, PostgresqlLab):
    """Enterprise on PostgreSQL."""


class OtherEnterpriseLab(Enterprise, MysqlLab):
    """Enterprise of another version on MySQL."""

    version = "2.0.0"


class ElasticsearchLab(Lab):
    """Elasticsearch with users, and Kafka. Both are lost together."""

    engine, kind, administrator = "elasticsearch", "elasticsearch", "elastic"

    def __init__(self, directory):
        self.transport, self.kafka, self.controller = free_ports(3)
        super().__init__(directory)
        self.variables["kestra_dr_lab_kestra_settings"].pop("datasources")
        self.write_inventory()

    def engine_variables(self):
        return {
            "kestra_dr_lab_elasticsearch_bin": str(Path(os.environ["KESTRA_DR_TEST_ELASTICSEARCH"]) / "bin"),
            "kestra_dr_lab_kafka_bin": os.environ["KESTRA_DR_TEST_KAFKA_BIN"],
            "kestra_dr_lab_elasticsearch_transport_port": self.transport, "kestra_dr_lab_kafka_port": self.kafka,
            "kestra_dr_lab_kafka_controller_port": self.controller,
            # The programs lie where only this account can go.
            "kestra_dr_lab_user": pwd.getpwuid(os.getuid()).pw_name,
            "kestra_dr_lab_kestra_edition": "EE", "kestra_dr_lab_kestra_version": EnterpriseLab.version,
            "kestra_dr_cli": {"executable": str(self.lab / "bin" / "kestra")},
            "kestra_dr_snapshot_location": str(self.lab / "elasticsearch" / "snapshots" / "kestra"),
            "kestra_dr_flow_listeners_silence": 1}

    def jdbc_url(self, database):
        return ""

    def ask(self, method, path, document=None):
        """Asks Elasticsearch as its administrator, beside the code under test."""
        login = base64.b64encode(f"elastic:{self.admin_password}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.database_port}{path}", None if document is None else json.dumps(document).encode(), method=method,
            headers={"Content-Type": "application/json", "Authorization": f"Basic {login}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def harden_server(self):
        # The administrator's last: it is what we log in with.
        for user, name in (("kestra", "database password"), ("elastic", "administrator's password")):
            self.ask("PUT", f"/_security/user/{user}/_password", {"password": SECRETS[name]})

    def contents(self, database="kestra"):
        found = {}
        for row in self.ask("GET", "/_cat/indices/kestra_*?format=json&h=index"):
            self.ask("POST", f"/{row['index']}/_refresh")
            hits = self.ask("POST", f"/{row['index']}/_search", {"size": 10000})["hits"]["hits"]
            found[row["index"]] = sorted((hit["_id"], json.dumps(hit["_source"], sort_keys=True)) for hit in hits)
        return found

    def identity(self):
        return sorted((row["index"], row["uuid"]) for row in self.ask("GET", "/_cat/indices/kestra_*?format=json&h=index,uuid"))

    def lose_everything(self):
        """Kestra killed, its indices, its queue, the clusters that held them, their snapshots, and the storage."""
        self.ctl("kestra-server", "kill")
        for name in ("elasticsearch", "kafka"):
            done = self.ctl(name, "drop", "kestra")
            assert done.returncode == 0, done.stdout + done.stderr
        shutil.rmtree(self.lab / "storage")


def quoted(value):
    """A value as a shell and systemd both read it in an environment file."""
    return '"' + re.sub(r'(["\\\\`$])', r"\\\1", value) + '"'


def _custom_stats(output):
    """The dictionary that ansible-playbook prints below CUSTOM STATS."""
    _before, found, after = output.partition("CUSTOM STATS:")
    start = after.find("{")
    return json.JSONDecoder().raw_decode(after[start:])[0] if found and start >= 0 else {}
