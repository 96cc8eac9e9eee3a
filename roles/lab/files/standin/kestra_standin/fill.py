# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kestra-standin-fill: a database and storage of any size, as if Kestra had run for long.

The same seed gives the same rows and files, except for the offsets and dates in `queues`. Executions have ended and
messages are consumed, so a server that starts on it does nothing with them. Another seed adds to what is there.
"""
from __future__ import annotations

import argparse
import itertools
import os
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from decimal import Decimal

from . import NAME, personality, version_tuple

try:
    from . import config, database, flows, model, storage, values
except ImportError as missing:
    sys.exit("%s-fill: %s. It needs a Python with PyYAML; KESTRA_STANDIN_PYTHON names one." % (NAME, missing))

# Share of the rows of each table. By bytes, `kestra` comes out at about nine tenths logs, `mixed` at about
# 61 % logs and 24 % queues.
SHAPES = {
    "kestra": {"logs": 0.87, "metrics": 0.06, "executions": 0.025, "queues": 0.045},
    "mixed": {"logs": 0.50, "metrics": 0.09, "executions": 0.07, "queues": 0.34},
}
CHUNK = 250
NAMESPACES = ("company.team", "company.team.ops", "company.sales", "company.sales.emea", "company.data.ingest",
              "company.data.warehouse", "company.platform", "system")
WORDS = """account adapter address aggregate archive array attempt backend batch billing bucket buffer cache
calculated campaign catalog checkpoint cluster column commit completed config connection consumer container context
contract conversion copied counter coverage created credential currency customer dataset deadline decoded default
delivered dependency descriptor dispatch document domain download duplicate duration elapsed element endpoint engine
entity entry estimate evaluated event exception exchange executed expected expired export extract failure feature
fetched field filter finished folder forecast format found frame gateway generated group handler header history
identifier ignored import incoming index ingest input insert instance interval inventory invoice item iteration joined
journal kernel label latency ledger level limit listener loaded locale lookup manifest mapping margin match measure
member memory merged message metric migration missing model module monitor name network normalized notification number
object offset operation option order origin output overflow package parameter parsed partition passed payload payment
pending percent period pipeline policy pool position prepared price priority process product profile progress project
property provider published purchase query queue quota range rate record reference refresh region register rejected
release remote removed report request resolved resource response result retained retry revenue review rollback route
row rule sample schedule schema scope script section segment selected sequence server service session shard shipment
signal skipped snapshot source stage started state status storage stored stream string submitted summary supplier
symbol table target task template tenant threshold timeout token total trace transaction transfer transformed trigger
type unit unknown updated upload user valid value vendor version view volume waiting warehouse warning worker written
zone""".split()
LEVELS = (("INFO", 70), ("DEBUG", 18), ("WARN", 7), ("ERROR", 4), ("TRACE", 1))
TASKS = ("extract", "transform", "load", "check", "publish")
SOURCE = """\
id: {flow}
namespace: {namespace}
description: Loads {word} into the {other} store.
labels:
  team: {word}
  tier: "{tier}"
inputs:
  - id: date
    type: STRING
    required: false
    defaults: "2026-01-01"
tasks:
  - id: extract
    type: io.kestra.plugin.core.debug.Return
    format: "{{{{ execution.id }}}} {word}"
  - id: transform
    type: io.kestra.plugin.core.log.Log
    message: "{word} of {{{{ inputs.date }}}}: {{{{ outputs.extract.value }}}}"
  - id: load
    type: io.kestra.plugin.core.kv.Set
    key: {flow}_last
    value: "{{{{ execution.id }}}}"
