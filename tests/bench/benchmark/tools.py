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
from drill.standin import ADMINISTRATORS

from .figures import MB

RESTORED = "kestra_restored"
MIXED = "kestra_mixed"
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


class Runner:
    """Starts programs and modules, and times them. password_file: of the repositories."""

    def __init__(self, lab, *, collections, password_file):
        self.work = lab.work / "bench"
        self.work.mkdir(mode=0o700)
        self.password_file = password_file
        self._out, self._collections = self.work / "output", collections
        self.take_environment()

    def take_environment(self) -> None:
        """What programs get from now on: our own environment as it is now."""
        self._env = {name: text for name, text in os.environ.items() if not name.startswith(("ANSIBLE_", "AWS_", "PG", "MYSQL"))}
        self._env.update(PYTHONPATH=str(self._collections))

    def program(self, *argv) -> None:
        """A program; its output is kept for its failure."""
        self._run(argv)

    def _private(self, name, text) -> Path:
        """A file for our own eyes."""
        path = self.work / name
        with open(path, "w", encoding="utf-8", opener=lambda target, flags: os.open(target, flags, 0o600)) as handle:
            handle.write(text)
        return path

    def _run(self, argv, *, env=None, cwd=None, given=None) -> None:
        with open(self._out, "wb") as out:
            done = subprocess.run([str(one) for one in argv], input=given, stdout=out, stderr=subprocess.STDOUT,
                                  env=dict(self._env, **(env or {})), cwd=cwd or self.work, check=False,
                                  **({} if given else {"stdin": subprocess.DEVNULL}))
        if done.returncode:
            said = self._out.read_text("utf-8", "replace")[-2000:]
            raise DrillError(f"{Path(str(argv[0])).name} failed with exit code {done.returncode}.", said)

    def settle(self) -> None:
        """What was written before is on disk, so that the next run does not pay for it."""
        self.checkpoint()
        os.sync()

    def timed(self, *steps) -> Took:
        """The seconds of steps, each a callable."""
        self.settle()
        begin = time.monotonic()
        for step in steps:
            step()
        return Took(time.monotonic() - begin)

    def checkpoint(self) -> None:
        """A server writes its dirty pages."""

    def restic(self, repository, *arguments, cwd=None) -> None:
        """Bare restic."""
        self._run(["restic", "--repo", repository, "--password-file", self.password_file, "--quiet", *arguments],
                  cwd=cwd)

    def bare_restic(self, path, repository) -> Took:
        """One path by restic alone."""
        return self.timed(lambda: self.restic(repository, "backup", path.name, cwd=path.parent))

    def module(self, name, **arguments) -> Took:
        """A module in a process of its own, timed from the start of Python to its end."""
        peak = self.work / "peak"
        remove(peak)
        asked = json.dumps({"module": name, "arguments": arguments, "peak": str(peak)}).encode()
        took = self.timed(lambda: self._run([sys.executable, MEASURED], given=asked))
        said = self._out.read_text("utf-8").splitlines()
        return Took(took.seconds, int(peak.read_text("ascii")) / MB, json.loads(next(filter(is_json, reversed(said)))))

    def restic_backup(self, base, paths, repository) -> Took:
        """restic_backup."""
        return self.module("restic_backup", base_dir=str(base), paths=list(paths), repository=str(repository),
                           repository_password_file=str(self.password_file))


class Tools(Runner):
    """Calls both; what belongs to one database engine is in the classes below it. kestra: the laboratory of scripts/drill,
    which must be up. programs: directory of the engine's own."""

    # The engine; whether the plain dump is compressed on its way, as ours then is.
    engine = ""
    piped = False

    def __init__(self, lab, kestra, *, collections, programs):
        super().__init__(lab, collections=collections, password_file=kestra.directory / "restic-password")
        self.known = kestra.target.credentials
        self._lab, self._kestra, self._bin = lab, kestra, Path(programs)
        self.admin_password_file = kestra.directory / self.engine / "admin-password"
        self.user, self.admin = self.known["user"], ADMINISTRATORS[self.engine]

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

    # -- one engine's own --------------------------------------------------------------------------------------------

    def size(self, database) -> float:
        """In MB."""
        raise NotImplementedError

    def analyse(self, database) -> str:
        """What the server would do at any moment is done. Returns the three largest tables with their shares."""
        raise NotImplementedError

    def tables(self, database) -> list:
        """Names of all tables, ready for a statement."""
        raise NotImplementedError

    def bare_dump(self, database, dest) -> None:
        """In the format of ours, by the plain tool."""
        raise NotImplementedError

    def count(self, database, tables) -> None:
        """One count for each table."""
        raise NotImplementedError

    def plain_dump(self, database, dest) -> None:
        """What ours is measured against."""
        raise NotImplementedError

    def plain_restore(self, source) -> None:
        """Into RESTORED, which is there and empty."""
        raise NotImplementedError

    def create(self) -> None:
        """RESTORED."""
        raise NotImplementedError

    def drop(self) -> None:
        """RESTORED."""
        raise NotImplementedError

    def _own_restore(self) -> dict:
        """Arguments of the restore that only this engine's module has."""
        return {}

    # -- plain tools -------------------------------------------------------------------------------------------------

    def bare_backup(self, database, storage, repository, tables) -> Took:
        """T: dump, one count for each table, restic of dump and storage."""
        dump = self.work / "bare" / "database"
        remove(dump.parent)
        dump.parent.mkdir()
        took = self.timed(
            lambda: self.bare_dump(database, dump), lambda: self.count(database, tables),
            lambda: self.restic(repository, "backup", "database", storage, cwd=dump.parent))
        remove(dump.parent)
        return took

    def plain_dumped(self, database, dest) -> Took:
        """plain_dump, timed."""
        return self.timed(lambda: self.plain_dump(database, dest))

    def plain_restored(self, source) -> Took:
        """plain_restore, timed."""
        self.create()
        took = self.timed(lambda: self.plain_restore(source))
        self.drop()
        return took

    # -- ours --------------------------------------------------------------------------------------------------------

    def _config(self) -> dict:
        return {"files": [str(self._kestra.config)], "environment_files": [str(self._kestra.environment_file)]}

    def dump(self, database, dest, **options) -> Took:
        """The engine's dump module, in its default format if not told otherwise."""
        return self.module(f"{self.engine}_dump", dest=str(dest), database=database, config=self._config(),
                           bin_dir=str(self._bin), **options)

    def restored(self, source, component) -> Took:
        """The engine's restore module into a database it creates, with its comparison."""
        took = self.module(f"{self.engine}_restore", source=str(source), component=component, target=RESTORED,
                           config=self._config(), login_user=self.admin,
                           login_password_file=str(self.admin_password_file), **self._own_restore())
        self.drop()
        return took

    def storage_list(self, path) -> Took:
        """storage_inventory_info with digests, as a backup seals it."""
        return self.module("storage_inventory_info", path=str(path), hash=True,
                           dest=str(self.work / "storage.jsonl.gz"))
