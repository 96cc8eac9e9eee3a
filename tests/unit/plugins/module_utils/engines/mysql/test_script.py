# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripts of mysqldump taken apart: statements, rows, ends."""

from __future__ import annotations

import pytest

from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import IntegrityError, RefusedError
from ansible_collections.kestra_community.dr.plugins.module_utils.engines.mysql import script

HEAD = b"-- MySQL dump 10.13  Distrib 9.7.4, for Linux (x86_64)\n--\n-- Host: localhost    Database: kestra\n-- Server version\t9.7.4-2\n"
FOOT = b"-- Dump completed on 2026-11-26  0:28:35\n"
TABLE = b"CREATE TABLE `t` (\n  `a` int DEFAULT ';'\n) ENGINE=InnoDB AUTO_INCREMENT=8 DEFAULT CHARSET=utf8mb4;\n"


def read(text, size=None):
    """(statements, comments) of a script fed in blocks of size bytes."""
    found, comments = [], []
    reader = script.Reader(found.append, comments.append)
    for at in range(0, len(text), size or len(text)):
        reader.feed(text[at : at + (size or len(text))])
    reader.finish()
    return found, comments


def gather(text):
    facts = script.Facts()
    reader = facts.reader()
    reader.feed(text)
    reader.finish()
    facts.finish()
    return facts


@pytest.mark.parametrize(
    "text,rows",
    [
        (b"INSERT INTO `t` VALUES (1),(2),(NULL);", 3),
        (b"INSERT INTO `t` VALUES ('),('),('it\\'s \\\\'),('\\\\\\'),(');", 3),
        (b"INSERT INTO `t` (`a`, `b),(`) VALUES (_binary '\\0',0x28292C28);", 1),
        (b"INSERT INTO `t` VALUES ('it''s'),('');", 2),
        (b"INSERT INTO `odd ``name), (` VALUES (1),(2);", 2),
        (b"REPLACE INTO `t` VALUES (1);", 1),
        (b"INSERT  IGNORE INTO `t` VALUES (1);", 1),
        (b"INSERT INTO `t` VALUES (NOW()),(2);", None),
    ],
)
def test_rows_of_an_insert(text, rows):
    found = script.insert(text, b";")
    assert found.kind == "insert" and found.rows == rows


@pytest.mark.parametrize(
    "text",
    [
        b"INSERT INTO `t` VALUES ('a;",
        b"INSERT INTO `t` VALUES (1); SELECT 2;",
        b"INSERT INTO `t` VALUES (1)",
        b"INSERT INTO t VALUES (1);",
        b"INSERT INTO `t` SELECT 1;",
        b"SELECT 1;",
    ],
)
def test_no_insert_on_one_line(text):
    assert script.insert(text, b";") is None


@pytest.mark.parametrize(
    "text,outside",
    [
        (b"1,'a',2", b"1,,2"),
        (b"'\\'','\\\\','\\\\\\''", b",,"),
        (b"'a", None),
        (b"'a\\'", None),
        (b"'a\\\\'", b""),
        (b"", b""),
    ],
)
def test_outside_strings(text, outside):
    assert script.outside_strings(text) == outside


SCRIPT = (
    HEAD
    + b"/*!40101 SET NAMES utf8mb4 */;\n/* a remark; */\nDROP TABLE IF EXISTS `t`;\n"
    + TABLE
    + b"INSERT INTO `t` VALUES ('a;\\n--'),('b\r');\nINSERT INTO `t` VALUES\n('multi'),\n('line;\n');\n"
    + b"DELIMITER ;;\n/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`localhost`*/ /*!50003 TRIGGER `tr` BEFORE INSERT ON `t` FOR EACH "
    + b"ROW begin set new.a='x;;'; -- it's; fine;;\n end */;;\nCREATE DEFINER=`root`@`%` FUNCTION `f`() RETURNS int\nbegin return 1; "
    + b'end ;;\nDELIMITER ;\nSET a = 1; SET b = "x;\'"; # done;\n'
    + FOOT
)


@pytest.mark.parametrize("size", [None, 1, 2, 7, 64])
def test_statements(size):
    found, comments = read(SCRIPT, size)
    assert [(item.kind, item.name, item.rows) for item in found] == [
        ("set", None, None),
        ("drop", "t", None),
        ("table", "t", None),
        ("insert", "t", 2),
        ("insert", "t", 2),
        ("trigger", "tr", None),
        ("routine", "f", None),
        ("set", None, None),
        ("set", None, None),
    ]
    assert found[3].text == b"INSERT INTO `t` VALUES ('a;\\n--'),('b\r')"
    assert found[5].text.endswith(b"-- it's; fine;;\n end */") and found[6].text.endswith(b"return 1; end")
    assert found[8].text == b'SET b = "x;\'"' and comments[-1] == FOOT


def test_facts():
    facts = gather(SCRIPT)
    assert facts.counts == {"t": 4} and facts.auto_increment == {"t": 8} and not facts.uncounted and not facts.gtid
    assert facts.headers == {"dump": ("MySQL", "9.7.4"), "server": ("9.7.4-2",), "database": ("kestra",)}
    assert facts.objects == {"tables": ["t"], "views": [], "routines": ["f"], "triggers": ["tr"], "events": []}
    assert facts.definers == ["`root`@`localhost`", "`root`@`%`"] and facts.complete
    assert facts.longest == max(len(item.text) for item in read(SCRIPT)[0])


