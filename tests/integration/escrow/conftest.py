# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recovery point with a real configuration in a real restic repository, and OpenSSH's own server on loopback."""
from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import bundle, sources
from ansible_collections.kestra_community.dr.plugins.module_utils.storage import local
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import client, copy_out, inventory, store
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import options as object_options
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import options, points, ship
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.catalog import Catalog
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import Restic
from ansible_collections.kestra_community.dr.tests.integration.object_storage import s3_server

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kestra-dr-tests"
CONFIGURATION = """\
kestra:
  repository: {type: postgres}
  queue: {type: postgres}
  storage: {type: local, local: {base-path: /app/storage}}
  encryption: {secret-key: "SECRETKEYOFTHEINSTANCE"}
datasources:
  postgres: {url: "jdbc:postgresql://db:5432/kestra", username: kestra, password: "${DB_PASSWORD}"}
"""
ENVIRONMENT = "DB_PASSWORD='data base $ecret'\nSECRET_MAIL=bWFpbA==\nHARMLESS=1\n"
REPOSITORY_PASSWORD = "p@ss w'ord \"of\" the $repository"


class Lab:
    """A vault, a repository, a host's configuration and a storage, from which points are taken."""

    def __init__(self, base, new=True):
        self.base = base
        self.vault = Catalog(base / "vault", "kestra")
        self.password = self.private("password", REPOSITORY_PASSWORD + "\n")
        self.passphrase = self.private("passphrase", "correct horse battery staple\n")
        self.restic = Restic(options.from_options({
            "repository": str(base / "repository"), "repository_password_file": self.password,
            "cache_dir": str(base / "cache")}))
        self.configuration = base / "etc" / "application.yml"
        self.kit = base / "stick" / "kit.asc"
        if new:
            self.make(base)

    def make(self, base):
        self.restic.init()
        self.configuration.parent.mkdir()
        self.configuration.write_text(CONFIGURATION)
        (base / "etc" / "env").write_text(ENVIRONMENT)
        (base / "storage" / "a").mkdir(parents=True)
        (base / "storage" / "a" / "file").write_text("content")
        self.kit.parent.mkdir()

    def private(self, name, content):
        path = self.base / name
        path.write_text(content)
        path.chmod(0o600)
        return str(path)

    def write_bundle(self, directory):
        """What a recovery point holds of the configuration as it is now: (size, digest)."""
        gathered = sources.gather(files=[str(self.configuration)], environment_files=[str(self.base / "etc" / "env")])
        built, _report = bundle.build(gathered, host="h1")
        return bundle.write(str(directory / "h1.json"), built)

    def bundles(self):
        """A directory with it, as a preflight has it."""
        directory = self.base / "bundles"
        directory.mkdir(exist_ok=True)
        self.write_bundle(directory)
        return directory

    def restic_alone(self, *words):
        """restic by itself."""
        subprocess.run(["restic", "--repo", str(self.base / "repository"), "--password-file", self.password, "--cache-dir",
                        str(self.base / "cache"), *words], check=True, capture_output=True)

    def copied(self, server, bucket, opened):
        """The component of a storage in a bucket."""
        place = object_options.Place(bucket=bucket, endpoint=server.endpoint, access_key=s3_server.ACCESS_KEY,
                                     secret_key=s3_server.SECRET_KEY)
        with client.opened(place) as source:
            inventory.take(source, self.base / "pin.gz")
            taken = copy_out.Copy(source, store.Store(self.base / "objects"), self.base / "pin.gz").run(
                os.path.join(opened["lists"], "storage.jsonl.gz"))
        return {"engine": "s3", "strategy": "objects", **{name: taken[name] for name in ("objects", "markers", "bytes", "drift")},
                "list": dict(taken["list"], file="storage.jsonl.gz")}

    def take(self, server=None, bucket=None):
        opened = points.open_point(self.vault, run_id="run")
        point, staging = opened["id"], Path(opened["staging"])
        (staging / "config").mkdir()
        size, digest = self.write_bundle(staging / "config")
        self.add(point, "config", staging, {
            "engine": "bundle", "hosts": {"h1": {}}, "bytes": size,
            "files": [{"path": "h1.json", "size": size, "sha256": digest}]})
        if bucket:
            self.add(point, "storage", self.base, self.copied(server, bucket, opened), "objects")
        else:
            taken = local.take(str(self.base / "storage"), dest=os.path.join(opened["lists"], "storage.jsonl.gz"), digests=True)
            self.add(point, "storage", self.base, {
                "engine": "local", "bytes": taken["bytes"], "list": dict(taken["list"], file="storage.jsonl.gz")})
        points.seal(self.vault, point, points.build_manifest(
            self.vault, point, {"consistency": {"mode": "live"}}, sealed="2026-11-23T00:20:00Z"))
        ship.ship(self.vault, point, self.restic)
        return point

    def add(self, point, name, base_dir, facts, directory=None):
        directory = directory or name
        stored = self.restic.backup([directory], base_dir=str(base_dir), tags=points.tags("kestra", point, name),
                                    host=points.restic_host("kestra"))
        points.add_component(self.vault, point, name, dict(
            {"strategy": "files"}, **facts, held="vault", snapshot=stored["snapshot"], path=f"/{directory}"))

    def options(self):
        """Of the module."""
        return {"vault": str(self.vault.vault), "instance": "kestra", "repository": str(self.base / "repository"),
                "repository_password_file": self.password, "cache_dir": str(self.base / "cache"),
                "passphrase_file": self.passphrase, "path": str(self.kit)}


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    """One with a sealed point, for all tests to copy."""
    for program in ("restic", "gpg"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed on this machine")
    made = Lab(tmp_path_factory.mktemp("original"))
    made.take()
    return made


@pytest.fixture
def lab(original, tmp_path):
    shutil.copytree(original.base, tmp_path / "lab")
    return Lab(tmp_path / "lab", new=False)


def fetched():
    """The root of the machine's own release of OpenSSH's server, unpacked; nothing is installed."""
    root = CACHE / "sshd"
    if root.is_dir():
        return root
    CACHE.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".openssh-server.", dir=CACHE))
    try:
        # Of the libraries it needs, those that a base system lacks; the second one came with Debian 13.
        known = [name for name in ("libwrap0", "libwtmpdb0")
                 if not subprocess.run(["apt-cache", "show", name], capture_output=True, check=False).returncode]
        done = subprocess.run(["apt-get", "-q", "download", "openssh-server", *known], cwd=work, capture_output=True,
                              text=True, check=False)
        if done.returncode:
            pytest.skip(f"no sshd here, and apt-get download openssh-server failed: {done.stderr.strip()[-200:]}")
        for package in work.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", str(package), str(work / "root")], check=True)
        with contextlib.suppress(OSError):  # another test process was faster
            os.rename(work / "root", root)
        return root
    finally:
        shutil.rmtree(work, ignore_errors=True)


