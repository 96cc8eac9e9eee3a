# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wiring of the object storage modules: options in, errors out, without a server."""
from __future__ import annotations

import pytest
import yaml
from ansible_collections.kestra_community.dr.plugins.doc_fragments.object_storage import ModuleDocFragment
from ansible_collections.kestra_community.dr.plugins.doc_fragments.object_storage_target import ModuleDocFragment as TargetFragment
from ansible_collections.kestra_community.dr.plugins.module_utils.storage.objects import options
from ansible_collections.kestra_community.dr.plugins.modules import (
    object_storage_backup,
    object_storage_inventory_info,
    object_storage_replication,
    object_storage_replication_info,
    object_storage_restore,
)
from ansible_collections.kestra_community.dr.tests.unit.plugins.modules.kestra_runner import run

PLACE = {"endpoint": "http://127.0.0.1:9", "bucket": "kestra", "access_key": "key", "secret_key": "sesame-open-1", "patience": 0}
TARGET = {"endpoint": "http://127.0.0.1:9", "bucket": "replica", "access_key": "key", "secret_key": "sesame-open-2"}
MODULES = [(object_storage_inventory_info, {}), (object_storage_backup, {"pin": "/pin", "copy": "/copy", "dest": "/dest"}),
           (object_storage_restore, {"copy": "/"}), (object_storage_replication, {"target": TARGET}),
           (object_storage_replication_info, {"target": TARGET})]


def test_documented_as_specified():
    require_same(yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"],
                 {name: spec for name, spec in options.argument_spec().items() if name != "config"})
    target = yaml.safe_load(TargetFragment.DOCUMENTATION)["options"]["target"]
    require_same(target["suboptions"], options.target_spec()["options"])


def require_same(documented, specified):
    assert set(documented) == set(specified)
    for name, spec in specified.items():
        assert documented[name]["type"] == spec["type"] and documented[name].get("default") == spec.get("default"), name
        assert documented[name].get("choices") == spec.get("choices"), name


@pytest.mark.parametrize(("module", "given"), MODULES)
@pytest.mark.parametrize(("change", "reason"), [
    ({"bucket": None}, "config_missing"), ({"endpoint": "host"}, "bad_endpoint"), ({"secret_key": "abc"}, "secret_too_short"),
    ({"parallel": 0}, "bad_option"), ({"config": {"text": "kestra: {storage: {type: local}}"}}, "unsupported_storage")])
def test_refusals_come_before_anything_else(module, given, change, reason):
    result = run(module, **given, **dict(PLACE, **change))
    assert result["failed"] and result["reason"] == reason and "sesame-open-1" not in result["_raw"]


@pytest.mark.parametrize("options", [{"access_key": "key"}, {"secret_key": "sesame", "access_key": "k", "credentials_file": "/x"}])
def test_credentials_come_together_and_from_one_place(options):
    assert run(object_storage_inventory_info, bucket="x", **options)["failed"]


def test_a_time_that_is_none():
    assert run(object_storage_inventory_info, moment="yesterday", **PLACE)["reason"] == "bad_time"


def test_a_list_is_compared_or_written():
    assert "mutually exclusive" in run(object_storage_inventory_info, dest="/x", expect="/y", **PLACE)["msg"]


def test_a_restore_needs_a_copy_or_a_list():
    assert "copy, list" in run(object_storage_restore, **PLACE)["msg"]


def test_nobody_answers():
    result = run(object_storage_inventory_info, **PLACE)
    assert result["failed"] and result["reason"] == "unreachable" and "sesame-open-1" not in result["_raw"]


@pytest.mark.parametrize("module", [object_storage_replication, object_storage_replication_info])
def test_the_target_is_told_apart_and_its_secret_kept(module):
    for change, reason in (({"endpoint": "host"}, "bad_endpoint"), ({"secret_key": "abc"}, "secret_too_short"), ({"bucket": "kestra"}, "same_bucket")):
        result = run(module, target=dict(TARGET, **change), **PLACE)
        assert result["failed"] and result["reason"] == reason
    result = run(module, target=TARGET, **PLACE)
    assert result["reason"] == "unreachable" and "sesame-open" not in result["_raw"]
