# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Configuration, info and bundle against a stand-in for Kestra that runs on a real PostgreSQL server."""
from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import yaml
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import bundle, client, config, info, sources
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.client import Client
from ansible_collections.kestra_community.dr.plugins.modules import kestra_maintenance
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run

QUICK = ("id: quick\nnamespace: company\ntasks:\n"
         "  - id: say\n    type: io.kestra.plugin.core.log.Log\n    message: hello\n")
PAUSED = "id: paused\nnamespace: company.team\ntasks:\n  - id: hold\n    type: io.kestra.plugin.core.flow.Pause\n"


def connect(credentials):
    return psycopg.connect(host=credentials["host"], port=credentials["port"], dbname=credentials["name"],
                           user=credentials["user"], password=credentials["password"],
                           sslmode=credentials["ssl_mode"] or "prefer")


# -- credentials that a real server accepts ---------------------------------------------------------------------------

def _plain(text, password, tmp_path):
    return {"files": [_file(tmp_path, text.replace("${STANDIN_TEST_PASSWORD}", json.dumps(password)[1:-1]))]}


def _from_variable(text, password, tmp_path):
    return {"files": [_file(tmp_path, text)], "environment": {"STANDIN_TEST_PASSWORD": password}}


def _from_override(text, password, tmp_path):
    return {"files": [_file(tmp_path, text.replace("${STANDIN_TEST_PASSWORD}", "x"))],
            "environment": {"DATASOURCES_POSTGRES_PASSWORD": password}}


def _from_environment_file(text, password, tmp_path):
    path = tmp_path / "kestra.env"
    path.write_text(f'STANDIN_TEST_PASSWORD="{password}"\n', encoding="utf-8")
    return {"files": [_file(tmp_path, text)], "environment_files": [str(path)]}


def _from_text(text, password, tmp_path):
    return {"text": text, "environment": {"STANDIN_TEST_PASSWORD": password}}


def _from_unit(text, password, tmp_path):
    escaped = password.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    unit = tmp_path / "kestra.service"
    unit.write_text(f'[Service]\nEnvironment="STANDIN_TEST_PASSWORD={escaped}"\n'
                    f"ExecStart=/opt/kestra server standalone --config {_file(tmp_path, text)}\n", encoding="utf-8")
    return {"unit": str(unit)}


def _from_url(text, password, tmp_path):
    document = yaml.safe_load(text)
    source = document["datasources"]["postgres"]
    source["url"] += f"?user={source.pop('username')}&password={quote(password)}"
    del source["password"]
    return {"files": [_file(tmp_path, yaml.safe_dump(document))]}


def _from_bundle(text, password, tmp_path):
    path = str(tmp_path / "bundle.json")
    bundle.write(path, bundle.build(sources.gather(**_from_unit(text, password, tmp_path)), host="h")[0])
    os.unlink(tmp_path / "application.yml")
    return {"bundle": path}


def _file(tmp_path, text):
    path = tmp_path / "application.yml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("way", [_plain, _from_variable, _from_override, _from_environment_file, _from_text, _from_unit,
                                 _from_url, _from_bundle])
def test_the_server_accepts_the_credentials_however_they_are_given(standin, tmp_path, password, way):
    text = json.dumps(standin.configuration())
    found = config.load(sources.gather(**way(text, password, tmp_path)).sources)
    with connect(found.database_credentials()) as connection:
        assert connection.execute("SELECT current_user, current_database()").fetchone() == ("kestra", standin.database)
    described = found.describe()
    assert described["storage"]["base_path"] == str(standin.storage) and described["engine"] == "postgresql"
    assert password not in json.dumps(described, ensure_ascii=False) and password in found.secrets()


# -- facts ------------------------------------------------------------------------------------------------------------

def gather(standin, **settings):
    api, management = standin.ports["main"]
    settings = {"api_url": f"http://127.0.0.1:{api}", "management_url": f"http://127.0.0.1:{management}", **settings}
    return info.gather(Client(client.Settings(**settings))).to_result()