class Server:
    """sshd for SFTP alone, as an unprivileged account when we are root."""

    _numbers = itertools.count(1)

    def __init__(self, base):
        self.base = base
        self.user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.process = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        base.chmod(0o755)
        self.files = base / "files"
        self.files.mkdir()
        self.key(base / "id")
        self.new_host_key()
        installed = Path("/usr/sbin/sshd")
        self.root = Path("/") if installed.exists() else base / "root"
        if not installed.exists():
            # Where the account may go.
            shutil.copytree(fetched(), self.root, symlinks=True)
        (base / "conf").write_text("".join(f"{line}\n" for line in (
            f"Port {self.port}", "ListenAddress 127.0.0.1", f"HostKey {base}/host", "PidFile none", "StrictModes no",
            f"AuthorizedKeysFile {base}/id.pub", "PasswordAuthentication no", "KbdInteractiveAuthentication no",
            "UsePAM yes", "Subsystem sftp internal-sftp", "ForceCommand internal-sftp", *self._own_programs())))

    def _own_programs(self):
        """Since 9.8 sshd looks for parts of itself where it would be installed."""
        parts = self.root / "usr" / "lib" / "openssh"
        return [f"{name} {parts / program}" for name, program in (("SshdSessionPath", "sshd-session"), ("SshdAuthPath", "sshd-auth"))
                if (parts / program).exists()]

    @staticmethod
    def key(path):
        path.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)

    def new_host_key(self):
        self.key(self.base / "host")

    def own(self):
        """Everything but the client's key belongs to the account."""
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{self.user}:", str(self.base)], check=True)
            subprocess.run(["chown", "root:", str(self.base / "id")], check=True)

    def start(self):
        self.own()
        libraries = [str(self.root / "usr" / "lib" / name) for name in os.listdir(self.root / "usr" / "lib")
                     if name.endswith("-linux-gnu")]
        account = {} if os.geteuid() else {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []}
        with open(self.base / "log", "a") as log:
            self.process = subprocess.Popen(
                [str(self.root / "usr/sbin/sshd"), "-D", "-e", "-f", str(self.base / "conf")], cwd="/", stderr=log,
                env={"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": ":".join(libraries)}, **account)
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    pytest.fail("sshd did not start: " + (self.base / "log").read_text()[-500:])
                time.sleep(0.05)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)

    def known_hosts(self, path):
        kind, key = (self.base / "host.pub").read_text().split()[:2]
        path.write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")
        return str(path)


@pytest.fixture
def sshd():
    pytest.importorskip("paramiko", reason="paramiko is not installed in this Python")
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed on this machine")
    # Directories of pytest are closed to other accounts.
    base = Path(tempfile.mkdtemp(prefix="kdr-sshd-"))
    server = Server(base)
    try:
        yield server.start()
    finally:
        server.stop()
        shutil.rmtree(base, ignore_errors=True)
