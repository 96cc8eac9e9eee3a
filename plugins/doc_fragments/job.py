# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The option of steps that outlive their caller. Must be kept in sync with argument_spec() in core/jobs.py."""
from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  job_dir:
    description:
      - A directory of this step alone, on the host the module runs on. The step writes its state, phases and progress
        there.
      - A second run with the same options takes the result of a finished step, waits for one that is still running, and
        starts again after one that failed or died.
      - Without it the step leaves no trace and always runs.
    type: path
"""
