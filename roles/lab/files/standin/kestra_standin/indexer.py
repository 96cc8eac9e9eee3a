# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The indexer: takes log lines and metrics out of the queue into their tables, a little later than they were made."""
from __future__ import annotations


class Indexer:
    """Batches, as Kestra's does; it also looks at executions, seconds after their last change."""

    TABLES = {"models.executions.LogEntry": "logs", "models.executions.MetricEntry": "metrics"}
    LAG = 2.0

    def __init__(self, server):
        self.store = server.store

    def poll(self):
        """Move one batch; how many messages there were."""
        with self.store.tx() as work:
            messages = work.poll("indexer", tuple(self.TABLES), 500)
            for kind, table in self.TABLES.items():
                rows = [(key, value) for _offset, found, key, value in messages if found == kind]
                if rows:
                    work.add_many(table, rows)
            if messages:
                work.consumed("indexer", [message[0] for message in messages])
        return len(messages)

    def look(self):
        """Tick off what needs no row of its own; how many messages there were."""
        with self.store.tx() as work:
            messages = work.poll("indexer", ("models.executions.Execution", "models.flows.FlowWithSource",
                                             "models.triggers.Trigger"), 200, self.LAG)
            if messages:
                work.consumed("indexer", [message[0] for message in messages])
            flows = work.poll("flow_topology", ("models.flows.FlowWithSource",), 50, self.LAG)
            if flows:
                work.consumed("flow_topology", [message[0] for message in flows])
        return len(messages)
