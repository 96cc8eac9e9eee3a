# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules of every engine do with passwords, and with facts a password may occur in."""
from __future__ import annotations

import json

from ..core.errors import ConfigError
from ..core.secrets import Redactor


def read_password(path) -> str:
    """The password in a file; one newline at its end is ignored. Raises ConfigError."""
    try:
        with open(path, encoding="utf-8") as handle:
            text = handle.read()
    except UnicodeDecodeError:
        raise ConfigError(f"The password file {path} is not UTF-8 text.", reason="password_file") from None
    except OSError as exc:
        raise ConfigError(f"The password file {path} cannot be read: {exc.strerror}.", reason="password_file",
                          hint="It is read on the host the module runs on.") from None
    password = text[:-1] if text.endswith("\n") else text
    if not password:
        raise ConfigError(f"The password file {path} is empty.", reason="password_file")
    return password


class Facts(dict):
    """Facts that hold no secret by the way they are made: names, numbers, digests, times."""


class FactRedactor(Redactor):
    """Masks secrets everywhere but in Facts: a password like "kestra" or "beef" would else damage names and digests."""

    def scrub(self, value):
        """See Redactor."""
        return dict(value) if isinstance(value, Facts) else super().scrub(value)


def trust(module, facts) -> Facts:
    """Marks facts as free of secrets, for our redactor and for AnsibleModule's own masking.

    AnsibleModule replaces every occurrence of a secret in a result, so one that is part of a fact cannot be masked.
    """
    shown = json.dumps(facts, ensure_ascii=False)
    ambiguous = {value for value in module.no_log_values if value in shown}
    if ambiguous:
        module.no_log_values.difference_update(ambiguous)
        module.warn("A password is so short or so common that it also occurs in names or digests of this result, and "
                    "cannot be masked there. Choose a stronger one.")
    return Facts(facts)
