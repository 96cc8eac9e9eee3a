# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The escrow kit: written to this host and by SFTP to another, opened and followed by its documented command alone."""
from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import DrError
from ansible_collections.kestra_community.dr.plugins.module_utils.core.places import Sftp
from ansible_collections.kestra_community.dr.plugins.modules import escrow_kit, escrow_kit_info
from ansible_collections.kestra_community.dr.tests.integration.escrow.conftest import REPOSITORY_PASSWORD
from ansible_collections.kestra_community.dr.tests.integration.object_storage import s3_server
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules import kestra_runner

DOCUMENTED = Path(__file__).parents[3] / "docs" / "escrow.md"
HOMES = []
SECRETS = ("SECRETKEYOFTHEINSTANCE", "data base $ecret", "bWFpbA==", REPOSITORY_PASSWORD, "battery staple")


def keep(lab, check=False, **more):
    told = kestra_runner.run(escrow_kit, check=check, **dict(lab.options(), **more))
    assert not [secret for secret in SECRETS if secret in told["_raw"]]
    return told


@pytest.fixture(autouse=True)
def somebody():
    """The home of somebody who never used gpg. Its path is short, since the socket of gpg's agent lies in it."""
    with tempfile.TemporaryDirectory(prefix="kdr-", dir="/tmp") as home:
        HOMES.append(home)
        yield


def documented(start, lab, kit):
    """A command of the documentation in words, and the environment of somebody who never used gpg."""
    command = next(line for line in DOCUMENTED.read_text(encoding="utf-8").splitlines() if line.startswith(start))
    ours = {"PASSPHRASE_FILE": lab.passphrase, "kestra.asc": str(kit), "kit.txt": str(lab.base / "kit.txt")}
    return [ours.get(word, word) for word in command.split()], {"PATH": os.environ["PATH"], "HOME": HOMES[-1]}


def opened(lab, kit):
    """The kit's text, by the command for where nobody can be asked."""
    words, env = documented("gpg --batch", lab, kit)
    return subprocess.run(words, check=True, capture_output=True, text=True, env=env).stdout


def opened_by_a_person(lab, kit):
    """The kit's text, by the command that asks for the passphrase on the terminal."""
    pexpect = pytest.importorskip("pexpect", reason="pexpect is not installed in this Python")
    words, env = documented("gpg --pinentry-mode", lab, kit)
    try:
        terminal = pexpect.spawn(words[0], words[1:], env=env, timeout=60)
        terminal.expect("Enter passphrase:")
        terminal.sendline("correct horse battery staple")
        terminal.expect(pexpect.EOF)
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], env=env, check=False, capture_output=True)
    return (lab.base / "kit.txt").read_text(encoding="utf-8")


def test_what_it_says_is_enough_to_restore_by_hand(lab, original):
    point = lab.vault.sealed_ids()[0]
    told = keep(lab)
    assert told["changed"] and (told["found"]["state"], told["kit"]["state"], told["id"]) == ("missing", "current", point)
    assert not [secret for secret in SECRETS if secret.encode() in lab.kit.read_bytes()]
    text = opened_by_a_person(lab, lab.kit)
    assert text == opened(lab, lab.kit)
    assert not [secret for secret in SECRETS[:4] if secret not in text and secret != REPOSITORY_PASSWORD]
    # Everything of this host is lost but the repository.
    for path in (lab.password, lab.passphrase, lab.configuration, lab.base / "etc" / "env"):
        os.unlink(path)
    repository, by_hand = (re.split(r"\n\d\. [A-Z ]+\n", text)[number] for number in (2, 4))
    shell = "".join(line + "\n" for line in repository.splitlines() if line.startswith(("export ", "restic ")))
    shell += re.search(r"(?ms)^POINT=.*?^done$", by_hand).group(0) + "\n"
    shell += re.search(r"(?ms)^python3 -c .*?^' .*?$", by_hand).group(0)
    for written, ours in (("TARGET=/restore", f"TARGET='{lab.base}/restore'"), ("HOST.json", "h1.json"),
                          (" /restore/files", f" '{lab.base}/files'")):
        assert shell.count(written) == 1
        shell = shell.replace(written, ours)
    done = subprocess.run(["bash", "-euc", shell], capture_output=True, text=True, check=False,
                          env={"PATH": os.environ["PATH"], "HOME": str(lab.base)})
    assert done.returncode == 0, done.stderr
    assert (lab.base / "restore" / "storage" / "a" / "file").read_text() == "content"
    assert (lab.base / "restore" / point / "manifest.json").exists()
    found = Path(f"{lab.base}/files{original.configuration}").read_text()
    assert "SECRETKEYOFTHEINSTANCE" in found


