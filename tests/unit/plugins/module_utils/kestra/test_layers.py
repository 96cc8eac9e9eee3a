# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML made flat; what is malformed is named by file and line, and never shown."""
from __future__ import annotations

import builtins

import pytest
from ansible_collections.kestra_community.dr.plugins.module_utils.core.errors import ConfigError
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra import layers
from ansible_collections.kestra_community.dr.plugins.module_utils.kestra.layers import Layer

SECRET = "Tr0ub4dor&3"


def flat(text):
    return layers.parse_yaml(Layer("/etc/kestra/a.yml", text))


def test_nested_dotted_and_mixed_keys_are_the_same():
    expected = {"kestra.storage.local.base-path": "/s"}
    for text in ("kestra:\n  storage:\n    local:\n      basePath: /s\n", "kestra.storage.local.base-path: /s\n",
                 "kestra.storage:\n  local.base_path: /s\n", "kestra: {storage: {local: {base-path: /s}}}\n"):
        assert flat(text) == expected


def test_several_documents_are_merged_and_empty_ones_skipped():
    assert flat("---\na: {b: 1, c: 2}\n---\n---\n# nothing\n---\na: {c: 3}\n") == {"a.b": 1, "a.c": 3}
    assert flat("") == {}
    assert flat("# only a comment\n") == {}


def test_yaml_as_micronaut_reads_it():
    found = flat("when: 2026-11-23\nlist: [1, {aB: 2}]\nbool: yes\nx: &x {k: 1}\ny: {<<: *x, m: 2}\n1: one\n")
    assert found == {"when": "2026-11-23", "list": [1, {"aB": 2}], "bool": True, "x.k": 1, "y.k": 1, "y.m": 2,
                     "1": "one"}


@pytest.mark.parametrize("text, line", [
    (f"a: 1\n\tb: {SECRET}\n", 2),
    (f"a: 1\nb: @{SECRET}\n", 2),
    (f"a: 1\nb: *{SECRET}\n", 2),
    (f"a:\n - 1\n b: {SECRET}\n", 3),
    (f"a: \"{SECRET}\n", 2),
    (f"a: 1\nb: !!python/object/apply:os.system [{SECRET}]\n", 2),
    (f"a: {{b: 1\nc: {SECRET}", 2),
    (f"a: 1\nb: {SECRET}\x00\n", 2),
    (f"a: 1\nb: !{SECRET} x\n", 2),
    (f"a: {SECRET}: b: c\n", 1),
])
def test_malformed_text_is_named_by_line_and_not_shown(text, line):
    with pytest.raises(ConfigError) as caught:
        flat(text)
    told = str(caught.value.to_result())
    assert caught.value.reason == "malformed_yaml"
    assert "/etc/kestra/a.yml" in told and caught.value.detail["line"] == line
    assert SECRET not in told and SECRET[:6] not in told
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("text", [f"b: !!int {SECRET}\n", f"b: !!float {SECRET}\n", "[" * 5000])
def test_what_the_parser_chokes_on_otherwise_is_malformed_too(text):
    with pytest.raises(ConfigError) as caught:
        flat(text)
    assert caught.value.reason == "malformed_yaml" and SECRET not in str(caught.value.to_result())


@pytest.mark.parametrize("text, kind", [("- a\n- b\n", "a list"), ("just text\n", "plain text"),
                                        ("42\n", "a single value")])
def test_a_top_level_that_is_no_mapping_is_refused(text, kind):
    with pytest.raises(ConfigError) as caught:
        flat(text)
    assert caught.value.reason == "not_a_mapping" and kind in caught.value.message
    with pytest.raises(ConfigError) as caught:
        flat("a: 1\n---\n" + text)
    assert "document 2" in caught.value.message


def test_without_pyyaml_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "yaml":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    layers._yaml.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError) as caught:
        flat("a: 1")
    assert caught.value.reason == "yaml_missing" and "python3-yaml" in caught.value.hint
    monkeypatch.undo()
    layers._yaml.cache_clear()
    assert flat("a: 1") == {"a": 1}


def test_a_layer_does_not_show_its_text():
    assert SECRET not in repr(Layer("x", SECRET))
    assert SECRET not in repr(layers.Sources(environment={"A": SECRET}, files=(Layer("x", SECRET),)))


@pytest.mark.parametrize("text", [
    "a:\n  b: 1\n  cD:\n    e_f: x\ng.h: y\n# k: 1\ni:\n---\nl: z\n",
    "a:\n    b: 'x: y'\n    cD: # note\n        e_f: |\n            text\n\"g.h\": y\nl: https://h:1/x\n",
    "a: {b: 1, cD: 2}\na.cD.e_f: x\ng.h: \"y\"\nl: 1\n",
])
def test_keys_are_found_without_a_yaml_parser(text):
    found, expected = set(layers.scan_keys(text)), {"a.b", "a.c-d.e-f", "g.h", "l"}
    assert expected <= found and found - expected <= {"a.c-d"}


def test_a_list_of_settings_does_not_lead_keys_astray():
    text = ("kestra:\n  plugins:\n    configurations:\n      - type: x\n        values:\n          apiToken: t\n"
            "  encryption:\n    key: k\n")
    assert layers.scan_keys(text)[-2:] == ["kestra.plugins.configurations.values.api-token", "kestra.encryption.key"]