@pytest.mark.parametrize("version", ["0.19.0", "0.21.0", "0.23.0", "1.0.0", "2.0.0"])
def test_facts_equal_the_rows_of_the_database(standin, waiting, version):
    standin.start(environ={"KESTRA_STANDIN_VERSION": version})
    prefix = "/api/v1/main" if version not in ("0.19.0", "0.21.0") else "/api/v1"
    for source in (QUICK, PAUSED):
        status, body = standin.call("POST", prefix + "/flows", source.encode(), {"Content-Type": "application/x-yaml"})
        assert status == 200, body
    for flow in ("company/quick", "company/quick", "company.team/paused"):
        status, body = standin.call("POST", f"{prefix}/executions/{flow}", b"--x--\r\n",
                                    {"Content-Type": "multipart/form-data; boundary=x"})
        assert status == 200, body
    waiting(lambda: standin.states() == {"SUCCESS": 2, "PAUSED": 1}, 30, standin.log)
    standin.call("PUT", f"{prefix}/namespaces/company/kv/colour", b'"blue"', {"Content-Type": "text/plain"})
    found = gather(standin)
    assert found["facts"] == "api" and found["version"] == version and found["health"]["status"] == "UP"
    assert found["uuid"] == standin.rows("SELECT value->>'value' FROM settings WHERE key = 'instance.uuid'")[0][0]
    flows = standin.rows("SELECT count(DISTINCT (namespace, id)) FROM flows WHERE NOT deleted")[0][0]
    assert found["counts"]["flows"] == flows == 2
    by_state = {state: number for state, number in found["counts"]["executions"]["by_state"].items() if number}
    assert by_state == standin.states() and found["counts"]["executions"]["total"] == 3
    assert found["counts"]["kv"] == 1 and found["edition"] == "OSS"
    assert [(row["flow"], row["state"]) for row in found["in_flight"]["executions"]] == [("paused", "PAUSED")]
    identity = standin.rows("SELECT key FROM executions WHERE state_current = 'PAUSED'")[0][0]
    assert identity.endswith(found["in_flight"]["executions"][0]["id"])


def test_a_login_from_kestras_own_configuration(standin, password):
    document = standin.configuration()
    document["kestra"]["server"]["basic-auth"] = {"enabled": True, "username": "admin@example.org",
                                                  "password": password}
    standin.start(configuration=document)
    refused = gather(standin)
    assert refused["uuid"] is not None and "login" in refused["not_run"]["counts"]
    text = json.dumps({**document, "micronaut": {"server": {"host": "127.0.0.1", "port": standin.ports["main"][0]}}})
    environment = {"STANDIN_TEST_PASSWORD": "x"}
    found = config.load(sources.gather(text=text, environment=environment).sources)
    settings = client.settings_from_params({}, found)
    assert settings.management_url.endswith(str(standin.ports["main"][1]))
    assert info.gather(Client(settings)).to_result()["counts"]["flows"] == 0


def test_a_stopped_kestra_is_not_run(standin):
    standin.start()
    before = gather(standin)
    standin.end()
    after = gather(standin)
    assert before["facts"] == "api" and after["facts"] == "not_run" and "refused" in after["not_run"]["version"]


def test_open_source_has_no_maintenance_mode(standin):
    standin.start()
    result = run(kestra_maintenance, api_url=f"http://127.0.0.1:{standin.ports['main'][0]}")
    assert result["failed"] and result["reason"] == "maintenance_unavailable"


# -- a lost host ------------------------------------------------------------------------------------------------------

