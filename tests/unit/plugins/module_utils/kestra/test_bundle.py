# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration bundle: what it takes, and that it gives back exactly that."""
from __future__ import annotations

import base64
import builtins
import hashlib
import json
import os
import stat

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError, DrError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import bundle, layers, sources

PASSWORD = "p@ss 'w\"örd%"


@pytest.fixture
def host(tmp_path):
    """A small Kestra host below tmp_path: {name: path}."""
    def write(name, content, mode=0o644):
        path = tmp_path / "host" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        path.chmod(mode)
        return str(path)

    paths = {"store": write("tls/kestra.p12", b"\x00\x01keystore", 0o600), "ca": write("tls/ca.pem", "CA"),
             "licence": write("licence.txt", "L"), "data": write("data/big.bin", b"x" * 4096)}
    paths["config"] = write("application.yml", f"""
kestra:
  repository.type: postgres
  encryption.secret-key: {json.dumps(PASSWORD, ensure_ascii=False)}
  license-file: {paths['licence']}
  storage: {{type: local, local: {{base-path: {tmp_path}/host/data}}}}
micronaut.server.ssl.key-store.path: file:{paths['store']}
datasources.postgres.url: jdbc:postgresql://h/d?sslmode=verify-ca&sslrootcert={paths['ca']}&x=1
other: https://example.org{paths['ca']}/x.pem
lost: {tmp_path}/host/tls/lost.jks
""", 0o640)
    paths["env"] = write("kestra.env", "SECRET_API=eA==\nENV_STAGE=prod\n", 0o600)
    paths["plugin"] = write("app/plugins/plugin-a-1.0.jar", b"jar")
    paths["exe"] = write("app/kestra", "\n: a real one begins like this\nenv > \"$(dirname \"$0\")/seen\"\necho noise\necho 0.21.3\n", 0o755)
    paths["unit"] = write("kestra.service", f"""[Service]
Environment=MICRONAUT_CONFIG_FILES={paths['config']} JAVA_OPTS=-Dlogback.configurationFile={tmp_path}/host/logback.xml
EnvironmentFile={paths['env']}
ExecStart={paths['exe']} server standalone
""")
    paths["logback"] = write("logback.xml", "<x/>")
    return paths


def gathered(host):
    return sources.gather(unit=host["unit"])


def test_it_takes_everything_a_host_needs(host):
    taken, report = bundle.build(gathered(host), host="h1", executable=host["exe"])
    kinds = {entry["path"]: entry["kind"] for entry in taken["files"]}
    assert kinds == {host["unit"]: "unit", host["env"]: "environment", host["config"]: "config",
                     host["store"]: "keystore", host["ca"]: "keystore", host["licence"]: "keystore",
                     host["logback"]: "keystore"}
    assert taken["plugins"] == [{"name": "plugin-a-1.0.jar", "size": 3, "sha256": hashlib.sha256(b"jar").hexdigest()}]
    assert taken["kestra_version"] == "0.21.3"
    assert taken["environment"]["SECRET_API"] == "eA==" and taken["unit"] == "kestra.service"
    assert [os.path.basename(path) for path in report["missing"]] == ["lost.jks"]
    assert report["keys"] == ["kestra.encryption.secret-key"]
    assert report["environment"]["secrets"] == ["SECRET_API"] and report["environment"]["variables"] == ["ENV_STAGE"]


def test_the_report_has_names_and_no_values(host):
    _taken, report = bundle.build(gathered(host), host="h1")
    told = json.dumps(report)
    assert PASSWORD not in told and "p@ss" not in told and "eA==" not in told and "content_b64" not in told
    assert report["kestra_version"] is None


def test_the_executable_sees_no_configuration(host, monkeypatch):
    monkeypatch.setenv("KESTRA_CONFIGURATION", "kestra: {}")
    monkeypatch.setenv("MICRONAUT_CONFIG_FILES", "/x")
    bundle.build(gathered(host), host="h1", executable=host["exe"])
    with open(os.path.dirname(host["exe"]) + "/seen", encoding="utf-8") as handle:
        seen = handle.read()
    assert "KESTRA_CONFIGURATION" not in seen and "MICRONAUT_CONFIG_FILES" not in seen
    assert "FLYWAY_DATASOURCES_POSTGRES_ENABLED=false" in seen


def test_a_version_that_cannot_be_had_is_a_warning(host):
    for program in ("/nowhere/kestra", "/bin/false", "/bin/true"):
        taken, report = bundle.build(gathered(host), host="h1", executable=program)
        assert taken["kestra_version"] is None and "version is not known" in report["warnings"][-1]


