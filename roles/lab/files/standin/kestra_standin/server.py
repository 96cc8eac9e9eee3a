# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server process: which components it runs, its loops, its start and its end."""
from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
import time

from . import NAME, NOTICE, config, database, enterprise, personality, version_tuple
from .enterprise_web import EnterpriseApi
from .executor import Executor
from .indexer import Indexer
from .scheduler import Scheduler
from .services import Coordinator, Liveness, Registry
from .storage import opened
from .web import Answer, Api, Management
from .worker import Worker

ROLES = {
    "standalone": ("EXECUTOR", "SCHEDULER", "WORKER", "INDEXER", "WEBSERVER"), "executor": ("EXECUTOR",),
    "scheduler": ("SCHEDULER",), "worker": ("WORKER",), "webserver": ("WEBSERVER", "INDEXER"), "indexer": ("INDEXER",),
}
log = logging.getLogger(NAME)


class Server:
    """One `kestra-standin server ROLE`."""

    def __init__(self, kind, configuration, port=None, worker_threads=None, indexer=True,
                 flow_path=None):
        self.kind, self.configuration, self.log, self.flow_path = kind, configuration, log, flow_path
        self.version = personality(configuration.environ)
        # Since 0.23 everything belongs to a tenant; open source has one, called main.
        self.tenant = "main" if version_tuple(self.version) >= (0, 23) else None
        left_out = ([] if indexer else ["INDEXER"]) + (["WORKER"] if worker_threads == 0 else [])
        self.kinds = [one for one in ROLES[kind] if one not in left_out]
        self.url = configuration.get("kestra.url")
        self.liveness = Liveness(configuration)
        self.storage = opened(*config.storage(configuration), self.tenant)
        self.temporary = configuration.get("kestra.tasks.tmp-dir.path", tempfile.gettempdir())
        os.makedirs(self.temporary, exist_ok=True)
        self.store = database.store(*config.database(configuration))
        if self.store.single and kind != "standalone":
            raise config.ConfigurationError("on Elasticsearch and Kafka this stand-in is standalone only, not %s" % kind)
        self.database_errors = self.store.errors
        self.threads = worker_threads or 4 * (os.cpu_count() or 1)
        self.port = int(port if port is not None else configuration.get("micronaut.server.port", 8080))
        self.enterprise = enterprise.edition(configuration.environ) == "EE"
        self.wake, self.ready, self.stopping = threading.Event(), threading.Event(), threading.Event()
        self.maintenance = threading.Event()
        self.worker = self.registry = self.api = self.management = None
        self._loops, self._signals, self._halt = [], [], threading.Event()

    def storage_missing(self):
        """True when the storage is gone."""
        return self.storage.missing()

    # loops ----------------------------------------------------------------------------------------------------

    def _loop(self, name, action, pause, busy_pause=0.0):
        """Run action for ever: again at once while it returns something, else after a pause or when woken."""
        def run():
            while not self._halt.is_set():
                try:
                    found = action()
                except self.database_errors as error:
                    text = str(error).strip() or type(error).__name__
                    if self.store.is_away(error):
                        log.error("%s: the database does not answer: %s", name, text.splitlines()[0])
                    else:
                        log.error("%s: %s", name, text)
                    self._halt.wait(1)
                    continue
                except OSError as error:
                    log.error("%s: %s", name, error)
                    self._halt.wait(1)
                    continue
                except Exception:  # pylint: disable=broad-except
                    # One bad row must not end a server.
                    log.exception("%s failed", name)
                    self._halt.wait(1)
                    continue
                if found:
                    self._halt.wait(busy_pause)
                elif pause < 1:
                    self.wake.wait(pause)
                    self.wake.clear()
                else:
                    self._halt.wait(pause)
        thread = threading.Thread(target=run, name=name, daemon=True)
        self._loops.append(thread)

    def _compose(self):
        if "EXECUTOR" in self.kinds:
            executor = Executor(self)
            coordinator = Coordinator(self.store, log, self.registry, self.wake)
            began = time.monotonic()
            retention = self.configuration.seconds("kestra.jdbc.cleaner.retention", "7d")

            def watch():
                if self.liveness.enabled and time.monotonic() - began >= self.liveness.initial_delay:
                    coordinator.check()

            def clean():
                with self.store.tx() as work:
                    work.purge_queue(retention)
            self._loop("executor", executor.poll, 0.1)
            self._loop("executor-delay", executor.delays, 0.25)
            self._loop("liveness-coordinator", watch, max(1.0, self.liveness.interval))
            self._loop("queue-cleaner", clean, 3600)
        if "SCHEDULER" in self.kinds:
            scheduler = Scheduler(self, self.configuration)
            self._loop("scheduler", scheduler.evaluate, 1.0, 0.05)
            self._loop("scheduler-unlock", scheduler.unlock, 0.25)
        if "WORKER" in self.kinds:
            self.worker = Worker(self, self.threads, self.registry.service_id("WORKER"))
            self._loop("worker", self.worker.poll, 0.1)
            self._loop("worker-killed", self.worker.check_killed, 1.0)
        if "INDEXER" in self.kinds:
            indexer = Indexer(self)
            self._loop("indexer", indexer.poll, 0.5)
            self._loop("indexer-late", indexer.look, 1.0)
        if self.enterprise:
            self._loop("maintenance", enterprise.Maintenance(self).look, 1.0)

    # start and end --------------------------------------------------------------------------------------------

    def run(self):
        """Start, serve until a signal comes, stop; the exit code."""
        began = time.monotonic()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _frame: self._signals.append(number))
        log.info("%s %s (%s) starts: server %s, process %d", NAME, self.version, NOTICE, self.kind, os.getpid())
        self.store.migrate(version_tuple(self.version), log)
        delay = self.configuration.seconds("kestra.standin.start-delay", "0s")
        while time.monotonic() - began < delay and not self._signals:
            time.sleep(0.05)
        get = self.configuration.get
        host = get("micronaut.server.host", "0.0.0.0")
        self.management = Management(self, get("endpoints.all.host", host), int(get("endpoints.all.port", 8081)),
                                     self._login("endpoints.all.basic-auth"))
        if "WEBSERVER" in self.kinds:
            kind = EnterpriseApi if self.enterprise else Api
            self.api = kind(self, host, self.port, self._login("kestra.server.basic-auth"),
                            get("micronaut.server.context-path", "") or "")
        self.registry = Registry(self.store, log, self.liveness, self.kinds, self.version,
                                 "STANDALONE" if self.kind == "standalone" else "SERVER",
                                 (self.api.port if self.api else self.port, self.management.port))
        self._compose()
        self.registry.start()
        for thread in self._loops:
            thread.start()
        self.management.start()
        if self.api:
            self.api.start()
        self._load_flows()
        self.ready.set()
        log.info("Server Running: http://%s:%d, management port %d, started in %.1f s",
                 host, self.api.port if self.api else self.port, self.management.port, time.monotonic() - began)
        while not self._signals:
            time.sleep(0.05)
        return self._end(self._signals[0])

    def _load_flows(self):
        """Keep the flows of --flow-path; a bad one is named and left out."""
        if not self.flow_path or not self.api:
            return
        for name in sorted(os.listdir(self.flow_path)):
            if name.endswith((".yml", ".yaml")):
                with open(os.path.join(self.flow_path, name), "rb") as handle:
                    try:
                        self.api.save_flow(handle.read(), create=False)
                    except Answer as refusal:
                        log.error("Unable to load the flow %s: %s", name, refusal.body["message"])

    def _login(self, base):
        user, password = self.configuration.get(base + ".username"), self.configuration.get(base + ".password")
        if not self.configuration.flag(base + ".enabled", bool(user and password)) or not (user and password):
            return None
        return str(user), str(password)

    def _end(self, number):
        log.info("Received signal %d, shutting down", number)
        self.stopping.set()
        self.registry.move(self.kinds, "TERMINATING")
        graceful = True
        if self.worker:
            # Whatever else this process runs ends at once; only tasks are waited for.
            if self.worker.busy():
                log.info("Waiting up to %.0f s for %d running tasks", self.liveness.grace, self.worker.busy())
            graceful = self.worker.stop(self.liveness.grace)
        self._halt.set()
        self.wake.set()
        if self.api:
            self.api.stop()
        for thread in self._loops:
            if thread.is_alive():
                thread.join(2)
        others = [kind for kind in self.kinds if kind != "WORKER"]
        if self.worker:
            self.registry.move(["WORKER"], "TERMINATED_GRACEFULLY" if graceful else "TERMINATED_FORCED")
        if others:
            self.registry.move(others, "TERMINATED_GRACEFULLY")
        self.registry.stop()
        self.management.stop()
        self.store.close()
        log.info("%s terminated %s", NAME, "gracefully" if graceful else "with tasks still running")
        # A Java program that ends by a signal says 128 + its number.
        return 128 + number


def set_up_logging(level):
    """Lines like Kestra's logback pattern, on standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-5s %(threadName)-12.12s %(name)s %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
