# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading Kestra's configuration where it lies."""
from __future__ import annotations

import os
import pwd

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import bundle, config, options, sources


@pytest.fixture
def write(tmp_path):
    def writer(name, text, mode=0o644):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        return str(path)
    return writer


def get(key, **given):
    return config.load(sources.gather(**given).sources).get(key)


def test_nothing_given_is_an_error_that_says_what_to_give():
    for params in (None, {}, {"files": [], "text": ""}):
        with pytest.raises(ConfigError) as caught:
            options.configuration_from_params(params)
        assert caught.value.reason == "config_missing" and "config.unit" in caught.value.hint


def test_explicit_files_and_environment(write):
    one, two = write("a.yml", "x: {a: 1, b: '${B}', c: 1}"), write("b.yml", "x.c: 2")
    environment = write("env", "B=from file\nX_A=9\n")
    given = {"files": [one, two], "environment_files": [environment]}
    assert [get(key, **given) for key in ("x.a", "x.b", "x.c")] == ["9", "from file", 2]
    assert get("x.b", environment={"B": "given", "N": None}, **given) == "given"


def test_the_environment_leads_to_files(write):
    one, two = write("a.yml", "x: {a: 1, c: 1}"), write("b.yml", "x.c: 2")
    environment = {"MICRONAUT_CONFIG_FILES": f"{one}, file:{two}"}
    found = sources.gather(environment=environment)
    assert [layer.name for layer in found.sources.files] == [one, two]
    assert found.inventory == [(one, "config"), (two, "config")]
    assert get("x.c", environment=environment) == 2


def test_the_text_of_kestra_configuration_replaces_the_list_of_files(write):
    environment = {"MICRONAUT_CONFIG_FILES": write("a.yml", "x: file"), "KESTRA_CONFIGURATION": "x: text\ny: 1"}
    found = sources.gather(environment=environment)
    assert [layer.name for layer in found.sources.files] == ["KESTRA_CONFIGURATION"]
    assert get("x", environment=environment) == "text"
    assert get("x", text="x: other", environment=environment) == "other"
    assert get("x", text="x: other", files=[write("b.yml", "x: last")]) == "last"


def test_system_properties(write):
    listed = write("p.yml", "x: fromproperty\ny: 1")
    environment = {"JAVA_OPTS": f"-Xmx1g -Dmicronaut.config.files={listed} -Dy=2", "X_Z": "3"}
    assert get("x", environment=environment) == "fromproperty"
    assert get("y", environment=environment) == "2"


@pytest.mark.parametrize("content, reason", [
    (None, "file_missing"), (b"\xff\xfe\xfa", "not_utf8"), ("dir", "file_unreadable")])
def test_a_bad_file_is_named(tmp_path, content, reason):
    path = tmp_path / "c.yml"
    if content == "dir":
        path.mkdir()
    elif content is not None:
        path.write_bytes(b"a: 1\n" + content)
    with pytest.raises(ConfigError) as caught:
        sources.gather(files=[str(path)])
    assert caught.value.reason == reason and str(path) in caught.value.message


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_an_unreadable_file_is_named(write, tmp_path):
    path = write("c.yml", "a: 1", 0o600)
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if str(parent) not in ("/", "/tmp"):
            parent.chmod(parent.stat().st_mode | 0o055)
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        with pytest.raises(ConfigError) as caught:
            sources.gather(files=[path])
    finally:
        os.seteuid(0)
    assert caught.value.reason == "file_unreadable" and "become" in caught.value.hint


def test_a_missing_file_mentions_that_kestra_may_have_deleted_it():
    with pytest.raises(ConfigError) as caught:
        sources.gather(environment={"MICRONAUT_CONFIG_FILES": "/nowhere/a.yml"})
    assert "delete-files-on-start" in caught.value.hint


def test_other_formats_are_refused_by_name(write):
    with pytest.raises(ConfigError) as caught:
        sources.gather(files=[write("a.properties", "x=1")])
    assert caught.value.reason == "unsupported_format" and ".properties" in caught.value.message
    assert get("x", files=[write("a.json", '{"x": 1}')]) == 1


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "a.yml"
    path.write_bytes(b"\xef\xbb\xbfx: 1\n")
    assert get("x", files=[str(path)]) == 1


# -- units ------------------------------------------------------------------------------------------------------------