def test_plugins_none_list_content(host):
    assert bundle.build(gathered(host), host="h", plugins="none")[0]["plugins"] == []
    taken = bundle.build(gathered(host), host="h", plugins="content")[0]
    assert [entry["path"] for entry in taken["files"] if entry["kind"] == "plugin"] == [host["plugin"]]
    with pytest.raises(ConfigError):
        bundle.build(gathered(host), host="h", plugins_dir="/nowhere")


def test_extra_paths_are_files_or_whole_directories(host, tmp_path):
    taken = bundle.build(gathered(host), host="h", extra_paths=[os.path.dirname(host["store"]), host["data"]])[0]
    assert [entry["path"] for entry in taken["files"] if entry["kind"] == "extra"] == [host["data"]]
    with pytest.raises(ConfigError) as caught:
        bundle.build(gathered(host), host="h", extra_paths=["/nowhere"])
    assert caught.value.reason == "file_missing"


def test_too_much_is_refused_before_it_is_written(host):
    with pytest.raises(RefusedError) as caught:
        bundle.build(gathered(host), host="h", extra_paths=[host["data"]], max_bytes=4096)
    assert caught.value.reason == "bundle_too_large"


def test_it_works_without_pyyaml_and_with_malformed_yaml(host, monkeypatch):
    real = builtins.__import__
    monkeypatch.setattr(builtins, "__import__",
                        lambda name, *a, **k: real("no_yaml" if name == "yaml" else name, *a, **k))
    layers._yaml.cache_clear()
    taken, report = bundle.build(gathered(host), host="h")
    assert len(taken["files"]) == 7 and report["keys"] == ["kestra.encryption.secret-key"] and not report["warnings"]
    assert report["environment"]["secrets"] == ["SECRET_API"]
    monkeypatch.undo()
    layers._yaml.cache_clear()
    with open(host["config"], "a", encoding="utf-8") as handle:
        handle.write("\tbroken\n")
    taken, report = bundle.build(gathered(host), host="h")
    assert len(taken["files"]) == 7 and report["keys"] == ["kestra.encryption.secret-key"]
    assert "not valid YAML" in report["warnings"][0]


@pytest.mark.parametrize("line, found", [
    ("path: /etc/a.p12", ["/etc/a.p12"]), ("x: 'file:/etc/a.jks'", ["/etc/a.jks"]),
    ("x=/a/b.pem,/c/d.key", ["/a/b.pem", "/c/d.key"]),
    ("url: https://host/a.pem", []), ("base-path: /app/storage", []), ("trustStore: /etc/store", ["/etc/store"]),
    ("-Djavax.net.ssl.trustStore=/etc/store -Xmx1g", ["/etc/store"]), ("x: /proc/self/a.pem", []),
    ("service-account: /etc/gcp.json", ["/etc/gcp.json"]), ("x: /etc/gcp.json", []),
    ("jdbc:x?sslcert=/c.crt&sslkey=/k.pk8", ["/c.crt", "/k.pk8"]),
    ("x: ~/a.pem", []), ("x: ./a.pem", []),
])
def test_files_named_in_a_text(line, found):
    assert bundle.referenced_files([line]) == found


def test_a_bundle_is_private_and_equal_ones_are_recognised(host, tmp_path):
    one = bundle.build(gathered(host), host="h")[0]
    two = bundle.build(gathered(host), host="h")[0]
    assert one["created"] != two["created"] and bundle.same(one, two)
    path = str(tmp_path / "b.json")
    size, digest = bundle.write(path, one)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600 and os.path.getsize(path) == size
    assert bundle.files.sha256_file(path) == digest
    os.chmod(host["config"], 0o600)
    assert not bundle.same(one, bundle.build(gathered(host), host="h")[0])
    with pytest.raises(DrError) as caught:
        bundle.write(str(tmp_path / "nowhere" / "b.json"), one)
    assert caught.value.reason == "not_found"


# -- giving back ------------------------------------------------------------------------------------------------------

@pytest.fixture
def written(host, tmp_path):
    path = str(tmp_path / "bundle.json")
    bundle.write(path, bundle.build(gathered(host), host="h1", plugins="content")[0])
    return path


def restore(path, **options):
    content = sources.read_bundle(path)
    steps = bundle.plan(path, content, **{"mode": "missing", **options})
    kept = bundle.apply(path, content, steps, stamp="T")
    return steps, kept


def snapshot(paths, root=""):
    found = {}
    for path in paths:
        info = os.stat(root + path)
        with open(root + path, "rb") as handle:
            found[path] = (handle.read(), info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns)
    return found


def test_onto_an_empty_host_everything_comes_back_exactly(written, tmp_path):
    paths = [entry["path"] for entry in sources.read_bundle(written)["files"]]
    root = str(tmp_path / "other")
    steps, kept = restore(written, root=root)
    assert {step["action"] for step in steps} == {"write"} and kept == []
    assert snapshot(paths, root) == snapshot(paths)
    again, _unused = restore(written, root=root, mode="always")
    assert {step["action"] for step in again} == {"keep"} and {step["found"] for step in again} == {"same"}


