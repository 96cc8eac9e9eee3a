# Copyright (c) 2026, Kestra community DR contributors
# GNU General Public License v3.0 or later (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a failed request to an object store means. Pure: works on what the SDKs' exceptions carry, without the SDKs.

Answers go by the codes of S3; the modules of the other providers say which of them theirs stand for.
"""
from __future__ import annotations

import re

from ...core.errors import ConfigError, ConnectError, DrError, IntegrityError, RefusedError

GONE = "object_gone"
CHANGED = "object_changed"
# Answers of servers that do not tell, or do not know, what was asked for.
NOT_TOLD = ("AccessDenied", "NotImplemented", "MethodNotAllowed")
# Answers that another attempt may change, and failures to reach the server.
_BUSY = ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling", "ThrottlingException",
         "TooManyRequests", "RequestLimitExceeded", "OperationAborted", "XMinioServerNotInitialized")
_UNREACHABLE = ("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError",
                "ConnectionError", "HTTPClientError", "ResponseStreamingError", "IncompleteReadError", "ProxyConnectionError",
                "ProtocolError", "ConnectionResetError", "BrokenPipeError", "Timeout", "ChunkedEncodingError", "TransportError",
                "ServiceRequestError", "ServiceResponseError")
_NO_CREDENTIALS = ("NoCredentialsError", "DefaultCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError")

# code -> (class, reason, sentence, hint)
_CODES = {
    "NoSuchBucket": (ConfigError, "bucket_missing", "There is no bucket {bucket} at {endpoint}.",
                     "Check the names, or create the bucket."),
    "NoSuchKey": (DrError, GONE, "An object of the bucket {bucket} is gone.", None),
    "NoSuchVersion": (DrError, GONE, "A version of an object of the bucket {bucket} is gone.", None),
    "PreconditionFailed": (DrError, CHANGED, "An object of the bucket {bucket} has changed.", None),
    "AccessDenied": (ConnectError, "access_denied", "{endpoint} does not allow {doing} in the bucket {bucket}.",
                     "Give these credentials the right to it: {operation}."),
    "InvalidAccessKeyId": (ConnectError, "credentials_refused", "{endpoint} does not know the access key.",
                           "Check the access key and that it belongs to this endpoint."),
    "SignatureDoesNotMatch": (ConnectError, "credentials_refused", "{endpoint} refuses the secret key.",
                              "Check the secret key; a proxy that changes requests has the same effect."),
    "Unauthorized": (ConnectError, "credentials_refused", "{endpoint} refuses the credentials.",
                     "Check that they are whole, still valid, and belong to this endpoint."),
    "ExpiredToken": (ConnectError, "credentials_expired", "The credentials for {endpoint} have expired.",
                     "Give new ones and run again: what was copied is not copied again."),
    "RequestTimeTooSkewed": (ConnectError, "clock_skew", "The clock of this host differs too much from that of {endpoint}.",
                             "Set the clock of this host (chronyc tracking, timedatectl) and run again."),
    "PermanentRedirect": (ConfigError, "wrong_region", "The bucket {bucket} is in another region, or at another endpoint.",
                          "Give its region."),
    "AuthorizationHeaderMalformed": (ConfigError, "wrong_region", "{endpoint} wants another region for the bucket {bucket}.",
                                     "Give its region."),
    "InvalidObjectState": (RefusedError, "object_archived",
                           "An object of the bucket {bucket} is in an archive class and cannot be read at once.",
                           "Bring it back into a readable class; a lifecycle rule must not move Kestra's objects there."),
    "ObjectLocked": (RefusedError, "object_locked", "An object of the bucket {bucket} is held, or must stay for a time, and cannot be "
                     "overwritten or deleted.", "Restore into another bucket, or wait until the bucket's retention lets go."),
    "BadDigest": (IntegrityError, "torn", "What reached {endpoint} is not what was sent.",
                  "Check the copy and the network, then run again."),
    "EntityTooLarge": (RefusedError, "object_too_large", "An object is larger than {endpoint} takes.", None),
    "XMinioStorageFull": (RefusedError, "storage_full", "{endpoint} has no room left.", "Make room there and run again."),
    "QuotaExceeded": (RefusedError, "storage_full", "The quota of the bucket {bucket} is used up.",
                      "Raise it and run again."),
    "SnapshotsPresent": (RefusedError, "object_locked", "An object of the bucket {bucket} has snapshots, which would go with it.",
                         "Delete them, or keep the object, and run again."),
}
_SAME = {"403": "AccessDenied", "Forbidden": "AccessDenied", "AllAccessDisabled": "AccessDenied", "401": "AccessDenied",
         "ExpiredTokenException": "ExpiredToken", "InvalidToken": "ExpiredToken", "TokenRefreshRequired": "ExpiredToken",
         "RequestExpired": "RequestTimeTooSkewed", "301": "PermanentRedirect", "307": "PermanentRedirect",
         "IllegalLocationConstraintException": "PermanentRedirect", "412": "PreconditionFailed", "NotFound": "404",
         "InvalidDigest": "BadDigest", "XAmzContentSHA256Mismatch": "BadDigest", "InvalidSecurity": "AccessDenied",
         "XMinioAdminBucketQuotaExceeded": "QuotaExceeded", "InsufficientStorage": "XMinioStorageFull",
         "507": "XMinioStorageFull"}


def of(exc, answer, *, operation: str, bucket: str, endpoint: str) -> tuple[DrError, bool]:
    """(the error that an exception of an SDK stands for, whether another attempt may help).

    answer: (code, status) when the server answered, else None. operation: the right that it takes, for example "s3:GetObject".
    """
    place = {"operation": operation, "bucket": bucket, "endpoint": endpoint, "doing": _words(operation)}
    if answer is not None:
        return _answered(*answer, place)
    names = [kind.__name__ for kind in type(exc).__mro__]
    if "SSLError" in names:
        return _error(ConnectError, "tls_untrusted", "The certificate of {endpoint} is not trusted, or it speaks no TLS.",
                      "Give ca_path the file with the authority that signed it.", place), False
    if any(name in names for name in _NO_CREDENTIALS):
        return _error(ConfigError, "credentials_missing", "There are no credentials for {endpoint}.",
                      "Give them in Kestra's configuration, or with credentials_file.", place), False
    if any(name in names for name in _UNREACHABLE):
        return _error(ConnectError, "unreachable", "{endpoint} does not answer.",
                      "Check that it runs, its address, and the network between.", place), True
    return _error(ConnectError, "storage_error", f"{{endpoint}} could not be used for {{doing}} ({type(exc).__name__}).",
                  None, place), False


def _answered(code, status, place):
    code = _SAME.get(code, code)
    if code == "404":
        # A HEAD has no body that says what is missing.
        code = "NoSuchBucket" if "Bucket" in place["operation"] else "NoSuchKey"
    if code in _CODES:
        kind, reason, sentence, hint = _CODES[code]
        error = _error(kind, reason, sentence, hint, place)
        error.detail["code"] = code
        return error, False
    if code in _BUSY or status in (429, 500, 502, 503, 504):
        return _error(ConnectError, "storage_busy", "{endpoint} asks to slow down, or is not ready.",
                      "Run again later, or with fewer requests at once (parallel).", place, code=code, status=status), True
    return _error(ConnectError, "storage_error", f"{{endpoint}} refused {{doing}} in the bucket {{bucket}} ({code or status}).",
                  None, place, code=code, status=status), False


def _error(kind, reason, sentence, hint, place, **detail) -> DrError:
    return kind(sentence.format(**place), reason=reason, hint=hint and hint.format(**place),
                detail={"operation": place["operation"], "bucket": place["bucket"], "endpoint": place["endpoint"], **detail})


_DOING = {"list": "listing", "get": "reading", "head": "reading", "put": "writing", "upload": "writing",
          "create": "writing", "update": "writing", "complete": "writing", "delete": "deleting", "abort": "removing unfinished uploads"}


def _words(operation: str) -> str:
    verb = re.split("[:./]", operation)[-1].lower()
    return next((words for start, words in _DOING.items() if verb.startswith(start)), operation)
