# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The two sides: the plain tools as a bare script calls them, and the collection's modules, timed alike."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from drill import DrillError

from .figures import MB

RESTORED = "kestra_restored"
MEASURED = Path(__file__).resolve().with_name("measured.py")


@dataclass
class Took:
    """How long one run took; for a module also the most memory (MB) its own process had, and what it returned."""

    seconds: float
    peak: float = 0.0
    result: dict | None = None


def remove(path) -> None:
    """A file or a directory, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def stored(path) -> int:
    """Bytes of all files below a directory."""
    return sum(os.lstat(os.path.join(top, name)).st_size for top, _names, files in os.walk(path) for name in files)


def is_json(line) -> bool:
    """Whether a line of a module's output is its result."""
    return line.startswith("{")


class Tools:
    """Calls both. kestra: the laboratory of scripts/drill, which must be up."""

    def __init__(self, lab, kestra, *, collections, jobs):
        known = kestra.target.credentials
        self._lab, self._kestra, self.jobs = lab, kestra, jobs
        self._bin = Path(os.environ["KDR_PG_BIN"])
        self.work = lab.work / "bench"
        self.work.mkdir(mode=0o700)
        self._out = self.work / "output"
        self.password_file = kestra.directory / "restic-password"
        self.user = known["user"]
        passwords = self.work / "pgpass"
        admin = (kestra.directory / "postgresql" / "admin-password").read_text("utf-8").strip()
        with open(passwords, "w", encoding="utf-8", opener=lambda path, flags: os.open(path, flags, 0o600)) as handle:
            for user, password in ((self.user, known["password"]), ("postgres", admin)):
                handle.write(f"*:*:*:{user}:" + password.replace("\\", "\\\\").replace(":", "\\:") + "\n")
        self._env = {name: text for name, text in os.environ.items() if not name.startswith(("ANSIBLE_", "PG"))}
        self._env.update(PGHOST=known["host"], PGPORT=str(known["port"]), PGUSER=self.user, PGPASSFILE=str(passwords),
                         PYTHONPATH=str(collections))

    def _run(self, argv, *, user=None, cwd=None, given=None) -> None:
        env = dict(self._env, PGUSER=user) if user else self._env
        with open(self._out, "wb") as out:
            done = subprocess.run([str(one) for one in argv], input=given, stdout=out, stderr=subprocess.STDOUT,
                                  env=env, cwd=cwd or self.work, check=False,
                                  **({} if given else {"stdin": subprocess.DEVNULL}))
        if done.returncode:
            said = self._out.read_text("utf-8", "replace")[-2000:]
            raise DrillError(f"{Path(str(argv[0])).name} failed with exit code {done.returncode}.", said)

    def settle(self) -> None:
        """What was written before is on disk, so that the next run does not pay for it."""
        self.sql("postgres", "CHECKPOINT")
        os.sync()

    def timed(self, *steps) -> Took:
        """The seconds of steps, each a callable."""
        self.settle()
        begin = time.monotonic()
        for step in steps:
            step()
        return Took(time.monotonic() - begin)

    def command(self, *argv) -> None:
        """A command of the laboratory."""
        self._run(argv, cwd="/")

    @staticmethod
    def beside(path, name, text) -> Path:
        """Another file beside one, with the same owner and mode."""
        made, known = path.with_name(name), path.stat()
        made.write_text(text, "utf-8")
        os.chown(made, known.st_uid, known.st_gid)
        made.chmod(known.st_mode & 0o7777)
        return made

    # -- plain tools -------------------------------------------------------------------------------------------------

    def pg(self, program, *arguments, user=None) -> None:
        """A client program of PostgreSQL, as Kestra's role if not said otherwise."""
        self._run([self._bin / program, "--no-password", *arguments], user=user)

    def sql(self, database, *statements, user="postgres") -> str:
        """Runs statements one by one; the output of all."""
        wanted = [part for statement in statements for part in ("--command", statement)]
        self.pg("psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1",
                f"--dbname={database}", *wanted, user=user)
        return self._out.read_text("utf-8")

    def restic(self, repository, *arguments, cwd=None) -> None:
        """Bare restic."""
        self._run(["restic", "--repo", repository, "--password-file", self.password_file, "--quiet", *arguments],
                  cwd=cwd)

    def bare_backup(self, database, storage, repository, tables) -> Took:
        """T: dump, one count for each table, restic of dump and storage."""
        dump = self.work / "bare" / "database"
        remove(dump.parent)
        dump.parent.mkdir()
        took = self.timed(
            lambda: self.pg("pg_dump", "--format=directory", f"--jobs={self.jobs}", "--compress=0", f"--file={dump}",
                            f"--dbname={database}"),
            lambda: self.sql(database, *(f"SELECT count(*) FROM {table}" for table in tables), user=self.user),
            lambda: self.restic(repository, "backup", "database", storage, cwd=dump.parent))
        remove(dump.parent)
        return took

    def tar_dump(self, database, dest) -> Took:
        """As Kestra documents it."""
        return self.timed(lambda: self.pg("pg_dump", f"--dbname={database}", "-F", "tar", "-f", dest))

    def tar_restored(self, source) -> Took:
        """As Kestra documents it, into a database that is there and empty."""
        self.pg("createdb", f"--owner={self.user}", "--template=template0", RESTORED, user="postgres")
        took = self.timed(lambda: self.pg("pg_restore", "-d", RESTORED, source))
        self._drop()
        return took

    def bare_restic(self, path, repository) -> Took:
        """One path by restic alone."""
        return self.timed(lambda: self.restic(repository, "backup", path.name, cwd=path.parent))

    # -- ours --------------------------------------------------------------------------------------------------------

    def module(self, name, **arguments) -> Took:
        """A module in a process of its own, timed from the start of Python to its end."""
        peak = self.work / "peak"
        remove(peak)
        asked = json.dumps({"module": name, "arguments": arguments, "peak": str(peak)}).encode()
        took = self.timed(lambda: self._run([sys.executable, MEASURED], given=asked))
        said = self._out.read_text("utf-8").splitlines()
        return Took(took.seconds, int(peak.read_text("ascii")) / MB, json.loads(next(filter(is_json, reversed(said)))))

    def _config(self) -> dict:
        return {"files": [str(self._kestra.config)], "environment_files": [str(self._kestra.environment_file)]}

    def dump(self, database, dest) -> Took:
        """postgresql_dump in its default format."""
        return self.module("postgresql_dump", dest=str(dest), database=database, config=self._config(),
                           bin_dir=str(self._bin))

    def restored(self, source, component) -> Took:
        """postgresql_restore into a database it creates, with its comparison."""
        password = self._kestra.directory / "postgresql" / "admin-password"
        took = self.module("postgresql_restore", source=str(source), component=component, target=RESTORED,
                           owner=self.user, config=self._config(), login_user="postgres",
                           login_password_file=str(password), bin_dir=str(self._bin))
        self._drop()
        return took

    def _drop(self) -> None:
        self.pg("dropdb", "--force", RESTORED, user="postgres")

    def restic_backup(self, base, paths, repository) -> Took:
        """restic_backup."""
        return self.module("restic_backup", base_dir=str(base), paths=list(paths), repository=str(repository),
                           repository_password_file=str(self.password_file))

    def storage_list(self, path) -> Took:
        """storage_inventory_info with digests, as a backup seals it."""
        return self.module("storage_inventory_info", path=str(path), hash=True,
                           dest=str(self.work / "storage.jsonl.gz"))
