# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured: databases of the two shapes in the laboratory's server, and both sides on them in turns."""
from __future__ import annotations

import yaml

from ansible_collections.kestra_community.dr.plugins.module_utils.core.files import read_json
from drill import DrillError
from drill.console import span
from drill.flow import MODES, START_SECONDS
from drill.health import wait_up

from . import figures
from .tools import MIXED, remove, stored

SECTIONS = ("dump", "restore", "backup", "downtime", "memory", "restic")
BIG_MB = 2048
# As the fill of the stand-in makes them, indexes included.
ROWS_PER_MB = {"kestra": 540, "mixed": 520}
FILES_PER_MB = 20
CHANGED = 0.01


def content(shape, megabytes) -> tuple:
    """(rows, files) of a database of this size and its storage."""
    return int(ROWS_PER_MB[shape] * megabytes), int(FILES_PER_MB * megabytes)


class Scene:
    """The laboratory while it is measured. Kestra's own database and storage grow from stage to stage."""

    def __init__(self, options, lab, kestra, *, playbooks, console, tools):
        self.options, self._lab, self._kestra = options, lab, kestra
        self._playbooks, self._console, self._tools = playbooks, console, tools
        self.figures = []
        self.databases = {}
        self._database = kestra.target.credentials.get("name")
        self._seeds = 1
        self._peaks, self._downtimes = {}, {}
        self._dump = tools.work / "dump"
        self._copy = tools.work / "copy"

    def run(self) -> None:
        """All sections that were asked for, by the size they need."""
        only, small = self.options.only, self.options.small_mb
        self._grow(small)
        if "memory" in only:
            self._memory(small)
        if "downtime" in only:
            self._flows(small, bare=False)
        if set(only) - {"memory"} or not self.options.big:
            self._grow(self.options.size_mb)
            self._full()
        if "memory" in only:
            if self.options.big:
                self._grow(BIG_MB)
            self._compare_memory(small, BIG_MB if self.options.big else self.options.size_mb)

    def _full(self) -> None:
        only = self.options.only
        if {"dump", "restore"} & set(only):
            self._mixed()
        for shape, database in (("mixed", MIXED), ("kestra", self._database)):
            if "dump" in only:
                self._dumps(shape, database)
            if "restore" in only:
                self._restores(shape, database)
        if {"backup", "downtime"} & set(only):
            self._flows(self.options.size_mb, bare="backup" in only)
        if "downtime" in only:
            self._compare_downtimes()
        if "restic" in only:
            self._second_backups()

    def _add(self, figure) -> None:
        self.figures.append(figure)
        word = figures.verdict(figure)
        self._console.step(f"{figure.section}: {figure.name}: {figure.means} {figure.ratio or 0:.2f} {word}".rstrip())

    # -- data --------------------------------------------------------------------------------------------------------

    def _settle(self, shape, megabytes, database) -> None:
        """After a fill: what the server would do at any moment is done, and what is there is known."""
        shares = self._tools.analyse(database)
        name, held = f"{shape} {megabytes} MB", self._tools.size(database)
        self.databases[name] = {"mb": round(held, 1), "shares": shares}
        self._console.step(f"database {name}: {held:.0f} MB ({shares})")

    def _seed(self) -> str:
        self._seeds += 1
        return str(self._seeds)

    def _grow(self, megabytes) -> None:
        """Kestra's database and storage to this size; by a little at least, for sizes below that of an empty one."""
        self._kestra.stop()
        missing = max(1, megabytes - self._tools.size(self._database))
        self._kestra.fill(*content("kestra", missing), seed=self._seed())
        self._settle("kestra", megabytes, self._database)

    def _mixed(self) -> None:
        """A second database beside Kestra's own."""
        self._tools.command(self._kestra.directory / "bin" / self._tools.engine, "create", MIXED, self._tools.user)
        configuration = yaml.safe_load(self._kestra.config.read_text("utf-8"))
        (source,) = configuration["datasources"].values()
        source["url"] = source["url"].replace("/" + self._database, "/" + MIXED)
        config = self._tools.beside(self._kestra.config, "mixed.yml", yaml.safe_dump(configuration))
        self._kestra.fill(0, 0, shape="mixed", config=config)
        missing = max(1, self.options.size_mb - self._tools.size(MIXED))
        self._kestra.fill(content("mixed", missing)[0], 0, shape="mixed", seed=self._seed(), config=config)
        self._settle("mixed", self.options.size_mb, MIXED)

    # -- dump and restore --------------------------------------------------------------------------------------------

    def _turns(self, ours, plain) -> tuple:
        """([seconds of ours], [seconds of plain]), in turns, each first as often as the other."""
        took = {ours: [], plain: []}
        for number in range(self.options.repeat):
            for side in (ours, plain) if number % 2 == 0 else (plain, ours):
                took[side].append(side().seconds)
        return took[ours], took[plain]

    def _dumps(self, shape, database) -> None:
        def ours():
            remove(self._dump)
            return self._tools.dump(database, self._dump, **({"compress": "zstd"} if self._tools.piped else {}))

        def plain():
            remove(self._copy)
            return self._tools.plain_dumped(database, self._copy)

        took = self._turns(ours, plain)
        if self._tools.piped:
            self._add(figures.share("dump", f"{shape}, against mysqldump | zstd", *took, "s", figures.PIPE_SHARE))
        else:
            self._add(figures.speed("dump", f"{shape}, against pg_dump -F tar", *took,
                                    figures.DUMP_SPEED if shape == "mixed" else None))
        remove(self._dump)
        remove(self._copy)

    def _restores(self, shape, database) -> None:
        component = self._tools.dump(database, self._dump).result["component"]
        self._tools.plain_dumped(database, self._copy)
        plain = "zstd | mysql" if self._tools.piped else "pg_restore -d"
        self._add(figures.speed(
            "restore", f"{shape}, against {plain}",
            *self._turns(lambda: self._tools.restored(self._dump, component),
                         lambda: self._tools.plain_restored(self._copy)),
            figures.RESTORE_SPEED if shape == "kestra" and not self._tools.piped else None))
        remove(self._dump)
        remove(self._copy)

    # -- flows -------------------------------------------------------------------------------------------------------

    def _fresh(self, repository, like=None) -> None:
        """An empty repository; like: another one, whose data it is to cut at the same places."""
        remove(repository)
        repository.mkdir(mode=0o700)
        same = ("--copy-chunker-params", "--from-repo", like, "--from-password-file", self._tools.password_file)
        self._tools.restic(repository, "init", *(same if like else ()))

    def _wait_up(self) -> None:
        if not wait_up(self._kestra.target.health_url, START_SECONDS, still=self._kestra.running):
            raise DrillError("The stand-in does not become healthy.", self._kestra.log_tail())

    def _backup(self, mode) -> tuple:
        """(seconds, Kestra's downtime) of a whole backup into an empty repository."""
        self._kestra.start()
        self._wait_up()
        remove(self._lab.vault)
        self._lab.vault.mkdir(mode=0o700)
        self._fresh(self._lab.repository)
        self._tools.settle()
        done = self._playbooks.must("backup", {"kestra_dr_consistency": mode})
        self._wait_up()
        point = self._lab.vault / "kestra" / "points" / done.report["recovery_point"]
        return done.seconds, read_json(point / "manifest.json")["consistency"]["downtime_seconds"]

    def _bare(self, tables) -> float:
        repository = self._tools.work / "bare-repository"
        self._fresh(repository)
        took = self._tools.bare_backup(self._database, self._kestra.target.storage, repository, tables)
        remove(repository)
        return took.seconds

    def _flows(self, megabytes, bare) -> None:
        """Whole backups in both modes; with bare each beside the bare script, Kestra running."""
        tables = self._tools.tables(self._database) if bare else ()
        for mode in MODES:
            ours, plain = [], []
            self._downtimes[mode, megabytes] = []
            for number in range(self.options.repeat):
                if bare and number % 2:
                    plain.append(self._bare(tables))
                seconds, down = self._backup(mode)
                ours.append(seconds)
                self._downtimes[mode, megabytes].append(down)
                self._console.step(f"backup {mode} of {megabytes} MB: {span(seconds)}, Kestra down {span(down)}")
                if bare and not number % 2:
                    plain.append(self._bare(tables))
            if bare:
                self._add(figures.whole_backup(f"{mode}, against T", ours, plain))
        self._kestra.stop()
        remove(self._lab.repository)

    def _compare_downtimes(self) -> None:
        sizes = (self.options.small_mb, self.options.size_mb)
        for mode in MODES:
            small, full = (self._downtimes[mode, size] for size in sizes)
            self._add(figures.downtime(mode, small, full, sizes))

    # -- memory ------------------------------------------------------------------------------------------------------

    def _memory(self, megabytes) -> None:
        """Each module once at this size."""
        repository = self._tools.work / "repository"
        self._fresh(repository)
        dumped = self._tools.dump(self._database, self._dump)
        restored = self._tools.restored(self._dump, dumped.result["component"])
        sent = self._tools.restic_backup(self._dump.parent, [self._dump.name], repository)
        listed = self._tools.storage_list(self._kestra.target.storage)
        self._peaks[megabytes] = {
            f"{self._tools.engine}_dump": dumped.peak, f"{self._tools.engine}_restore": restored.peak,
            "restic_backup": sent.peak, "storage_inventory_info": listed.peak}
        remove(self._dump)
        remove(repository)
        self._console.step(f"memory at {megabytes} MB: " + ", ".join(
            f"{name} {peak:.0f} MB" for name, peak in self._peaks[megabytes].items()))

    def _compare_memory(self, small, large) -> None:
        self._memory(large)
        for name, peak in self._peaks[small].items():
            self._add(figures.memory(name, peak, self._peaks[large][name], (small, large), large == BIG_MB))

    # -- second restic backup ----------------------------------------------------------------------------------------

    def _second_backups(self) -> None:
        """A changed dump into a repository that holds the one before, ours and bare restic in turns."""
        ours, bare = self._tools.work / "repository", self._tools.work / "bare-repository"
        seconds, sent = {ours: [], bare: []}, {ours: [], bare: []}
        self._fresh(ours)
        self._fresh(bare, like=ours)
        for number in range(self.options.repeat + 1):
            if number:
                rows = int(content("kestra", self.options.size_mb)[0] * CHANGED)
                self._kestra.fill(max(1, rows), 0, seed=self._seed())
                remove(self._dump)
            self._tools.dump(self._database, self._dump)
            for repository in (ours, bare) if number % 2 else (bare, ours):
                before = stored(repository)
                took = self._tools.restic_backup(self._dump.parent, [self._dump.name], repository) \
                    if repository == ours else self._tools.bare_restic(self._dump, repository)
                if number:
                    seconds[repository].append(took.seconds)
                    sent[repository].append((stored(repository) - before) / figures.MB)
        self._add(figures.share("restic", "second backup, 1 % changed: time", seconds[ours], seconds[bare], "s"))
        self._add(figures.share("restic", "second backup, 1 % changed: sent", sent[ours], sent[bare], "MB"))
        for path in (ours, bare, self._dump):
            remove(path)
