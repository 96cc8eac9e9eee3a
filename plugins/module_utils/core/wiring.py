# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place where a DrError becomes fail_json and a dict becomes exit_json."""
from __future__ import annotations

import traceback

from .errors import DrError, from_os_error
from .secrets import Redactor


def run(module, body, redactor=None):
    """Runs body(module) -> dict and ends the module.

    module: an AnsibleModule. body returns the result of exit_json (without "failed").
    redactor: secrets learned on the way (body may add to it while it runs); every text that leaves is scrubbed.
    """
    redactor = redactor if redactor is not None else Redactor()
    try:
        result = body(module)
    except DrError as exc:
        module.fail_json(**redactor.scrub(exc.to_result()))
    except OSError as exc:
        module.fail_json(**redactor.scrub(from_os_error(exc, "running " + module._name).to_result()))
    except Exception as exc:  # a mistake of ours: say so, with the place
        module.fail_json(
            msg=redactor.scrub(f"Unexpected {type(exc).__name__}: {exc}. This is a bug in kestra_community.dr."),
            reason="internal", hint="Please report it with the traceback.", detail={},
            exception=redactor.scrub(traceback.format_exc()))
    else:
        module.exit_json(**redactor.scrub(result))
