# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of scripts/drill: the shell's check of its form and the drill's own."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "scripts" / "lib"))

from drill import options  # noqa: E402

DRILL = ROOT / "scripts" / "drill"


def call(*arguments):
    return subprocess.run(
        ["bash", str(DRILL), *arguments], capture_output=True, text=True, timeout=20, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
    )


def test_help_needs_no_set_up():
    done = call("--help")
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: scripts/drill") and done.stderr == ""
    for option in ("--backend", "--edition", "--storage", "--kestra", "--config", "--size", "--point", "--keep"):
        assert option in done.stdout


@pytest.mark.parametrize("arguments, said", [
    (["--size"], "--size needs a value"),
    (["--size", "huge"], "--size cannot be huge"),
    (["--size=huge"], "--size cannot be huge"),
    (["--point", "live"], "--point cannot be live"),
    (["--backend", "oracle"], "--backend cannot be oracle"),
    (["--kestra", "/bin/sh", "--config", "/etc/passwd", "--backend", "mysql"], "the configuration names the database"),
    (["--edition", "cloud"], "--edition cannot be cloud"),
    (["--kestra", "/bin/sh", "--config", "/etc/passwd", "--edition", "enterprise"], "a real Kestra has its own"),
    (["--edition=enterprise", "--backend=mysql"], "PostgreSQL only"),
    (["--storage", "tape"], "--storage cannot be tape"),
    (["--kestra", "/bin/sh", "--config", "/etc/passwd", "--storage", "s3"], "the configuration names it"),
    (["--edition=enterprise", "--storage=s3"], "local storage only"),
    (["--edition=enterprise", "--backend=elasticsearch"], "PostgreSQL only"),
    (["--edition=enterprise", "--backend=opensearch"], "PostgreSQL only"),
    (["--frobnicate"], "unknown argument: --frobnicate"),
    (["small"], "unknown argument: small"),
    (["--kestra", "/bin/sh"], "belong together"),
    (["--config", "/etc/passwd"], "belong together"),
    (["--kestra", "/etc/passwd", "--config", "/etc/passwd"], "not an executable"),
    (["--kestra", "/bin", "--config", "/etc/passwd"], "not an executable"),
    (["--kestra", "/bin/sh", "--config", "/nowhere"], "not a file that can be read"),
])
def test_wrong_usage_ends_with_64_before_the_set_up(arguments, said):
    done = call(*arguments)
    assert done.returncode == 64
    assert said in done.stderr and "--help" in done.stderr


def test_defaults():
    found = options.parse([])
    assert (found.kestra, found.config, found.backend, found.size, found.point, found.keep) == (
        None, None, "postgresql", "small", "pinned", False) and (found.edition, found.storage) == ("oss", "local")


@pytest.mark.parametrize("backend, engine", [("mysql", "mysql"), ("elasticsearch", "elasticsearch"), ("opensearch", "elasticsearch")])
def test_engines_of_backends(backend, engine):
    assert options.parse(["--backend", backend]).engine == engine


def test_paths_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kestra").write_text("#!/bin/sh\n", "utf-8")
    (tmp_path / "kestra").chmod(0o755)
    (tmp_path / "k.yml").write_text("{}", "utf-8")
    more = ["--size", "large", "--point", "offline", "--keep"]
    found = options.parse(["--kestra", "kestra", "--config", "k.yml", *more])
    assert found.kestra == str(tmp_path / "kestra") and found.config == str(tmp_path / "k.yml")
    assert (found.size, found.point, found.keep) == ("large", "offline", True)


@pytest.mark.parametrize("arguments", [["--size", "huge"], ["--siz", "small"], ["--kestra", "/bin/sh"], ["extra"]])
def test_the_drill_itself_refuses_too(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        options.parse(arguments)
    assert ended.value.code == 64
    assert "--help" in capsys.readouterr().err