def test_missing_leaves_what_is_there(written, host):
    os.unlink(host["env"])
    with open(host["config"], "w", encoding="utf-8") as handle:
        handle.write("changed: true\n")
    steps, kept = restore(written)
    assert {os.path.basename(step["path"]): step["action"] for step in steps if step["found"] != "same"} == {
        "kestra.env": "write", "application.yml": "keep"}
    with open(host["config"], encoding="utf-8") as handle:
        assert handle.read() == "changed: true\n"
    assert os.path.exists(host["env"]) and kept == []


def test_always_replaces_and_keeps_the_old_one_beside(written, host):
    before = snapshot([host["config"], host["env"]])
    with open(host["config"], "w", encoding="utf-8") as handle:
        handle.write("changed: true\n")
    os.chmod(host["env"], 0o644)
    steps, kept = restore(written, mode="always")
    changes = {step["path"]: (step["found"], step["action"]) for step in steps if step["action"] != "keep"}
    assert changes == {host["config"]: ("differs", "write"), host["env"]: ("attributes", "attributes")}
    assert snapshot([host["config"], host["env"]]) == before
    assert kept == [host["config"] + ".before-restore-T"]
    with open(kept[0], encoding="utf-8") as handle:
        assert handle.read() == "changed: true\n"


def test_report_writes_nothing(written, host):
    os.unlink(host["env"])
    steps, _unused = restore(written, mode="report")
    assert {step["action"] for step in steps} == {"keep"} and not os.path.exists(host["env"])
    assert [step["found"] for step in steps if step["path"] == host["env"]] == ["missing"]


def test_only_the_kinds_asked_for(written, tmp_path):
    steps, _unused = restore(written, kinds=["unit"], root=str(tmp_path / "other"))
    assert [step["kind"] for step in steps] == ["unit"]


def test_a_link_stays_a_link(written, host, tmp_path):
    real = str(tmp_path / "real.yml")
    os.rename(host["config"], real)
    os.symlink(real, host["config"])
    with open(real, "w", encoding="utf-8") as handle:
        handle.write("x: 1\n")
    restore(written, mode="always", kinds=["config"])
    assert os.path.islink(host["config"])
    with open(real, encoding="utf-8") as handle:
        assert "encryption" in handle.read()


def test_a_damaged_content_is_found_before_anything_is_written(written, tmp_path):
    content = sources.read_bundle(written)
    content["files"][-1]["content_b64"] = base64.b64encode(b"other").decode()
    bundle.write(written, content)
    with pytest.raises(ConfigError) as caught:
        restore(written, root=str(tmp_path / "other"))
    assert caught.value.reason == "bad_bundle" and not (tmp_path / "other").exists()


@pytest.mark.parametrize("path", ["relative", "/a/../etc/passwd", "/a//b", "/a/"])
def test_an_unsafe_path_is_refused(written, path):
    content = sources.read_bundle(written)
    content["files"][0]["path"] = path
    bundle.write(written, content)
    with pytest.raises(ConfigError) as caught:
        restore(written)
    assert "unsafe" in caught.value.message


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files away")
def test_owners_come_back_by_name_else_by_number(written, tmp_path):
    content = sources.read_bundle(written)
    content["files"][0].update(owner="nobody", uid=1)
    content["files"][1].update(owner="no-such-user", uid=4321, group="no-such-group", gid=4322)
    bundle.write(written, content)
    root = str(tmp_path / "other")
    restore(written, root=root)
    import pwd
    assert os.stat(root + content["files"][0]["path"]).st_uid == pwd.getpwnam("nobody").pw_uid
    second = os.stat(root + content["files"][1]["path"])
    assert (second.st_uid, second.st_gid) == (4321, 4322)


def test_the_diff_has_digests_and_no_contents(written, tmp_path):
    content = sources.read_bundle(written)
    told = json.dumps(bundle.diff(bundle.plan(written, content, mode="always", root=str(tmp_path / "other"))))
    assert "application.yml" in told and "sha256:" in told and "0640" in told and "absent" in told
    assert "p@ss" not in told and "eA==" not in told


def test_variables_that_no_file_sets_are_named(tmp_path, host):
    path = str(tmp_path / "b2.json")
    found = sources.gather(unit=host["unit"], environment={"SECRET_BY_HAND": "eA=="})
    bundle.write(path, bundle.build(found, host="h")[0])
    assert bundle.environment_only(path, sources.read_bundle(path)) == ["SECRET_BY_HAND"]


def test_the_secrets_of_a_bundle_are_known_for_masking(written):
    assert {PASSWORD, "eA=="} <= set(bundle.secrets(written))