@pytest.mark.parametrize(
    "text,kind,name",
    [
        (
            b"/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`a`@`b` SQL SECURITY DEFINER */\n/*!50001 VIEW `v` AS select 1 */",
            "view",
            "v",
        ),
        (
            b"/*!50106 CREATE*/ /*!50117 DEFINER=`a`@`%`*/ /*!50106 EVENT `ev` ON SCHEDULE EVERY 1 DAY DO select 1 */",
            "event",
            "ev",
        ),
        (b"CREATE DEFINER=`a b`@`%` PROCEDURE `p`() select 1", "other", None),
        (b"CREATE DEFINER=`a`@`%` PROCEDURE `p`() select 1", "routine", "p"),
        (b"LOCK TABLES `t` WRITE", "lock", None),
        (b"UNLOCK TABLES", "lock", None),
        (b"/*!40000 ALTER TABLE `t` DISABLE KEYS */", "keys", "t"),
        (b"SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ 'x:1'", "gtid", None),
        (b"SET @@SESSION.SQL_LOG_BIN= 0", "binlog", None),
        (b"SET @MYSQLDUMP_TEMP_LOG_BIN = @@SESSION.SQL_LOG_BIN", "binlog", None),
        (
            b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `kestra` /*!40100 DEFAULT CHARACTER SET utf8mb4 */",
            "database",
            "kestra",
        ),
        (b"USE `kestra`", "use", "kestra"),
        (b"/*!50001 DROP VIEW IF EXISTS `v`*/", "drop", "v"),
        (b"INSERT INTO t SELECT 1", "insert", None),
        (b"GRANT ALL ON *.* TO x", "other", None),
        (b"SELECT 1 INTO OUTFILE '/tmp/x'", "other", None),
        (b"ALTER TABLE `t` ADD COLUMN x int", "other", None),
    ],
)
def test_kinds(text, kind, name):
    found = script.classify(text)
    assert (found.kind, found.name) == (kind, name)


def test_another_schema_is_refused():
    for text in (
        b"DROP TABLE `mysql`.`user`",
        b"CREATE TABLE `mysql`.`x` (a int)",
        b"CREATE VIEW `sys`.`v` AS select 1",
    ):
        with pytest.raises(RefusedError) as refused:
            script.classify(text)
        assert refused.value.reason == "dump_unsupported"


@pytest.mark.parametrize(
    "text",
    [
        HEAD + TABLE,
        HEAD + TABLE[:20],
        HEAD + TABLE + b"INSERT INTO `t` VALUES ('a",
        HEAD + TABLE + FOOT + b"INSERT INTO `t` VALUES (1);\n",
        TABLE + FOOT,
        b"",
        HEAD + b"DELIMITER ;;\nCREATE FUNCTION `f`() RETURNS int return 1;\n" + FOOT,
    ],
)
def test_what_is_not_whole(text):
    with pytest.raises(IntegrityError):
        gather(text)


def test_gtids_may_follow_the_end():
    facts = gather(HEAD + TABLE + FOOT + b"-- GTID state\nSET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ 'x:1-11';\n")
    assert facts.gtid and facts.complete


def test_unexpected_statements_are_refused_without_their_values():
    for text in (b"GRANT ALL ON *.* TO x;\n", b"\\! rm\n;\n", b"INSERT INTO t VALUES ('secret');\n"):
        with pytest.raises(RefusedError) as refused:
            gather(HEAD + TABLE + text + FOOT)
        assert refused.value.reason == "statement_unexpected"
    assert "secret" not in script.shown(b"INSERT INTO `t` VALUES ('secret')")


def test_a_function_call_among_values_leaves_a_table_uncounted():
    facts = gather(HEAD + TABLE + b"INSERT INTO `t` VALUES (NOW()),(1);\n" + FOOT)
    assert facts.uncounted == ["t"]


def test_without_definer():
    assert script.without_definer(b"CREATE DEFINER=`a`@`%` FUNCTION `f`() x") == (b"CREATE FUNCTION `f`() x", "`a`@`%`")
    text = b"/*!50003 CREATE*/ /*!50017 DEFINER=`a``b`@`h`*/ /*!50003 TRIGGER `t` x */"
    assert script.without_definer(text) == (b"/*!50003 CREATE*/ /*!50003 TRIGGER `t` x */", "`a``b`@`h`")
    assert script.without_definer(b"CREATE FUNCTION `f`() x") == (b"CREATE FUNCTION `f`() x", None)


@pytest.mark.parametrize("size", [1, 3, 50, 10000])
def test_rows_taken_out(size):
    def section(name):
        return (
            b"CREATE TABLE `%s` (\n  `a` int\n);\n\n--\n-- Dumping data for table `%s`\n--\n\nLOCK TABLES `%s` WRITE;\nINSERT INTO "
            b"`%s` VALUES (1);\nINSERT INTO `%s` VALUES ('\r');\nUNLOCK TABLES;\n"
        ) % ((name,) * 5)

    text = section(b"a") + section(b"b``c") + b"create trigger x\nINSERT INTO `a` VALUES (2);\n" + b"no newline"
    chosen = script.RowFilter(["a", "b`c"])
    out = b"".join(chosen.lines(text[at : at + size]) for at in range(0, len(text), size)) + chosen.rest()
    lines = [line for line in text.split(b"\n") if not line.startswith(b"INSERT INTO") or b"(2)" in line]
    assert out == b"\n".join(lines)
    other = script.RowFilter(["a"])
    assert b"INSERT INTO `b``c` VALUES (1);" in other.lines(text) + other.rest()
