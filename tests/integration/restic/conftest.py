# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""restic programs of several versions, repositories, trees with every kind of name, and modules run as processes.

Newer versions than the installed one come as packages of Debian's later releases, from the mirror this machine's apt
uses, with apt's own checks, into a cache of the user; nothing is installed. Without a mirror those tests are skipped.
"""
from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.storage import local
from ansible_collections.kestra_community.dr.plugins.module_utils.vault import restic_output as output
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.options import Repository
from ansible_collections.kestra_community.dr.plugins.module_utils.vault.restic import Restic

PACKAGE = "ansible_collections.kestra_community.dr"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
PASSWORD = "p@ss: %w0rd' with \"everything\" ä"
TAGS = ["kestra-dr", "instance=kestra", "point=20261123T001500Z-a1b2c3"]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kestra-dr-tests"


def mirror():
    """The address of the Debian mirror of this machine's apt, or None."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE) $(COMPONENT)"], capture_output=True, text=True, check=False
    )
    for line in listed.stdout.splitlines():
        site, _blank, component = line.partition(" ")
        if component == "main" and "debian" in site and "security" not in site:
            return site
    return None


def fetched(package, suite):
    """The root of an unpacked package of a Debian release. Raises LookupError with the reason when it cannot be had."""
    root = CACHE / f"{package}-{suite}"
    if root.is_dir():
        return root
    site = mirror() if shutil.which("apt-get") else None
    if site is None or not os.path.exists(KEYRING):
        raise LookupError(f"{package} of Debian {suite}: apt of this machine has no Debian mirror")
    work = CACHE / f".{package}-{suite}.{os.getpid()}"
    shutil.rmtree(work, ignore_errors=True)
    try:
        for name in ("lists/partial", "archives/partial", "root"):
            (work / name).mkdir(parents=True)
        (work / "status").touch()
        (work / "sources.list").write_text(f"deb [signed-by={KEYRING}] {site} {suite} main\n")
        (work / "apt.conf").write_text("".join(f"{line};\n" for line in (
            f'Dir::Etc::sourcelist "{work}/sources.list"', 'Dir::Etc::sourceparts "/dev/null"',
            'Dir::Etc::preferencesparts "/dev/null"', f'Dir::State::lists "{work}/lists"',
            f'Dir::State::status "{work}/status"', f'Dir::Cache "{work}"', f'Dir::Cache::archives "{work}/archives"',
            'APT::Sandbox::User ""', 'Acquire::Languages "none"', 'Acquire::Retries "2"', 'Acquire::http::Timeout "20"',
            'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false"')))
        env = dict(os.environ, APT_CONFIG=str(work / "apt.conf"), LC_ALL="C")
        for command in (["update"], ["download", package]):
            done = subprocess.run(
                ["apt-get", "-q"] + command, env=env, cwd=work, capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                raise LookupError(
                    f"{package} of Debian {suite}: apt-get {command[0]} failed: {done.stderr.strip()[-200:]}"
                )
        subprocess.run(["dpkg-deb", "-x", str(next(work.glob("*.deb"))), str(work / "root")], check=True)
        os.rename(work / "root", root)
        return root
    finally:
        shutil.rmtree(work, ignore_errors=True)


def program(package, suite, path):
    """The path of a program of a package that runs here; skips the test with the reason otherwise."""
    try:
        found = fetched(package, suite) / path
    except LookupError as exc:
        pytest.skip(str(exc))
    done = subprocess.run([found, "version"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"{package} of Debian {suite} does not run here: {done.stderr.strip()[:200]}")
    return str(found)


@pytest.fixture(scope="session")
def installed():
    """The restic of this machine."""
    found = shutil.which("restic")
    if found is None:
        pytest.skip("restic is not installed")
    return found


def version_of(binary):
    return output.parse_version(subprocess.run([binary, "version"], capture_output=True, text=True, check=False).stdout)


def pytest_collection_modifyitems(items):
    """With restic of another release a fixed third of the tests, the full tier all of them."""
    for item in items:
        release = item.callspec.params.get("binary", "installed") if hasattr(item, "callspec") else "installed"
        if release != "installed" and zlib.crc32(item.originalname.encode()) % 3:
            item.add_marker(pytest.mark.full("two thirds of the tests of restic, with one of another release"))


@pytest.fixture(scope="session", params=["installed", "bookworm", "trixie", "sid"])
def binary(request, installed):
    """restic as installed, of Debian 12 (0.14), 13 (0.18) and unstable (0.19).

    Without KESTRA_DR_TEST_FULL=1 only the installed one, and for some tests one from the other side of 0.17, where exit
    codes changed.
    """
    if request.param == "installed":
        return installed
    across = "sid" if version_of(installed) < (0, 17) else "bookworm"
    if request.param != across and os.environ.get("KESTRA_DR_TEST_FULL") != "1":
        pytest.skip(f"left to --full: restic of {request.param}")
    found = program("restic", request.param, "usr/bin/restic")
    if version_of(found) == version_of(installed):
        pytest.skip(f"restic of {request.param} is the version that is installed")
    return found


@pytest.fixture(scope="session")
def rclone():
    """rclone, whose "serve restic" is a REST server for restic."""
    return shutil.which("rclone") or program("rclone", "bookworm", "usr/bin/rclone")


@pytest.fixture(scope="session")
def sftp_server():
    """The SFTP server of OpenSSH."""
    path = "usr/lib/openssh/sftp-server"
    if os.path.exists("/" + path):
        return "/" + path
    try:
        return str(fetched("openssh-sftp-server", "bookworm") / path)
    except LookupError as exc:
        pytest.skip(str(exc))


@pytest.fixture
def password_file(tmp_path):
    path = tmp_path / "password"
    path.write_text(PASSWORD)
    path.chmod(0o600)
    return str(path)


@pytest.fixture
def make(tmp_path, password_file):
    """make(binary, **options) is a Restic; its repository is a directory unless a location is given."""
    def build(binary, location=None, **options):
        options = dict(
            {"password_file": password_file, "cache_dir": str(tmp_path / "cache"), "lock_wait": 0.0}, **options
        )
        return Restic(Repository(location or str(tmp_path / "repository"), binary=str(binary), **options))
    return build


@pytest.fixture
def restic(make, binary):
    """A fresh repository, for each version of restic."""
    made = make(binary)
    made.init()
    return made


@pytest.fixture
def one_restic(make, installed):
    """A fresh repository, for the installed restic only."""
    made = make(installed)
    made.init()
    return made


def build_storage(root):
    """Makes a storage in which everything is odd: names, owners, modes, times, emptiness."""
    base = os.fsencode(root)
    chance = random.Random(5)
    os.makedirs(base + b"/ns/empty/deeper")
    os.makedirs(base + b"/ns/with space [1]*?")
    for name in (b"plain.ion", b"plain.ion.metadata", b"with space", b"nl\nname", b"bad\xff\xfename",
                 "äß€".encode(), b"-rf", b"*", b"[x]", b"back\\slash", b"%41", b"trailing "):
        for directory in (b"/ns/", b"/ns/with space [1]*?/"):
            with open(base + directory + name, "wb") as handle:
                handle.write(chance.randbytes(chance.choice((0, 1, 100, 70_000))))
    with open(base + b"/ns/big", "wb") as handle:
        handle.write(chance.randbytes(3_000_000))
    with open(base + b"/ns/sparse", "wb") as handle:
        handle.truncate(5_000_000)
    os.symlink("plain.ion", base + b"/ns/link")
    os.symlink("nowhere ä".encode(), base + b"/ns/broken")
    os.chmod(base + b"/ns/plain.ion", 0o640)
    os.chmod(base + b"/ns/with space", 0o400)
    os.chmod(base + b"/ns/empty", 0o2750)
    if os.geteuid() == 0:
        os.chown(base + b"/ns/plain.ion", 1234, 2345)
        os.chown(base + b"/ns/link", 1234, 2345, follow_symlinks=False)
        os.chown(base, 1234, 0)
        os.chmod(base + b"/ns/empty", 0o2750)  # a change of owner takes the bit away
    os.utime(base + b"/ns/plain.ion", ns=(1, 1577836800123456789))
    os.utime(base + b"/ns/empty", ns=(1, 1577836800123456789))
    os.utime(base, ns=(1, 1600000000000000001))
    return root


@pytest.fixture
def storage(tmp_path):
    """An odd storage of the test's own."""
    return build_storage(tmp_path / "app" / "storage")


class Kept:
    """A repository with one backup of an odd storage, for tests that change neither: restic, storage, list, done."""

    def __init__(self, directory, binary):
        self.directory = directory
        self.storage = build_storage(directory / "app" / "storage")
        self.list = directory / "list.gz"
        self.listed = local.take(self.storage, self.list, digests=True)
        password = directory / "password"
        password.write_text(PASSWORD)
        password.chmod(0o600)
        self.restic = Restic(Repository(str(directory / "repository"), password_file=str(password), binary=binary,
                                        cache_dir=str(directory / "cache"), lock_wait=0.0))
        self.restic.init()
        self.done = self.restic.backup(
            ["storage"], base_dir=str(self.storage.parent), tags=TAGS, host="kestra-dr-kestra"
        )
        self.snapshot = self.done["snapshot"]


@pytest.fixture(scope="session")
def kept(tmp_path_factory, binary):
    """Kept, for each version of restic."""
    return Kept(tmp_path_factory.mktemp("kept"), binary)


@pytest.fixture(scope="session")
def one_kept(tmp_path_factory, installed):
    """Kept, for the installed restic only."""
    return Kept(tmp_path_factory.mktemp("kept"), installed)


def run_module(name, params, check_mode=False, **popen):
    """Runs a module as Ansible would on a host; returns its result."""
    process = start_module(name, params, check_mode, **popen)
    out, err = process.communicate(timeout=600)
    try:
        return json.loads(out.strip().splitlines()[-1])
    except (IndexError, ValueError):
        raise AssertionError(f"{name} gave no result: {out!r} {err!r}") from None


def start_module(name, params, check_mode=False, **popen):
    """A running module."""
    arguments = {"ANSIBLE_MODULE_ARGS": dict(params, _ansible_check_mode=check_mode, _ansible_diff=True)}
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(path for path in sys.path if path))
    process = subprocess.Popen(
        [sys.executable, "-m", f"{PACKAGE}.plugins.modules.{name}"],
        stdin=subprocess.PIPE,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **popen,
    )
    process.stdin.write(json.dumps(arguments))
    process.stdin.close()
    process.stdin = None
    return process


@pytest.fixture(name="module")
def module_fixture():
    """module(name, params, check_mode=False) runs a module; module.start() only starts it."""
    run_module.start = start_module
    return run_module


class Watch(threading.Thread):
    """Samples the command lines and environments of all processes until it is stopped."""

    def __init__(self):
        super().__init__(daemon=True)
        self.lines = set()
        self._stop_it = threading.Event()

    def run(self):
        while not self._stop_it.wait(0.005):
            for entry in os.listdir("/proc"):
                if entry.isdigit():
                    try:
                        with open(f"/proc/{entry}/cmdline", "rb") as handle:
                            self.lines.add(handle.read().replace(b"\0", b" ").decode("utf-8", "surrogateescape"))
                    except OSError:
                        continue

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_error):
        self._stop_it.set()
        self.join()


@pytest.fixture
def watch():
    return Watch


def wait_for(condition, seconds=30.0):
    """Waits until condition() is true; fails otherwise."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


@pytest.fixture(name="wait_for")
def wait_for_fixture():
    return wait_for


@pytest.fixture
def tmpfs(tmp_path):
    """tmpfs(size) mounts a small file system and returns its path; it is taken away at the end."""
    mounted = []

    def mount(size, name="small"):
        path = tmp_path / name
        path.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "kestra-dr-test", str(path)],
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip("a small file system cannot be mounted here: " + done.stderr.decode().strip())
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        subprocess.run(["umount", "-l", str(path)], check=True)