def test_it_is_written_when_that_is_needed_and_told_otherwise(lab):
    assert keep(lab, check=True)["changed"] and not lab.kit.exists()
    assert keep(lab)["changed"]
    first = lab.kit.read_bytes()
    again = keep(lab)
    assert not again["changed"] and lab.kit.read_bytes() == first and again["kit"]["age_days"] < 1
    old = keep(lab, state="query", max_age_days=-1)
    assert not old["changed"] and (old["kit"]["state"], old["kit"]["why"]) == ("stale", "it is older than -1 days")
    lab.configuration.write_text(lab.configuration.read_text().replace("SECRETKEYOFTHEINSTANCE", "ANOTHERKEY"))
    lab.take()
    told = keep(lab)
    assert told["changed"] and told["found"]["why"] == "its content is no longer true"
    assert "ANOTHERKEY" in opened(lab, lab.kit)


def test_what_does_not_open_stays_as_it_is(lab):
    keep(lab)
    first = lab.kit.read_bytes()
    other = lab.private("other", "incorrect horse battery staple\n")
    assert keep(lab, passphrase_file=other)["reason"] == "not_opened"
    lab.kit.write_bytes(first[:-200])
    assert keep(lab)["reason"] == "not_opened" and lab.kit.read_bytes() == first[:-200]


def test_places_that_will_not_do(lab):
    assert keep(lab, instance="another")["reason"] == "no_such_point"
    assert keep(lab, path=str(lab.base / "nowhere" / "kit.asc"))["reason"] == "not_found"
    assert keep(lab, path=str(lab.base / "vault" / "kit.asc"))["reason"] == "not_apart"
    assert keep(lab, path="/proc/kit.asc")["failed"] is True
    assert keep(lab, path="kit.asc")["reason"] == "bad_path"
    assert keep(lab, sftp_host="h")["failed"] is True and "required together" in keep(lab, sftp_host="h")["msg"]
    assert keep(lab, passphrase_file=lab.private("short", "short\n"))["reason"] == "passphrase_too_short"


def look(lab, **more):
    """What is told to whoever has no passphrase."""
    options = {name: value for name, value in lab.options().items() if name != "passphrase_file"}
    told = kestra_runner.run(escrow_kit_info, **dict(options, **more))
    assert not [secret for secret in SECRETS if secret in told["_raw"]] and not told.get("failed"), told
    return told["kit"]["state"], told["kit"]["why"]


def test_whether_it_is_stale_is_told_without_its_passphrase(lab):
    id_of = lab.vault.manifest(lab.vault.sealed_ids()[0])["instance"]["id"]
    today = {"bundles": str(lab.bundles()), "instance_id": id_of}
    assert look(lab, **today) == ("missing", "there is none")
    keep(lab)
    record = Path(f"{lab.kit}.json")
    assert not [secret for secret in SECRETS if secret in record.read_text()]
    assert look(lab, **today) == look(lab) == ("current", None)
    assert look(lab, max_age_days=-1)[1] == "it is older than -1 days"
    assert look(lab, instance_id="another")[1] == "it was made for another instance"
    other = lab.private("other", REPOSITORY_PASSWORD + "2\n")
    lab.restic_alone("key", "add", "--new-password-file", other)
    assert look(lab, repository_password_file=other)[1].startswith("it was made for another repository, or another password")
    # Another key of Kestra, of which there is no recovery point yet.
    lab.configuration.write_text(lab.configuration.read_text().replace("SECRETKEYOFTHEINSTANCE", "ANOTHERKEY"))
    assert look(lab, bundles=str(lab.bundles()), instance_id=id_of)[1] == "it was made for other keys, passwords or settings of Kestra"
    lab.take()
    assert keep(lab)["changed"] and look(lab, bundles=str(lab.bundles()), instance_id=id_of) == ("current", None)
    kit = lab.kit.read_bytes()
    lab.kit.write_bytes(kit[:-1])
    assert look(lab)[1] == "what lies beside it tells of another one"
    lab.kit.write_bytes(kit)
    record.unlink()
    assert look(lab)[1] == "nothing beside it tells what it was made for"
    # The kit is still true: only what lies beside it is written again.
    again = keep(lab)
    assert again["changed"] and again["kit"] == again["found"] and lab.kit.read_bytes() == kit and look(lab) == ("current", None)


def far(lab, sshd):
    return {"sftp_host": "127.0.0.1", "sftp_port": sshd.port, "sftp_user": sshd.user,
            "sftp_key_file": str(sshd.base / "id"), "sftp_known_hosts": sshd.known_hosts(lab.base / "known_hosts"),
            "path": str(sshd.files / "kit.asc")}


