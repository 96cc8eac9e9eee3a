# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work for Kestra while the playbooks run: flows, executions with inputs and files, KV values, namespace files."""
from __future__ import annotations

import threading
import time

from .api import ApiError
from .ledger import Write

FLOWS = {
    "hello": """\
id: hello
namespace: {namespace}
inputs:
  - id: text
    type: STRING
tasks:
  - id: log
    type: io.kestra.plugin.core.log.Log
    message: "{{{{ inputs.text }}}}"
  - id: value
    type: io.kestra.plugin.core.debug.Return
    format: "{{{{ inputs.text }}}}"
""",
    "files": """\
id: files
namespace: {namespace}
inputs:
  - id: payload
    type: FILE
tasks:
  - id: log
    type: io.kestra.plugin.core.log.Log
    message: "{{{{ inputs.payload }}}}"
""",
    "every_minute": """\
id: every_minute
namespace: {namespace}
tasks:
  - id: log
    type: io.kestra.plugin.core.log.Log
    message: "on schedule"
triggers:
  - id: cron
    type: io.kestra.plugin.core.trigger.Schedule
    cron: "* * * * *"
""",
}


# Its executions stay under way.
WAITING = """\
id: waiting
namespace: {namespace}
tasks:
  - id: wait
    type: io.kestra.plugin.core.flow.Pause
"""


class Workload:
    """The drill's own work, in a namespace of its own. serial: text that makes names unique to this drill."""

    def __init__(self, api, namespace, ledger, serial):
        self.api, self.namespace, self.ledger, self.serial = api, namespace, ledger, serial
        self._number = 0
        self._lock = threading.Lock()

    def deploy(self) -> None:
        """Creates the flows, a scheduled one among them."""
        for source in FLOWS.values():
            self.api.put_flow(source.format(namespace=self.namespace))

    def leave_waiting(self) -> str:
        """Starts an execution that stays under way; its id."""
        self.api.put_flow(WAITING.format(namespace=self.namespace))
        return self.api.start(self.namespace, "waiting", inputs={})

    def delete_flows(self) -> None:
        """Deletes the flows (they must come back with the restore)."""
        for flow in FLOWS:
            self.api.delete_flow(self.namespace, flow)

    def flows_present(self) -> list:
        """Which of the flows are there."""
        return [flow for flow in FLOWS if self.api.has_flow(self.namespace, flow)]

    def _next(self) -> int:
        with self._lock:
            self._number += 1
            return self._number

    def _record(self, kind, name, content, label, act):
        asked = time.time()
        made = act()
        write = Write(kind, made if kind == "execution" else name, asked, time.time(), content, label)
        self.ledger.add(write)
        return write

    def execution(self, with_file=False, label=""):
        """Starts an execution; with_file: one with an input file, read back later as proof of the storage."""
        number = self._next()
        if with_file:
            content = f"payload {number} of {self.serial}\n".encode() * 20
            return self._record(
                "execution", None, content, label,
                lambda: self.api.start(self.namespace, "files", files={"payload": content}),
            )
        return self._record(
            "execution", None, None, label,
            lambda: self.api.start(self.namespace, "hello", inputs={"text": f"hello {number}"}),
        )

    def value(self, label=""):
        """Writes a KV value of its own."""
        number = self._next()
        key, content = f"value_{number}", f"value {number} of {self.serial}"
        return self._record("value", key, content, label, lambda: self.api.put_value(self.namespace, key, content))

    def file(self, label=""):
        """Writes a namespace file of its own."""
        number = self._next()
        path, content = f"/drill/file-{number}.txt", f"file {number} of {self.serial}\n".encode()
        return self._record("file", path, content, label, lambda: self.api.put_file(self.namespace, path, content))

    def sentinels(self, label) -> list:
        """An execution with a file, a KV value and a namespace file, remembered under a label."""
        return [self.execution(with_file=True, label=label), self.value(label), self.file(label)]

    def forget(self, write) -> None:
        """Deletes what a write made."""
        if write.kind == "execution":
            self.api.delete_execution(write.name)
        elif write.kind == "value":
            self.api.delete_value(self.namespace, write.name)
        else:
            self.api.delete_file(self.namespace, write.name)

    def finishes(self, write, seconds) -> str:
        """Waits for the end of an execution. Returns its last state seen."""
        deadline, state = time.monotonic() + seconds, "unknown"
        while time.monotonic() < deadline:
            found = self.api.execution(write.name)
            state = ((found or {}).get("state") or {}).get("current", "missing")
            if state in ("SUCCESS", "FAILED", "KILLED", "WARNING", "CANCELLED"):
                break
            time.sleep(0.3)
        return state

    def tidy(self) -> int:
        """Takes the drill's own work out of a Kestra that lives on. Returns how many objects stayed."""
        acts = [lambda flow=flow: self.api.delete_flow(self.namespace, flow) for flow in FLOWS]
        acts += [lambda write=write: self.forget(write) for write in self.ledger.writes()]
        left = 0
        for number, act in enumerate(acts):
            try:
                act()
            except ApiError as error:
                if not error.status:  # no answer: nor will there be one for the rest
                    return left + len(acts) - number
                left += error.status != 404
        return left


class Driver(threading.Thread):
    """Keeps Kestra busy until it is stopped. While Kestra is down its requests fail, are counted and tried again."""

    def __init__(self, workload, pause):
        super().__init__(name="workload", daemon=True)
        self._workload, self._pause = workload, pause
        self._halt = threading.Event()
        self.refused = 0
        self.done = 0
        self.last_error = ""

    def run(self):
        turn = 0
        while not self._halt.is_set():
            try:
                self._one(turn)
                self.done += 1
                turn += 1
            except ApiError as error:
                self.refused += 1
                self.last_error = str(error)
            self._halt.wait(self._pause)

    def _one(self, turn) -> None:
        if turn % 4 == 0:
            self._workload.value()
        elif turn % 4 == 2:
            self._workload.file()
        else:
            self._workload.execution(with_file=turn % 8 == 1)

    def wait_for(self, more, seconds) -> bool:
        """Waits until that many more writes were acknowledged."""
        goal, deadline = self.done + more, time.monotonic() + seconds
        while self.done < goal and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.done >= goal

    def stop(self) -> None:
        """Ends the thread after the request under way."""
        self._halt.set()
        self.join(timeout=60)