"""


class Maker:
    """Makes the rows of one seed."""

    def __init__(self, seed, until, tenant):
        self.seed, self.tenant = seed, tenant
        self.until = until
        self.flows = self._flows()

    def rng(self, *what):
        """A source of randomness of its own for every part, so that parts can be made in any order."""
        return random.Random(":".join(str(one) for one in (self.seed,) + what))

    def _flows(self):
        rng = self.rng("flows")
        found = []
        for number in range(40):
            namespace = rng.choice(NAMESPACES)
            word, other = rng.sample(WORDS, 2)
            flow_id = "%s_%s_%s%02d" % (word, other, self.seed, number)
            for revision in range(1, rng.randint(1, 4) + 1):
                source = SOURCE.format(flow=flow_id, namespace=namespace, word=word, other=other, tier=revision)
                flow = flows.parse(source)
                flow["revision"] = revision
                if self.tenant:
                    flow["tenantId"] = self.tenant
                found.append((flow, source))
        return found

    def message(self, rng):
        """A log message: mostly a line, sometimes a paragraph or a block of output, now and then a stack trace.

        Their length and the number of different words in them decide how long an index on their words takes; they
        are such that a row takes about the room and time that Kestra's own rows were seen to take.
        """
        kind = rng.random()
        if kind < 0.70:
            return "%s %s in %d ms, %s=%d" % (rng.choice(WORDS).capitalize(), " ".join(rng.choices(WORDS, k=6)),
                                              rng.randrange(900), rng.choice(WORDS), rng.randrange(1000))
        if kind < 0.85:
            return "%s: {%s}" % (" ".join(rng.choices(WORDS, k=12)), ", ".join(
                "%s: %d" % (rng.choice(WORDS), rng.randrange(1000)) for _number in range(8)))
        if kind < 0.97:
            rule = "+" + "-" * 60 + "+"
            head = "| %-28s | %-27s |" % tuple(rng.choices(WORDS, k=2))
            return "\n".join([rule, head, rule] + ["| %-28s | %27d |" % (rng.choice(WORDS), rng.randrange(1000))
                                                   for _number in range(rng.randrange(20, 70))] + [rule])
        package = "io.kestra.%s.%s" % tuple(rng.choices(WORDS, k=2))
        lines = ["java.lang.%sException: %s" % (rng.choice(WORDS).capitalize(), " ".join(rng.choices(WORDS, k=8)))]
        lines += ["\tat %s.%s(%s.java:%d)" % (
            package, rng.choice(WORDS), rng.choice(WORDS).capitalize(), rng.randrange(1, 900))
            for _number in range(rng.randrange(20, 60))]
        return "\n".join(lines)

    def execution(self, rng, files):
        """(execution, {storage path: bytes}) that has ended; files is how many it leaves in storage."""
        flow, _source = rng.choice(self.flows)
        began = self.until - timedelta(milliseconds=rng.randrange(90 * 86400 * 1000))
        execution = model.new_execution(flow, began, labels=[{"key": "batch", "value": str(rng.randrange(100))}],
                                        tenant=self.tenant, execution_id=values.new_id(rng))
        execution["inputs"] = {"date": values.iso(began)[:10]}
        moment = began + timedelta(milliseconds=rng.randrange(20, 4000))
        model.move(execution["state"], "RUNNING", moment)
        final = rng.choices(("SUCCESS", "FAILED", "WARNING", "KILLED"), (90, 7, 2, 1))[0]
        top = storage.execution_path(flow["namespace"], flow["id"], execution["id"])
        written, runs = {}, []
        names = TASKS[:rng.randint(2, len(TASKS))]
        for place, name in enumerate(names):
            run = model.new_task_run(execution, {"id": name}, moment)
            run["id"] = values.new_id(rng)
            attempt = {"state": model.new_state(moment)}
            model.move(run["state"], "RUNNING", moment)
            model.move(attempt["state"], "RUNNING", moment)
            moment += timedelta(milliseconds=rng.randrange(5, 60000))
            state = final if place == len(names) - 1 else "SUCCESS"
            for one in (attempt["state"], run["state"]):
                model.move(one, state, moment)
            run["attempts"] = [attempt]
            run["outputs"] = {"value": "%s %s" % (execution["id"], rng.choice(WORDS))}
            runs.append(run)
        for number in range(files):
            content = self.content(rng)
            if number == 0:
                path = "%s/inputs/payload/payload_%d.upl" % (top, values.file_number(rng))
                execution["inputs"]["payload"] = "kestra://" + path
            else:
                run = runs[number % len(runs)]
                path = "%s/%d.ion" % (storage.task_path(run), values.file_number(rng))
                run["outputs"].setdefault("uris", []).append("kestra://" + path)
            written[path] = content
        execution["taskRunList"] = runs
        model.move(execution["state"], final, moment)
        return execution, written

    @staticmethod
    def content(rng):
        """A file's bytes: text that compresses about threefold, a few kB, seldom much more."""
        size = int(min(rng.lognormvariate(7.6, 1.1), 300000))
        words = " ".join(rng.choices(WORDS, k=size // 7 + 1)).encode()
        return words + (b"\n%032x\n" % rng.getrandbits(128))

    def chunk(self, number, count, plan):
        """Everything of `count` executions: {table: rows}, {path: bytes}."""
        rng = self.rng("chunk", number)
        logs, metrics, queues, rows, written = [], [], [], [], {}
        share = {name: _spread(plan[name], count, number, plan["executions"])
                 for name in ("logs", "metrics", "queues", "files")}
        for place in range(count):
            execution, files = self.execution(rng, share["files"][place])
            written.update(files)
            runs = execution["taskRunList"]
            rows.append((execution["id"], values.dumps(execution)))
            for _number in range(share["logs"][place]):
                run = rng.choice(runs)
                level = rng.choices([one for one, _weight in LEVELS], [weight for _one, weight in LEVELS])[0]
                moment = values.parse_iso(run["state"]["startDate"]) + timedelta(milliseconds=rng.randrange(60000))
                entry = model.log_entry(run, level, self.message(rng), "worker_%d" % rng.randrange(32), moment)
                logs.append((values.new_id(rng), values.dumps(entry)))
            for _number in range(share["metrics"][place]):
                run = rng.choice(runs)
                name, value = rng.choice(("length", "records", "size")), Decimal(rng.randrange(10 ** 6))
                entry = model.metric_entry(run, "counter", name, value.quantize(Decimal("0.1")),
                                           {"format": rng.choice(WORDS)}, values.parse_iso(run["state"]["endDate"]))
                metrics.append((values.new_id(rng), values.dumps(entry)))
            for _number in range(share["queues"][place]):
                run = rng.choice(runs)
                task = {"id": run["taskId"], "type": flows.CORE + "debug.Return", "format": self.message(rng)[:900]}
                kind, key, document = rng.choice((
                    ("models.executions.Execution", execution["id"], execution),
                    ("runners.WorkerTaskResult", run["id"], {"taskRun": run}),
                    ("runners.WorkerJob", run["id"], {
                        "type": "task", "taskRun": run, "task": task,
                        "runContext": {"variables": {"inputs": execution["inputs"]}}}),
                ))
                queues.append((database.CORE + kind, key, values.dumps(document)))
        return {"executions": rows, "logs": logs, "metrics": metrics, "queues": queues}, written

    def statics(self, files):
        """Flows, a few triggers and dashboards as rows; keys and namespace files as {path: (bytes, metadata)}."""
        rng = self.rng("statics")
        rows = {"flows": [(model.flow_uid(flow), values.dumps(flow), source) for flow, source in self.flows],
                "dashboards": []}
        for number in range(3):
            document = {"id": "board_%s_%d" % (self.seed, number), "title": " ".join(rng.sample(WORDS, 3)),
                        "description": " ".join(rng.sample(WORDS, 10)), "charts": [], "deleted": False}
            if self.tenant:
                document["tenantId"] = self.tenant
            rows["dashboards"].append((model.uid(self.tenant, document["id"]), values.dumps(document),
                                       "title: %s\n" % document["title"]))
        written = {}
        for number in range(files):
            namespace = rng.choice(NAMESPACES)
            if number % 3 == 0:
                key = "%s_%s_%d" % (rng.choice(WORDS), self.seed, number)
                value = {"at": values.iso(self.until), "words": rng.sample(WORDS, 4), "number": rng.randrange(10 ** 6)}
                written[storage.kv_file(namespace, key)] = (
                    values.dumps(value).encode(), {"description": " ".join(rng.sample(WORDS, 3))} if number % 2 else {})
            else:
                name = "%s/%s %s%d_%s.txt" % (rng.choice(WORDS), rng.choice(WORDS),
                                              rng.choice(("é", "ü", "data", "日本")), number, self.seed)
                written[storage.namespace_file(namespace, name)] = (self.content(rng), None)
        return rows, written


def _spread(total, count, number, executions):
    """How many of `total` each execution of this chunk gets, when they are dealt out evenly over all executions."""
    start = number * CHUNK
    return [total * (place + 1) // executions - total * place // executions for place in range(start, start + count)]


_COLUMNS = {
    "executions": ("key", "value"), "logs": ("key", "value"), "metrics": ("key", "value"),
    "queues": ("type", "key", "value"),
    "flows": ("key", "value", "source_code"), "dashboards": ("key", "value", "source_code"),
}
_state = {}


def _begin(engine, settings, place, tenant, seed, until):
    _state.update(store=database.store(engine, settings), storage=storage.opened(*place, tenant),
                  maker=Maker(seed, until, tenant))


def _load(store, rows):
    """Write {table: rows}; messages are ones that everyone has seen."""
    with store.tx() as work:
        for table, lines in rows.items():
            seen = store.CONSUMED if table == "queues" else {}
            work.load(table, _COLUMNS[table] + tuple(seen), (line + tuple(seen.values()) for line in lines))


def _write_chunk(job):
    number, count, plan = job
    rows, written = _state["maker"].chunk(number, count, plan)
    _load(_state["store"], rows)
    for path, content in written.items():
        _state["storage"].put(path, content)
    return count


def fill(configuration, options, show=lambda text: None):
    """Fill the database and storage a configuration names; returns what was written and how large it is."""
    began = time.monotonic()
    tenant = "main" if version_tuple(personality(configuration.environ)) >= (0, 23) else None
    engine, settings = config.database(configuration)
    where = config.storage(configuration)
    store = database.store(engine, settings)
    store.migrate(version_tuple(personality(configuration.environ)), _Quiet())
    plan = {table: int(options.rows * share) for table, share in SHAPES[options.shape].items()}
    plan["executions"] = max(1 if options.rows or options.files else 0, plan["executions"])
    fixed = options.files // 4
    plan["files"] = options.files - fixed
    until = values.parse_iso(options.until)
    maker = Maker(options.seed, until, tenant)
    rows, written = maker.statics(fixed)
    _load(store, rows)
    # The processes below must not share a connection of this one.
    store.close()
    place = storage.opened(*where, tenant)
    for path, (content, metadata) in written.items():
        place.put(path, content, metadata)
    jobs = [(number, min(CHUNK, plan["executions"] - number * CHUNK), plan)
            for number in range(-(-plan["executions"] // CHUNK))]
    arguments = (engine, settings, where, tenant, options.seed, until)
    # Chunks are small enough for every process to stay busy to the end, whatever the number of rows.
    with ProcessPoolExecutor(options.jobs, initializer=_begin, initargs=arguments) as pool:
        for done in itertools.accumulate(pool.map(_write_chunk, jobs)):
            show("%d of %d executions, %.0f s" % (done, plan["executions"], time.monotonic() - began))
    store.analyze()
    tables, size = store.sizes()
    return {"tables": {name: {"rows": found[0], "bytes": found[1]} for name, found in tables.items()}, "bytes": size,
            "files_written": options.files, "seconds": round(time.monotonic() - began, 1), "shape": options.shape,
            "seed": options.seed}


class _Quiet:
    """A log that says nothing."""

    def info(self, *_arguments):
        """Nothing."""

    warning = info


def main(arguments=None):
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog=NAME + "-fill", allow_abbrev=False, description=__doc__.split("\n", 1)[0])
    parser.add_argument("-c", "--config", required=True, help="Kestra configuration file")
    parser.add_argument("--rows", type=int, required=True, help="rows altogether")
    parser.add_argument("--shape", choices=sorted(SHAPES), default="kestra")
    parser.add_argument("--seed", default="1", help="letters and digits")
    parser.add_argument("--files", type=int, default=0, help="files in the internal storage")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at once")
    parser.add_argument("--until", default="2026-11-01T00:00:00Z", help="date before which everything happened")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args(arguments)
    if options.rows < 0 or options.files < 0 or options.jobs < 1 or not options.seed.isalnum():
        parser.error("rows and files are not negative, jobs is positive, the seed is letters and digits")
    try:
        found = fill(config.read(options.config), options,
                     (lambda text: None) if options.quiet else lambda text: print(text, file=sys.stderr))
    except (config.ConfigurationError, ValueError, OSError, *database.errors()) as error:
        print("%s-fill: %s" % (NAME, str(error).strip() or type(error).__name__), file=sys.stderr)
        return 1
    print(values.dumps(dict(found, seconds=Decimal(str(found["seconds"])))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
