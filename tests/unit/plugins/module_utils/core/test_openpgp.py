# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text behind a passphrase, by the real gpg, which finds nothing of ours in its way."""
from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core import openpgp
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import (
    ConfigError,
    DrError,
    IntegrityError,
    ToolError,
)

needs_gpg = pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is not installed on this machine")
TEXT = "Kestra's keys: ä\n\0 and more\n".encode() + bytes(range(256))


@pytest.fixture
def passphrase(tmp_path):
    return written(tmp_path / "passphrase", b"correct horse battery staple\n")


def written(path, content, mode=0o600):
    path.write_bytes(content)
    path.chmod(mode)
    return path


@needs_gpg
def test_there_and_back(passphrase):
    message = openpgp.encrypt(TEXT, passphrase)
    assert message.isascii() and message.startswith(b"-----BEGIN PGP MESSAGE-----") and b"horse" not in message
    assert openpgp.encrypt(TEXT, passphrase) != message
    assert openpgp.decrypt(message, passphrase, "it") == TEXT
    packets = subprocess.run(
        ["gpg", "--batch", "--no-autostart", "--pinentry-mode", "loopback", "--passphrase-file", str(passphrase),
         "--list-packets"], input=message, capture_output=True, check=True,
        env=dict(os.environ, GNUPGHOME=str(passphrase.parent)))
    # AES-256, SHA-512 repeated, integrity protected.
    assert b"cipher 9" in packets.stdout and b"s2k 3, hash 10" in packets.stdout and b"mdc_method: 2" in packets.stdout


@needs_gpg
@pytest.mark.parametrize("change", [
    lambda text: text.replace(b"A", b"B"), lambda text: text[:len(text) // 2], lambda text: b"no message at all",
    lambda text: b""])
def test_what_was_changed_is_not_opened(passphrase, change):
    message = openpgp.encrypt(TEXT, passphrase)
    with pytest.raises(IntegrityError) as caught:
        openpgp.decrypt(change(message), passphrase, "The kit x")
    assert caught.value.reason == "not_opened" and caught.value.message.startswith("The kit x cannot be opened")


@needs_gpg
def test_another_passphrase_does_not_open_it(tmp_path, passphrase):
    message = openpgp.encrypt(TEXT, passphrase)
    other = written(tmp_path / "other", b"incorrect horse battery staple\n")
    with pytest.raises(IntegrityError) as caught:
        openpgp.decrypt(message, other, "it")
    assert caught.value.reason == "not_opened" and "horse" not in str(caught.value.to_result())


def test_without_gpg(passphrase):
    with pytest.raises(ToolError) as caught:
        openpgp.encrypt(TEXT, passphrase, binary="/nonexistent/gpg")
    assert caught.value.reason == "tool_missing" and "gnupg" in caught.value.hint


@pytest.mark.parametrize("content, mode, reason", [
    (b"correct horse battery staple", 0o644, "passphrase_file_not_private"), (b"short\n", 0o600, "passphrase_too_short"),
    (b"", 0o600, "passphrase_too_short"), (b"fifteen letters\nand a second line", 0o600, "passphrase_too_short")])
def test_a_passphrase_that_will_not_do(tmp_path, content, mode, reason):
    with pytest.raises(ConfigError) as caught:
        openpgp.check_passphrase_file(written(tmp_path / "p", content, mode))
    assert caught.value.reason == reason


def test_a_passphrase_file_that_is_not_there(tmp_path):
    with pytest.raises(DrError) as caught:
        openpgp.check_passphrase_file(tmp_path / "nothing")
    assert caught.value.reason == "passphrase_file_missing"


def test_a_usable_passphrase(passphrase):
    openpgp.check_passphrase_file(passphrase)
