# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Azure Blob Storage answers, in the words of failures.py and of replication. Pure: without the SDK."""
from __future__ import annotations

import email.utils
from datetime import datetime, timezone

from ...core.clock import utc_text

# Azure refuses requests whose time differs by more than this many seconds from its own.
_SKEW = 15 * 60
# Azure's code -> the code that failures.py knows it by; others go as they are, or by their status.
_CODES = {
    "ContainerNotFound": "NoSuchBucket", "ContainerBeingDeleted": "NoSuchBucket", "ContainerDisabled": "AccessDenied",
    "BlobNotFound": "NoSuchKey", "ResourceNotFound": "NoSuchKey", "CannotVerifyCopySource": "NoSuchVersion",
    "ConditionNotMet": "PreconditionFailed", "TargetConditionNotMet": "PreconditionFailed",
    "SourceConditionNotMet": "PreconditionFailed", "BlobOverwritten": "PreconditionFailed",
    "AuthorizationFailure": "AccessDenied", "AuthorizationPermissionMismatch": "AccessDenied",
    "AuthorizationProtocolMismatch": "AccessDenied", "AuthorizationResourceTypeMismatch": "AccessDenied",
    "AuthorizationServiceMismatch": "AccessDenied", "AuthorizationSourceIPMismatch": "AccessDenied",
    "InsufficientAccountPermissions": "AccessDenied", "AccountIsDisabled": "AccessDenied",
    "KeyBasedAuthenticationNotPermitted": "AccessDenied", "PublicAccessNotPermitted": "AccessDenied",
    "InvalidAuthenticationInfo": "SignatureDoesNotMatch", "NoAuthenticationInformation": "SignatureDoesNotMatch",
    "BlobArchived": "InvalidObjectState", "BlobBeingRehydrated": "InvalidObjectState",
    "Md5Mismatch": "BadDigest", "InvalidMd5": "BadDigest", "RequestBodyTooLarge": "EntityTooLarge",
    "ServerBusy": "SlowDown", "OperationTimedOut": "RequestTimeout", "AccountBeingCreated": "ServiceUnavailable",
    "BlobImmutableDueToPolicy": "ObjectLocked", "LeaseIdMissing": "ObjectLocked", "LeaseAlreadyPresent": "ObjectLocked",
    "FeatureVersionMismatch": "MethodNotAllowed", "UnsupportedHttpVerb": "MethodNotAllowed", "ApiNotImplemented": "NotImplemented",
    "FeatureNotYetSupportedForHierarchicalNamespaceAccounts": "NotImplemented",
}


def answer(exc):
    """(code as in failures.of, status) of an exception of the SDK, None when there was no answer."""
    if type(exc).__name__ == "AzureSigningError":
        # The key is none at all: nothing was sent.
        return "SignatureDoesNotMatch", 0
    response = getattr(exc, "response", None)
    status = getattr(exc, "status_code", None)
    if response is None or not isinstance(status, int):
        return None
    code = getattr(exc, "error_code", None)
    code = str(getattr(code, "value", code) or "")
    # An emulator gives a code of its own to what the service says in the same words.
    if code == "AuthenticationFailed" or (code == "AuthorizationFailure" and "failed to authenticate" in str(getattr(exc, "message", ""))):
        return _not_authenticated(exc, response), status
    if not code and status == 404:
        return "NoSuchKey", status
    return _CODES.get(code, code or str(status)), status


def _not_authenticated(exc, response) -> str:
    """Of a request that was not authenticated: whether the clock is wrong, or a signature has run out, or the key is wrong."""
    told = str((getattr(exc, "additional_info", None) or {}).get("authenticationerrordetail") or getattr(exc, "message", ""))
    if "Request date header" in told or abs(_ahead(response.headers)) > _SKEW:
        return "RequestTimeTooSkewed"
    if "not valid in the specified time frame" in told:
        return "ExpiredToken"
    return "SignatureDoesNotMatch"


def _ahead(headers) -> float:
    """How many seconds this host's clock is ahead of the server's."""
    theirs = _date({name.lower(): value for name, value in dict(headers or {}).items()}.get("date"))
    return (datetime.now(timezone.utc) - theirs).total_seconds() if theirs else 0.0


def time_of(headers) -> str:
    """The server's time, as UTC text, from the headers of an answer (names in small letters)."""
    return utc_text(_date(headers.get("date")) or datetime.now(timezone.utc))


def _date(text):
    try:
        return email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None


def replication(found):
    """COMPLETED, FAILED, REPLICA or None, from the properties of a blob."""
    if getattr(found, "object_replication_destination_policy", None):
        return "REPLICA"
    policies = getattr(found, "object_replication_source_properties", None) or ()
    said = {str(rule.status).lower() for policy in policies for rule in policy.rules}
    if "failed" in said:
        return "FAILED"
    return "COMPLETED" if said else None
