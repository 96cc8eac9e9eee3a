# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows of one table out of an archive. pg_restore is the decoder: it knows every format and compression."""
from __future__ import annotations

import contextlib
import subprocess
import tempfile

from ...core.child import Child
from ...core.errors import IntegrityError
from .rows import copy_blocks


@contextlib.contextmanager
def use_list(dump_ids):
    """A file for pg_restore --use-list that names these entries. Yields its path."""
    with tempfile.NamedTemporaryFile("w", prefix="kestra-dr-", suffix=".list") as handle:
        handle.writelines(f"{dump_id};\n" for dump_id in dump_ids)
        handle.flush()
        yield handle.name


@contextlib.contextmanager
def entry_rows(client, path, entry):
    """Yields an iterator of blocks of whole rows (bytes) of a table's entry.

    client: versions.Client. path: the dump. entry: archive.Entry with a COPY statement.
    The iterator raises ToolError or IntegrityError unless all rows were read.
    """
    with use_list([entry.dump_id]) as listed:
        argv = [client.program("pg_restore"), "--data-only", "--file=-", f"--use-list={listed}", path]
        with Child(argv, stdout=subprocess.PIPE) as child:
            yield _blocks(child, entry)


def _blocks(child, entry):
    statement = entry.copy.encode("utf-8", "surrogateescape")
    try:
        yield from copy_blocks(child.stdout.read1, statement, entry.name)
    except IntegrityError:
        child.check()  # a pg_restore that failed tells more than a stream that ended early
        raise
    child.check()