def test_a_unit_leads_to_everything(write, tmp_path):
    base = write("app/base.yml", "x: {a: base, b: '${B}', c: base, d: base}\nkestra.repository.type: postgres")
    override = write("app/override.yml", "x.c: override")
    local = write("app/config/application.yml", "x: {d: local, e: local}")
    write("one.env", "B='from env file'\nSECRET_X=eA==\n")
    unit = write("kestra.service", f"""[Service]
User=root
WorkingDirectory={tmp_path}/app
Environment=MICRONAUT_CONFIG_FILES=base.yml "B=from unit" X_A=variable
EnvironmentFile={tmp_path}/one.env
EnvironmentFile=-{tmp_path}/absent.env
ExecStart={tmp_path}/app/kestra server standalone --config override.yml
""")
    drop_in = write("kestra.service.d/10-more.conf", "[Service]\nEnvironment=ENV_Y=1\n")
    found = sources.gather(unit=unit)
    loaded = config.load(found.sources)
    assert [loaded.get("x." + key) for key in "abcde"] == ["variable", "from env file", "override", "base", "local"]
    assert found.inventory == [(unit, "unit"), (drop_in, "unit"), (f"{tmp_path}/one.env", "environment"),
                               (local, "config"), (base, "config"), (override, "config")]
    assert found.plugins_path == f"{tmp_path}/app/plugins" and found.home == "/root"
    described = loaded.describe()["sources"]
    assert described["unit_files"] == [unit, drop_in] and described["executable"] == f"{tmp_path}/app/kestra"
    assert described["overrides"] == [override] and described["command"] == "server standalone"
    names = loaded.environment_names()
    assert names["secrets"] == ["SECRET_X"] and names["variables"] == ["ENV_Y"]


def test_the_default_config_of_the_users_home_is_found_when_there_is_one(write, tmp_path):
    text = f"[Service]\nEnvironment=HOME={tmp_path}/home\nExecStart=/k server standalone\n"
    unit = write("kestra.service", text)
    assert sources.gather(unit=unit).sources.overrides == ()
    write("home/.kestra/config.yml", "x: home")
    assert get("x", unit=unit, environment={"X": "variable"}) == "home"
    other = write("other.yml", "x: explicit")
    assert get("x", unit=write("k2.service", text.replace("standalone", f"standalone -c {other}"))) == "explicit"


def test_a_missing_override_is_ignored_as_kestra_does_but_said(write):
    found = sources.gather(unit=write("kestra.service", "[Service]\nExecStart=/k server standalone -c /nowhere.yml\n"))
    assert "does not exist" in found.sources.warnings[0] and "/nowhere.yml" in found.sources.warnings[0]


def test_java_jar_ignores_kestra_configuration(write):
    base = write("base.yml", "x: file")
    unit = write("kestra.service", f"[Service]\nEnvironment=MICRONAUT_CONFIG_FILES={base} KESTRA_CONFIGURATION=x\n"
                 "ExecStart=/usr/bin/java -jar /k.jar server standalone\n")
    found = sources.gather(unit=unit)
    assert [layer.name for layer in found.sources.files] == [base]
    assert "ignores it" in found.sources.warnings[0]


def test_an_environment_file_that_is_missing_fails_only_without_the_dash(write):
    sources.gather(unit=write("a.service", "[Service]\nEnvironmentFile=-/nowhere.env\nExecStart=/k server x\n"))
    with pytest.raises(ConfigError) as caught:
        sources.gather(unit=write("b.service", "[Service]\nEnvironmentFile=/nowhere.env\nExecStart=/k server x\n"))
    assert caught.value.reason == "file_missing" and "/nowhere.env" in caught.value.message


def test_an_explicit_file_the_unit_names_as_well_is_read_once(write):
    base = write("base.yml", "x: 1")
    unit = write("kestra.service", f"[Service]\nEnvironment=MICRONAUT_CONFIG_FILES={base}\nExecStart=/k server x\n")
    assert len(sources.gather(unit=unit, files=[base]).sources.files) == 1