def test_on_another_host(lab, sshd):
    told = keep(lab, **far(lab, sshd))
    kit = sshd.files / "kit.asc"
    assert told["changed"] and told["kit"]["place"] == f"sftp://{sshd.user}@127.0.0.1:{sshd.port}{kit}"
    assert "SECRETKEYOFTHEINSTANCE" in opened(lab, kit)
    assert sorted(path.name for path in sshd.files.iterdir()) == ["kit.asc", "kit.asc.json"] and kit.stat().st_mode & 0o777 == 0o600
    assert not keep(lab, **far(lab, sshd))["changed"] and look(lab, **far(lab, sshd)) == ("current", None)
    # Left by a run that was killed.
    (sshd.files / "kit.asc.part").write_text("half")
    sshd.own()
    assert keep(lab, max_age_days=-1, **far(lab, sshd))["changed"]
    assert sorted(path.name for path in sshd.files.iterdir()) == ["kit.asc", "kit.asc.json"]


@pytest.fixture
def bucket(lab):
    """A server, the name of a bucket for kits, and the options of one in it."""
    if not s3_server.PROGRAM:
        pytest.skip("no S3 server: KESTRA_DR_TEST_S3_SERVER names none (scripts/lib/s3.sh builds it)")
    server = s3_server.Server().start()
    try:
        account = lab.private("account", f"AWS_ACCESS_KEY_ID={s3_server.ACCESS_KEY}\n"
                                         f"AWS_SECRET_ACCESS_KEY={shlex.quote(s3_server.SECRET_KEY)}\n")
        server.bucket("escrow")
        yield server, "escrow", {"s3_bucket": "escrow", "s3_endpoint": server.endpoint, "s3_credentials_file": account,
                                 "path": "kits/kestra.asc"}
    finally:
        server.destroy()


def test_in_a_bucket(lab, bucket):
    server, name, known = bucket
    assert look(lab, **known) == ("missing", "there is none")
    told = keep(lab, **known)
    assert told["changed"] and told["kit"]["place"] == f"s3://escrow/kits/kestra.asc at {server.endpoint}"
    kit = server.client().get_object(Bucket=name, Key="kits/kestra.asc")["Body"].read()
    lab.kit.write_bytes(kit)
    assert "SECRETKEYOFTHEINSTANCE" in opened(lab, lab.kit)
    assert not keep(lab, **known)["changed"] and look(lab, **known) == ("current", None)
    assert s3_server.SECRET_KEY not in told["_raw"]
    assert keep(lab, **dict(known, s3_bucket="nowhere"))["reason"] == "bucket_missing"
    assert look(lab, **dict(known, s3_bucket="nowhere"))[0] == "unknown"
    assert "mutually exclusive" in keep(lab, sftp_host="h", sftp_user="u", sftp_key_file="k", sftp_known_hosts="n", **known)["msg"]
    server.stop()


