# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventory of a drill: one instance of one host, reached locally, everything below the lab directory."""
from __future__ import annotations

import yaml

HOST = "drill"


def build(*, python, lab, config_files, environment_files, scripts, extra=None) -> dict:
    """The inventory as a structure. scripts: paths of start, stop and status; extra: more variables of the host."""
    variables = {
        "ansible_connection": "local",
        "ansible_python_interpreter": str(python),
        "ansible_async_dir": str(lab.work / "async"),
        "ansible_remote_tmp": str(lab.work / "tmp"),
        "kestra_dr_python": str(python),
        "kestra_dr_state_dir": str(lab.state_dir),
        "kestra_dr_runtime_dir": str(lab.runtime_dir),
        "kestra_dr_vault": str(lab.vault),
        "kestra_dr_repository": str(lab.repository),
        "kestra_dr_repository_password_file": str(lab.password_file),
        "kestra_dr_prepare_method": "none",
        "kestra_dr_config_files": [str(path) for path in config_files],
        "kestra_dr_manager": "command",
        "kestra_dr_start_command": str(scripts["start"]),
        "kestra_dr_stop_command": str(scripts["stop"]),
        "kestra_dr_status_command": str(scripts["status"]),
    }
    if environment_files:
        variables["kestra_dr_config_environment_files"] = [str(path) for path in environment_files]
    variables.update(extra or {})
    return {"kestra": {"hosts": {HOST: variables}}}


def write(path, structure) -> None:
    """Writes it as YAML. It names files with secrets and holds none."""
    text = "---\n# Written by scripts/drill. Try: ansible-playbook -i THIS_FILE kestra_community.dr.list\n"
    path.write_text(text + yaml.safe_dump(structure, sort_keys=False, width=110), "utf-8")
    path.chmod(0o600)