def test_a_host_that_lost_its_configuration_starts_again_from_the_bundle(standin, tmp_path, password):
    standin.start()
    standin.end()
    home = tmp_path / "etc"
    home.mkdir()
    configured = home / "main.yml"
    shutil.move(str(standin.directory / "main.yml"), configured)
    configured.chmod(0o640)
    environment = home / "kestra.env"
    encoded = base64.b64encode(b"flow secret").decode()
    environment.write_text(f'STANDIN_TEST_PASSWORD="{password}"\nSECRET_API={encoded}\n', encoding="utf-8")
    environment.chmod(0o600)
    unit = home / "kestra.service"
    unit.write_text(f"[Service]\nEnvironmentFile={environment}\n"
                    f"ExecStart=/opt/kestra server standalone --config {configured}\n", encoding="utf-8")
    path = str(tmp_path / "bundle.json")
    bundle.write(path, bundle.build(sources.gather(unit=str(unit)), host="h")[0])
    before = {name: (home / name).read_bytes() for name in os.listdir(home)}
    shutil.rmtree(home)

    content = sources.read_bundle(path)
    bundle.apply(path, content, bundle.plan(path, content, mode="missing"))
    assert {name: (home / name).read_bytes() for name in os.listdir(home)} == before
    assert stat.S_IMODE(configured.stat().st_mode) == 0o640 and stat.S_IMODE(environment.stat().st_mode) == 0o600
    found = sources.gather(unit=str(unit))
    assert found.sources.environment["STANDIN_TEST_PASSWORD"] == password
    document = yaml.safe_load(configured.read_text(encoding="utf-8"))
    standin.start(configuration=document, environ=dict(found.sources.environment))
    assert gather(standin)["health"]["status"] == "UP"


# -- nothing leaks through Ansible itself -----------------------------------------------------------------------------

def test_no_secret_in_the_output_of_ansible_at_vvv(standin, tmp_path, password):
    ansible = shutil.which("ansible-playbook") or str(Path(sys.executable).parent / "ansible-playbook")
    if not os.path.exists(ansible):
        pytest.skip("ansible-playbook is not installed")
    standin.start()
    document = standin.configuration()
    document["kestra"]["encryption"] = {"secret-key": "enc-s3cret-key"}
    (tmp_path / "application.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
    api, management = standin.ports["main"]
    play = [{"hosts": "localhost", "gather_facts": False, "connection": "local",
             "vars": {"ansible_python_interpreter": sys.executable, "pw": password},
             "tasks": [
                 {"kestra_community.dr.kestra_config_info": {"config": options}, "register": "described"},
                 {"kestra_community.dr.kestra_config_bundle": {"config": options, "dest": str(tmp_path / "b.json")}},
                 {"kestra_community.dr.kestra_config_restore": {"bundle": str(tmp_path / "b.json"), "mode": "always",
                                                                "root": str(tmp_path / "root")}},
                 {"kestra_community.dr.kestra_info": {
                     "config": options, "api_url": f"http://127.0.0.1:{api}", "api_user": "u",
                     "api_password": "{{ pw }}", "management_url": f"http://127.0.0.1:{management}"}},
                 {"ansible.builtin.debug": {"var": "described"}},
             ]} for options in [{"files": [str(tmp_path / "application.yml")],
                                 "environment": {"STANDIN_TEST_PASSWORD": "{{ pw }}", "SECRET_A": "Zmxvdy1zM2NyZXQ="}}]]
    (tmp_path / "play.json").write_text(json.dumps(play))
    link = tmp_path / "collections" / "ansible_collections" / "kestra_community"
    link.mkdir(parents=True)
    (link / "dr").symlink_to(Path(__file__).resolve().parents[3])
    done = subprocess.run([ansible, "-i", "localhost,", "-vvv", "--diff", str(tmp_path / "play.json")], text=True,
                          capture_output=True, check=False, cwd=tmp_path, timeout=300,
                          env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections"),
                               "ANSIBLE_LOCAL_TEMP": str(tmp_path / "tmp"),
                               "ANSIBLE_REMOTE_TEMP": str(tmp_path / "tmp"), "LC_ALL": "C.UTF-8"})
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert '"engine": "postgresql"' in done.stdout and "application.yml" in done.stdout
    for secret in (password, "enc-s3cret-key", "Zmxvdy1zM2NyZXQ", "flow-s3cret"):
        for form in (secret, json.dumps(secret)[1:-1], quote(secret), base64.b64encode(secret.encode()).decode()):
            assert form not in done.stdout + done.stderr
