# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured of a bucket: our modules and a script of rclone and restic in turns, on one real S3 server.

The plain side copies the bucket into a directory, that into a repository, and all of it back; what it loses on the way (metadata,
content types, the marks of directories) it does not pay for.
"""
from __future__ import annotations

import itertools
import os
import random
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.kestra_community.dr.tests.integration.object_storage import s3_server
from drill import processes

from . import figures
from .figures import SMALL_OBJECT as SMALL
from .tools import Runner, Took, remove, stored

LARGE_MB = 100
CHANGED = 0.01
THREADS = 8


class Server(s3_server.Server):
    """One that is ended with the bench."""

    def _started(self, argv, environment):
        return super()._started(argv, dict(environment, **{processes.MARK: os.environ[processes.MARK]}))

    _known = (0, 0)

    def asked(self) -> tuple:
        """(requests, bytes that the server wrote, bytes that it read) since this was last called, its disk and its log included."""
        with open(self.base / "access", "r+", encoding="utf-8", errors="replace") as handle:
            number = sum(" s3_" in line for line in handle)
            handle.truncate(0)
        with open(f"/proc/{self.process.pid}/io", encoding="ascii") as handle:
            counts = dict(line.split(": ") for line in handle)
        before, self._known = self._known, (int(counts["wchar"]), int(counts["rchar"]))
        return number, self._known[0] - before[0], self._known[1] - before[1]


class ObjectScene:
    """One server, and buckets of two sizes."""

    def __init__(self, options, lab, *, console, collections):
        self.options, self._console = options, console
        self.figures, self.databases = [], {}
        password = lab.password_file
        password.write_text("a password of the bench\n", "ascii")
        password.chmod(0o600)
        self._run = Runner(lab, collections=collections, password_file=password)
        self._work = self._run.work
        os.environ["TMPDIR"] = str(self._work)
        self._server = Server()
        self._account = self._work / "account"
        self._numbers = itertools.count(1)
        self._peaks: dict = {}
        self._random = random.Random(7)

    def tear_down(self) -> None:
        """Ends the server."""
        self._server.destroy()

    def run(self) -> None:
        """Everything at the full size; memory at a third of it, too."""
        self._server.start()
        self._account.touch(mode=0o600)
        self._account.write_text(f"AWS_ACCESS_KEY_ID='{s3_server.ACCESS_KEY}'\nAWS_SECRET_ACCESS_KEY={_quoted(s3_server.SECRET_KEY)}\n")
        # rclone takes all of it from the environment.
        for name, value in (("TYPE", "s3"), ("PROVIDER", "Other"), ("ENDPOINT", self._server.endpoint), ("REGION", "us-east-1"),
                            ("ACCESS_KEY_ID", s3_server.ACCESS_KEY), ("SECRET_ACCESS_KEY", s3_server.SECRET_KEY)):
            os.environ[f"RCLONE_CONFIG_BENCH_{name}"] = value
        self._run.take_environment()
        sizes = [(max(1, self.options.objects // 3), self.options.large_mb // 3), (self.options.objects, self.options.large_mb)]
        self._small(*sizes[0])
        self._full(*sizes[1])
        for name, peak in self._peaks[sizes[0][0]].items():
            self._add(figures.memory(name, peak, self._peaks[sizes[1][0]][name], (self._mb(sizes[0]), self._mb(sizes[1])), True))

    @staticmethod
    def _mb(size) -> int:
        return size[1] + size[0] * SMALL // figures.MB

    def _add(self, figure) -> None:
        self.figures.append(figure)
        word = figures.verdict(figure)
        self._console.step(f"{figure.section}: {figure.name}: {figure.means} {figure.ratio or 0:.2f} {word}".rstrip())

    # -- objects -----------------------------------------------------------------------------------------------------

    def _fill(self, bucket, numbers, large_mb=0) -> None:
        client = self._server.client()
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda item: client.put_object(
                Bucket=bucket, Key=f"main/company/team/flow/executions/{item[0]:022}/tasks/t/out.ion", Body=item[1],
                Metadata={"a": "b"}), ((number, self._random.randbytes(SMALL)) for number in numbers)))
        for number in range(-(-large_mb // LARGE_MB)):
            size = min(LARGE_MB, large_mb - number * LARGE_MB) * figures.MB
            client.put_object(Bucket=bucket, Key=f"main/company/team/_files/large/{number:04}", Body=self._random.randbytes(size))

    def _made(self, objects, large_mb) -> str:
        bucket = self._server.bucket(f"bench-{next(self._numbers)}")
        self._console.working(f"filling a bucket with {objects} objects and {large_mb} MB")
        self._fill(bucket, range(objects), large_mb)
        return bucket

    # -- both sides --------------------------------------------------------------------------------------------------

    def _place(self, bucket) -> dict:
        return {"bucket": bucket, "endpoint": self._server.endpoint, "credentials_file": str(self._account)}

    def _ours(self, bucket, copy, repository) -> dict:
        """A backup: {module: Took}."""
        pin, dest = self._work / "pin.gz", self._work / "list.gz"
        return {
            "object_storage_inventory_info": self._run.module("object_storage_inventory_info", dest=str(pin), **self._place(bucket)),
            "object_storage_backup": self._run.module(
                "object_storage_backup", pin=str(pin), copy=str(copy), dest=str(dest), **self._place(bucket)),
            "restic_backup": self._run.restic_backup(copy.parent, [copy.name], repository)}

    def _ours_back(self, repository, snapshot, name, bucket) -> dict:
        target = self._work / "restored"
        done = {
            "restic_restore": self._run.module(
                "restic_restore", snapshot=snapshot, path=f"/{name}", target=str(target), repository=str(repository),
                repository_password_file=str(self._run.password_file)),
            "object_storage_restore": self._run.module("object_storage_restore", copy=str(target), **self._place(bucket))}
        remove(target)
        return done

    def _rclone(self, source, target) -> None:
        self._run.program("rclone", "sync", "--config", "/dev/null", "--transfers", THREADS, "--checkers", THREADS, source, target)

    def _plain(self, bucket, copy, repository) -> Took:
        return self._run.timed(lambda: self._rclone(f"bench:{bucket}", copy),
                               lambda: self._run.restic(repository, "backup", copy.name, cwd=copy.parent))

    def _plain_back(self, repository, name, bucket) -> Took:
        target = self._work / "plain-restored"
        took = self._run.timed(lambda: self._run.restic(repository, "restore", "latest", "--target", target),
                               lambda: self._rclone(target / name, f"bench:{bucket}"))
        remove(target)
        return took

    def _remember(self, objects, done) -> float:
        for name, took in done.items():
            peaks = self._peaks.setdefault(objects, {})
            peaks[name] = max(took.peak, peaks.get(name, 0.0))
        return sum(took.seconds for took in done.values())

    # -- sections ----------------------------------------------------------------------------------------------------

    def _small(self, objects, large_mb) -> None:
        """Only for the memory."""
        bucket, copy, repository = self._made(objects, large_mb), self._work / "copy", self._work / "repository"
        self._run.restic(repository, "init")
        done = self._ours(bucket, copy, repository)
        self._remember(objects, done)
        self._remember(objects, self._ours_back(repository, done["restic_backup"].result["snapshot"], copy.name, self._server.bucket("back-small")))
        remove(copy)
        remove(repository)

    def _full(self, objects, large_mb) -> None:
        bucket = self._made(objects, large_mb)
        count = objects + -(-large_mb // LARGE_MB)
        ours, plain = (self._work / "copy", self._work / "repository"), (self._work / "plain", self._work / "plain-repository")
        for _copy, repository in (ours, plain):
            self._run.restic(repository, "init")
        self._server.asked()
        seconds, asked = self._both(bucket, objects, ours, plain)
        self._add(figures.share("backup", "first", [seconds[0]], [seconds[1]], "s"))
        self._tell("first backup", count, asked)
        rounds: list = []
        for number in range(self.options.repeat):
            changed = max(1, int(objects * CHANGED))
            self._fill(bucket, self._random.sample(range(objects), changed))
            self._server.asked()
            rounds.append(self._both(bucket, objects, ours, plain, ours_first=number % 2))
        self._add(figures.share("backup", "1 % changed", *zip(*(seconds for seconds, _asked in rounds), strict=True), "s"))
        self._tell("1 % changed", count, rounds[-1][1])
        self._restores(objects, count, ours, plain)

    def _both(self, bucket, objects, ours, plain, ours_first=True):
        """((seconds of ours, of plain), (requests and bytes of ours, of plain))."""
        found = {}
        for mine in (True, False) if ours_first else (False, True):
            if mine:
                self._last = self._ours(bucket, *ours)
                seconds = self._remember(objects, self._last)
            else:
                seconds = self._plain(bucket, *plain).seconds
            found[mine] = seconds, self._server.asked()
        return (found[True][0], found[False][0]), (found[True][1], found[False][1])

    def _restores(self, objects, count, ours, plain) -> None:
        back, plain_back = self._server.bucket("back"), self._server.bucket("plain-back")
        self._server.asked()
        seconds = self._remember(objects, self._ours_back(
            ours[1], self._last["restic_backup"].result["snapshot"], ours[0].name, back))
        asked = self._server.asked()
        bare = self._plain_back(plain[1], plain[0].name, plain_back).seconds
        self._add(figures.share("restore", "into an empty bucket", [seconds], [bare], "s"))
        self._tell("restore", count, (asked, self._server.asked()), 2)
        kept = figures.share("sent", "in the repository after all backups", [stored(ours[1]) / figures.MB], [stored(plain[1]) / figures.MB], "MB")
        self._add(kept)

    def _tell(self, name, count, asked, which=1) -> None:
        """Requests, and bytes from the server (which 1) or to it (2)."""
        ours, plain = asked
        self._add(figures.share("requests", f"{name}: for a hundred objects", [100 * ours[0] / count], [100 * plain[0] / count], ""))
        self._add(figures.share("sent", f"{name}: for each object", [ours[which] / count / 1000], [plain[which] / count / 1000], "kB"))


def _quoted(text) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"
