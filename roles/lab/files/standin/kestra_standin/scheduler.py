# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scheduler: creates executions for Schedule triggers, also for dates missed while nothing ran."""
from __future__ import annotations

from . import flows, model, schedule, values
from .executor import save


class Scheduler:
    """Looks at all triggers of all flows once a second."""

    def __init__(self, server, configuration):
        self.server, self.store, self.log = server, server.store, server.log
        self.recover = "ALL"
        for one in configuration.get("kestra.plugins.configurations") or ():
            if isinstance(one, dict) and one.get("type") == flows.SCHEDULE:
                self.recover = str(one.get("values", {}).get("recoverMissedSchedules", self.recover)).upper()
        self._seen = set()

    def unlock(self):
        """Free the triggers whose execution has ended; how many messages there were."""
        with self.store.tx() as work:
            messages = work.poll("scheduler", ("models.executions.Execution",), 100)
            for _offset, _kind, key, value in messages:
                if "trigger" in value and model.is_done(value):
                    self._free(work, key, model.uid(value.get("tenantId"), value["namespace"], value["flowId"],
                                                    value["trigger"]["id"]))
            if messages:
                work.consumed("scheduler", [message[0] for message in messages])
        return len(messages)

    @staticmethod
    def _free(work, execution_id, key):
        trigger = work.get("triggers", key, lock=True)
        if trigger is not None and trigger.get("executionId") == execution_id:
            trigger.pop("executionId")
            trigger.pop("updatedDate", None)
            work.put("triggers", key, trigger)
            work.emit("models.triggers.Trigger", key, trigger)

    def evaluate(self):
        """Create the executions that are due; how many."""
        with self.store.tx() as work:
            found, _total = work.latest_flows(with_triggers=True)
        started = 0
        for flow, _source in found:
            if flow.get("disabled"):
                continue
            for definition in flow["triggers"]:
                started += self._one(flow, definition)
        return started

    def _one(self, flow, definition):
        key = model.uid(flow.get("tenantId"), flow["namespace"], flow["id"], definition["id"])
        moment = values.now()
        with self.store.tx() as work:
            trigger = work.get("triggers", key, lock=True, skip_locked=True)
            if trigger is None:
                # New, or in somebody else's hands: adding does nothing in the second case, and it is still to be seen.
                trigger = {"date": values.iso(moment), "flowId": flow["id"], "disabled": False,
                           "namespace": flow["namespace"], "triggerId": definition["id"],
                           "nextExecutionDate": values.iso(schedule.following(definition, moment))}
                if flow.get("tenantId"):
                    trigger["tenantId"] = flow["tenantId"]
                if work.add("triggers", key, trigger):
                    self._seen.add(key)
                return 0
            if key not in self._seen:
                self._recover(work, key, trigger, definition, moment)
                self._seen.add(key)
            if trigger.get("disabled") or definition.get("disabled"):
                return 0
            if trigger.get("executionId"):
                return self._still_running(work, trigger, key)
            due = values.parse_iso(trigger["nextExecutionDate"]) if trigger.get("nextExecutionDate") else None
            if due is None or due > moment:
                return 0
            self._start(work, key, flow, definition, trigger, due)
        self.server.wake.set()
        return 1

    def _recover(self, work, key, trigger, definition, moment):
        """What to do with dates that passed while no scheduler ran: once per trigger and start."""
        due = values.parse_iso(trigger["nextExecutionDate"]) if trigger.get("nextExecutionDate") else None
        if due is None or due > moment:
            return
        mode = str(definition.get("recoverMissedSchedules", self.recover)).upper()
        _first, last = schedule.missed(definition, due, moment)
        self.log.info("Trigger %s missed schedules since %s, recoverMissedSchedules is %s", key, values.iso(due), mode)
        if mode == "ALL":
            return
        following = last if mode == "LAST" else schedule.following(definition, moment)
        trigger["nextExecutionDate"] = values.iso(following)
        work.put("triggers", key, trigger)

    def _still_running(self, work, trigger, key):
        execution = work.get("executions", trigger["executionId"])
        if execution is None or model.is_done(execution):
            self._free(work, trigger["executionId"], key)
        return 0

    def _start(self, work, key, flow, definition, trigger, due):
        following = schedule.following(definition, due)
        variables = {"date": values.iso_short(due)}
        if following:
            variables["next"] = values.iso_short(following)
        if trigger.get("date"):
            variables["previous"] = values.iso_short(values.parse_iso(trigger["date"]))
        execution = model.new_execution(
            flow, values.now(), inputs=definition.get("inputs"), tenant=flow.get("tenantId"), schedule_date=due,
            trigger={"id": definition["id"], "type": definition["type"], "variables": variables})
        trigger.update(date=values.iso(due), executionId=execution["id"], updatedDate=values.iso(values.now()))
        if following:
            trigger["nextExecutionDate"] = values.iso(following)
        else:
            trigger.pop("nextExecutionDate", None)
        work.put("triggers", key, trigger)
        work.emit("models.triggers.Trigger", key, trigger)
        save(work, execution)
        self.log.info("Scheduled execution %s for trigger %s at %s", execution["id"], key, values.iso(due))
