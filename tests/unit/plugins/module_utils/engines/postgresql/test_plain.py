# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripts for psql: quoting followed as psql does, rows counted, ends checked, commands refused."""

from __future__ import annotations

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import IntegrityError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.postgresql import plain

HEAD = (
    b"--\n-- PostgreSQL database dump\n--\n\n\\restrict KEY\n\n-- Dumped from database version 15.18 (Debian)\n"
    b"-- Dumped by pg_dump version 16.1\n\nSET client_encoding = 'UTF8';\nSET transaction_timeout = 0;\n"
)
FOOT = b"--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict KEY\n\n"
COPY = b"COPY public.t (a, b) FROM stdin;\n1\tx\n2\ty\n\\.\n\n\n"


def audit(tmp_path, body, head=HEAD, foot=FOOT):
    path = tmp_path / "s.sql"
    path.write_bytes(head + body + foot)
    return plain.audit(str(path))


def test_what_is_found(tmp_path):
    found = audit(
        tmp_path,
        COPY + b"COPY public.empty (a) FROM stdin;\n\\.\n\n\n"
        b"SELECT pg_catalog.setval('public.\"it''s\"', 12, true);\n",
    )
    assert found["counts"] == {"public.t": 2, "public.empty": 0}
    assert found["sequences"] == {'public."it\'s"': {"last_value": 12, "is_called": True}}
    assert (found["server_version"], found["dump_version"], found["encoding"]) == ("15.18", "16.1", "UTF8")
    assert found["restricted"] and not found["inserts"]


@pytest.mark.parametrize(
    "text",
    [
        b"CREATE FUNCTION f() AS $$\nCOPY x FROM stdin;\n\\! rm\n$$;\n",
        b"COMMENT ON TABLE t IS 'a\nCOPY x FROM stdin;\n\\. b';\n",
        b"COMMENT ON TABLE t IS E'it\\'s \\\\ \\'\n\\! rm\n';\n",
        b'CREATE TABLE "a\nCOPY x FROM stdin;\n\\!" ();\n',
        b"/* \\! /* nested */ \\! */\n",
        b"-- \\! rm\n",
        b"CREATE FUNCTION f() AS $b$ $$ \\! $$ $c$ \\! $b$;\n",
        b"SELECT 'it''s \\! ', \"a\"\"\\!\" ;\n",
        b"SELECT a$b$ FROM c;\n",
        b"SELECT E'a''\\'b';\n",
        b"SELECT name'\\!';\n",
    ],
)
def test_quoting(tmp_path, text):
    assert audit(tmp_path, text + COPY)["counts"] == {"public.t": 2}


@pytest.mark.parametrize(
    "text",
    [
        b"\\! rm\n",
        b"SELECT 1 \\! rm\n",
        b"SELECT 1 \\g |rm\n",
        b"\\copy t from program 'rm'\n",
        b"\\i /etc/passwd\n",
        b"SELECT '\\' \\! rm\n';\n",
        b"SELECT E'\\\\' \\! rm\n",
        b"SELECT $a$ $a$ \\! rm\n",
        b"/* */ \\! rm\n",
        b"\\unrestrict KEY\n\\! rm\n",
        b"\\restrict OTHER\n",
        b"SELECT xE'\\' \\! rm\n';\n",
    ],
)
def test_commands_are_refused(tmp_path, text):
    with pytest.raises(RefusedError) as refused:
        audit(tmp_path, text)
    assert refused.value.reason == "psql_command"


@pytest.mark.parametrize("text", [b"\\connect other\n", b"\\c other\n", b"SET standard_conforming_strings = off;\n"])
def test_unsupported_scripts(tmp_path, text):
    with pytest.raises(RefusedError) as refused:
        audit(tmp_path, text)
    assert refused.value.reason == "dump_unsupported"


def test_names_with_line_breaks(tmp_path):
    found = audit(
        tmp_path, b'COPY public."a\nb" (x) FROM stdin;\n1\n\\.\n\n\n' + b"COPY public.none  FROM stdin;\n\n\\.\n\n\n"
    )
    assert found["counts"] == {'public."a\nb"': 1, "public.none": 1}


def test_insert_statements_are_noticed(tmp_path):
    found = audit(tmp_path, b"INSERT INTO public.t VALUES (1, 'a;\nINSERT INTO x');\n")
    assert found["inserts"] and found["counts"] == {}


@pytest.mark.parametrize("cut", range(1, len(COPY + FOOT)))
def test_every_cut(tmp_path, cut):
    whole = HEAD + COPY + FOOT
    path = tmp_path / "s.sql"
    path.write_bytes(whole[:-cut])
    if whole[-cut:].strip() == b"":
        assert plain.audit(str(path))["counts"] == {"public.t": 2}
    else:
        with pytest.raises((IntegrityError, RefusedError)):
            plain.audit(str(path))


def test_without_restrict(tmp_path):
    head, foot = HEAD.replace(b"\\restrict KEY\n", b""), FOOT.replace(b"\\unrestrict KEY\n", b"")
    assert audit(tmp_path, COPY, head, foot)["restricted"] is False
    with pytest.raises(IntegrityError):
        audit(tmp_path, COPY, HEAD, foot)
    with pytest.raises(IntegrityError):
        audit(tmp_path, COPY, head, foot + b"SELECT 1;\n")


def test_rows_beyond_one_block(tmp_path, monkeypatch):
    monkeypatch.setattr(plain, "CHUNK", 7)
    rows = b"".join(b"%d\t%s\n" % (number, b"x" * (number % 20)) for number in range(300))
    assert audit(tmp_path, b"COPY public.t (a, b) FROM stdin;\n" + rows + b"\\.\n\n\n" + COPY.replace(b".t", b".u"))[
        "counts"
    ] == {"public.t": 300, "public.u": 2}


def test_what_a_restore_may_leave_out(tmp_path):
    body = (
        b"ALTER TABLE public.t OWNER TO x;\n" + COPY + b"GRANT SELECT ON TABLE public.t TO y;\n"
        b"COMMENT ON TABLE t IS '\nGRANT ALL ON TABLE public.t TO y;\n';\n"
    )
    found = audit(tmp_path, body)["optional"]
    assert {kind: len(ranges) for kind, ranges in found.items()} == {
        "owner": 1,
        "privileges": 1,
        "transaction_timeout": 1,
    }
    left = b"".join(plain.without(str(tmp_path / "s.sql"), [item for ranges in found.values() for item in ranges]))
    expected = HEAD + body + FOOT
    for gone in (
        b"ALTER TABLE public.t OWNER TO x;\n",
        b"GRANT SELECT ON TABLE public.t TO y;\n",
        b"SET transaction_timeout = 0;\n",
    ):
        expected = expected.replace(gone, b"")
    assert left == expected
    assert b"".join(plain.without(str(tmp_path / "s.sql"), [])) == HEAD + body + FOOT