def test_what_it_says_puts_a_bucket_back(lab, bucket):
    """By hand, with the commands of the kit alone: everything of this host is lost but the repository."""
    server, _name, known = bucket
    source, target = server.bucket("source"), server.bucket("target")
    client = server.client()
    for key, body, how in (("main/company/team/_kv/k.ion", b"value", {"Metadata": {"description": "kept"}}),
                           ("main/company/team/_kv/", b"", {}), ("main/odd/ a", b"odd", {"ContentType": "x/odd"})):
        client.put_object(Bucket=source, Key=key, Body=body, **how)
    lab.take(server=server, bucket=source)
    keep(lab, **known)
    lab.kit.write_bytes(client.get_object(Bucket="escrow", Key="kits/kestra.asc")["Body"].read())
    text = opened(lab, lab.kit)
    for path in (lab.password, lab.passphrase, lab.configuration, lab.base / "etc" / "env"):
        os.unlink(path)
    shutil.rmtree(lab.base / "vault")
    repository, by_hand = (re.split(r"\n\d\. [A-Z ]+\n", text)[number] for number in (2, 4))
    shell = "".join(line + "\n" for line in repository.splitlines() if line.startswith(("export ", "restic ")))
    shell += re.search(r"(?ms)^POINT=.*?^done$", by_hand).group(0) + "\n"
    shell += re.findall(r"(?ms)^python3 -c .*?^' .*?$", by_hand)[1]
    for written, ours in (("TARGET=/restore", f"TARGET='{lab.base}/restore'"),
                          ("ENDPOINT BUCKET PREFIX", f"{server.endpoint} {target} new/")):
        assert shell.count(written) == 1
        shell = shell.replace(written, ours)
    done = subprocess.run(["bash", "-euc", shell], capture_output=True, text=True, check=False, env={
        "PATH": os.environ["PATH"], "HOME": str(lab.base), "AWS_ACCESS_KEY_ID": s3_server.ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": s3_server.SECRET_KEY, "AWS_DEFAULT_REGION": "us-east-1"})
    assert done.returncode == 0, done.stderr

    def contents(bucket, below):
        found = {}
        for item in client.list_objects_v2(Bucket=bucket)["Contents"]:
            answer = client.get_object(Bucket=bucket, Key=item["Key"])
            found[item["Key"][len(below):]] = (answer["Body"].read(), answer["Metadata"], answer["ContentType"])
        return found
    assert contents(target, "new/") == contents(source, "") and len(contents(source, "")) == 3


def test_a_host_that_shows_another_key_gets_nothing(lab, sshd):
    known = far(lab, sshd)
    sshd.stop()
    sshd.new_host_key()
    sshd.start()
    for state in ("present", "query"):
        assert keep(lab, state=state, **known)["reason"] == "host_key_changed"
    Path(known["sftp_known_hosts"]).write_text("")
    told = keep(lab, **known)
    assert told["reason"] == "host_key_unknown" and f"ssh-keyscan -p {sshd.port}" in told["hint"]
    assert list(sshd.files.iterdir()) == []
    assert "Accepted" not in (sshd.base / "log").read_text()


def test_a_host_that_does_not_take_it(lab, sshd):
    sshd.files.chmod(0o500)
    assert keep(lab, **far(lab, sshd))["reason"] == "permission_denied"
    assert keep(lab, **{**far(lab, sshd), "path": str(sshd.base / "no" / "kit.asc")})["reason"] == "not_found"
    sshd.key(lab.base / "stranger")
    assert keep(lab, **{**far(lab, sshd), "sftp_key_file": str(lab.base / "stranger")})["reason"] == "login_refused"
    assert keep(lab, **{**far(lab, sshd), "sftp_key_file": str(lab.base / "none")})["reason"] == "key_file_missing"
    assert keep(lab, **{**far(lab, sshd), "sftp_known_hosts": str(lab.base / "none")})["reason"] == "known_hosts_unreadable"
    place = far(lab, sshd)
    sshd.stop()
    assert keep(lab, **place)["reason"] == "unreachable"
    assert look(lab, **place)[0] == "unknown"


def test_the_old_kit_stays_whole_when_the_new_one_does_not_arrive(lab, sshd, monkeypatch):
    known = far(lab, sshd)
    place = Sftp(known["path"], "127.0.0.1", sshd.user, known["sftp_key_file"], known["sftp_known_hosts"], sshd.port)
    place.write(b"old")
    paramiko = pytest.importorskip("paramiko")

    def broken(self, *_arguments):
        raise OSError("Failure")
    monkeypatch.setattr(paramiko.SFTPClient, "posix_rename", broken)
    with pytest.raises(DrError):
        place.write(b"new")
    monkeypatch.undo()
    assert place.read() == b"old" and [path.name for path in sshd.files.iterdir()] == ["kit.asc"]


def test_by_its_playbook(lab):
    collections = next(path for path in sys.path if os.path.isdir(os.path.join(path, "ansible_collections", "kestra_community")))
    (lab.base / "inventory").write_text("[kestra]\nlocalhost ansible_connection=local\n")
    variables = {
        "ansible_python_interpreter": sys.executable, "kestra_dr_python": sys.executable,
        "kestra_dr_state_dir": str(lab.base), "kestra_dr_repository": str(lab.base / "repository"),
        "kestra_dr_repository_password_file": lab.password, "kestra_dr_escrow_path": str(lab.kit),
        "kestra_dr_escrow_passphrase_file": lab.passphrase}

    def play(*arguments):
        done = subprocess.run(
            [os.path.join(os.path.dirname(sys.executable), "ansible-playbook"), "-i", str(lab.base / "inventory"),
             "kestra_community.dr.escrow", "-e", json.dumps(variables), *arguments], text=True, capture_output=True, check=False,
            env=dict(os.environ, ANSIBLE_COLLECTIONS_PATH=collections, ANSIBLE_NOCOLOR="1", LC_ALL="C.UTF-8",
                     ANSIBLE_LOCAL_TEMP=str(lab.base / "tmp")))
        assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
        return done
    looked = play("--check")
    assert looked.returncode == 0 and not lab.kit.exists(), looked.stdout + looked.stderr
    written = play()
    assert written.returncode == 0, written.stdout + written.stderr
    assert f"escrow kit {lab.kit}: current; written 20" in written.stdout
    assert "SECRETKEYOFTHEINSTANCE" in opened(lab, lab.kit)
    del variables["kestra_dr_escrow_passphrase_file"]
    refused = play()
    assert refused.returncode != 0 and "kestra_dr_escrow_passphrase_file" in refused.stdout