def test_a_unit_by_name_is_looked_for_on_disk(write, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "UNIT_DIRECTORIES", (f"{tmp_path}/etc", f"{tmp_path}/lib"))
    monkeypatch.setattr(sources, "_paths_from_systemctl", lambda full: [])
    write("lib/kestra-drtest@.service", "[Service]\nEnvironment=I=%i A=lib\nExecStart=/k server standalone\n")
    write("lib/kestra-drtest@.service.d/20.conf", "[Service]\nEnvironment=A=twenty\n")
    write("lib/kestra-drtest@.service.d/10.conf", "[Service]\nEnvironment=A=ten B=lib\n")
    write("etc/kestra-drtest@.service.d/10.conf", "[Service]\nEnvironment=C=etc\n")
    write("etc/kestra-drtest@blue.service.d/30.conf", "[Service]\nEnvironment=D=blue\n")
    (tmp_path / "etc/kestra-drtest@.service.d/25.conf").symlink_to("/dev/null")
    unit = sources.read_unit("kestra-drtest@blue")
    assert unit.environment == {"I": "blue", "A": "twenty", "C": "etc", "D": "blue"}
    with pytest.raises(ConfigError) as caught:
        sources.read_unit("kestra-no-such")
    assert caught.value.reason == "unit_missing" and "kestra-no-such.service" in caught.value.message
    with pytest.raises(ConfigError):
        sources.read_unit("/nowhere/kestra.service")


def test_a_running_systemd_is_asked_for_the_files(write, tmp_path, monkeypatch):
    main = write("run/kestra.service", "[Service]\nEnvironment=A=1\nExecStart=/k server standalone\n")
    more = write("run/more.conf", "[Service]\nEnvironment=B=2\n")
    write("bin/systemctl", f"""#!/bin/sh
[ "$*" = "show --property=FragmentPath,DropInPaths kestra.service" ] || exit 0
printf 'FragmentPath={main}\\nDropInPaths={more}\\n'
""", 0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    unit = sources.read_unit("kestra")
    assert unit.files == [main, more] and unit.environment == {"A": "1", "B": "2"}
    with pytest.raises(ConfigError) as caught:
        sources.read_unit("unknown-to-systemd")
    assert caught.value.reason == "unit_missing"
    write("bin/systemctl", "#!/bin/sh\necho 'System has not been booted with systemd' >&2\nexit 1\n", 0o755)
    monkeypatch.setattr(sources, "UNIT_DIRECTORIES", (f"{tmp_path}/run",))
    assert sources.read_unit("kestra").files == [main]


# -- bundles ----------------------------------------------------------------------------------------------------------

def test_a_bundle_gives_the_same_configuration_without_the_files(write, tmp_path):
    base = write("base.yml", "x: {a: base, b: '${B}', c: base}")
    override = write("o.yml", "x.c: override")
    unit = write("kestra.service", f"[Service]\nEnvironment=MICRONAUT_CONFIG_FILES={base} B=p%%ss\n"
                 f"Environment=JAVA_OPTS=-Dx.d=prop\n"
                 f"ExecStart=/k server standalone --port 9 -c {override}\n")
    gathered = sources.gather(unit=unit)
    taken, _unused = bundle.build(gathered, host="h1")
    path = str(tmp_path / "bundle.json")
    bundle.write(path, taken)
    for name in (base, override, unit):
        os.unlink(name)
    before, after = config.load(gathered.sources), config.load(sources.gather(bundle=path).sources)
    for key in ("x.a", "x.b", "x.c", "x.d", "micronaut.server.port"):
        assert after.get(key) is not None and after.get(key) == before.get(key)
    assert after.get("x.b") == "p%ss"


def test_a_bundle_of_a_text(tmp_path):
    taken, _unused = bundle.build(sources.gather(text="x: ${B}", environment={"B": "1"}), host="h1")
    path = str(tmp_path / "bundle.json")
    bundle.write(path, taken)
    assert get("x", bundle=path) == "1"
    assert get("x", bundle=path, environment={"B": "2"}) == "2"
    assert len(sources.gather(bundle=path).sources.files) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 2}', '{"schema": 1}',
                                     '{"schema": 1, "files": [{}], "environment": {}, "layers": {}}',
                                     '{"schema": 1, "files": [], "environment": {}, "layers": {"files": ["/x"]}}',
                                     '{"schema": 1, "files": [{"path": "/x", "content_b64": "?"}], "environment": {}, '
                                     '"layers": {"files": ["/x"]}}'])
def test_a_damaged_bundle_is_refused(write, content):
    path = write("b.json", content)
    with pytest.raises(ConfigError) as caught:
        sources.gather(bundle=path)
    assert caught.value.reason == "bad_bundle" and path in caught.value.message
