"""What Google Cloud Storage says, in our kinds: the codes of its XML answers are those of S3, some mean more here."""

from __future__ import annotations

from typing import Final

from holdfast.backends.object_store.errors import Where, from_answer
from holdfast.core.errors import (
    ConfigError,
    ConflictError,
    CorruptedError,
    HoldfastError,
    InvalidRequestError,
    PermissionDeniedError,
    RateLimitedError,
    UnauthenticatedError,
    UnavailableError,
)

_REFUSED = "the store does not take the token; the account was disabled, its key deleted, or the credential is for something else"
_DENIED = "the store does not allow this to this account; give it the role Storage Object User on the bucket"

_BY_CODE: Final[dict[str, tuple[type[HoldfastError], str]]] = {
    **dict.fromkeys(
        ("AuthenticationRequired", "ExpiredToken", "InvalidSecurity", "InvalidAuthentication"),
        (UnauthenticatedError, _REFUSED),
    ),
    **dict.fromkeys(("AccessDenied", "ForbiddenError"), (PermissionDeniedError, _DENIED)),
    **dict.fromkeys(
        ("UserProjectMissing", "UserProjectInvalid", "UserProjectAccessDenied"),
        (ConfigError, "requesters pay for this bucket; set `user_project` to a project that may be charged"),
    ),
    **dict.fromkeys(
        ("AccountDisabled", "AccountProblem", "BillingNotEnabled", "ProjectInvalid"),
        (PermissionDeniedError, "the project has no valid billing account or is disabled"),
    ),
    **dict.fromkeys(
        ("RetentionPolicyNotMet", "ObjectUnderActiveHold", "ObjectRetentionNotMet"),
        (ConflictError, "the store keeps this object: a hold or a retention policy forbids it"),
    ),
    **dict.fromkeys(
        ("RateLimitExceeded", "SlowDown", "UserRateLimitExceeded"),
        (RateLimitedError, "the store asks to come back later"),
    ),
    **dict.fromkeys(
        ("BadDigest", "InvalidDigest", "HashMismatch"),
        (CorruptedError, "the store received other bytes than were sent"),
    ),
    "InvalidBucketName": (ConfigError, "no bucket can have that name; correct `bucket`"),
    "KmsKeyNotFound": (ConfigError, "the store does not find the key; correct `kms_key`"),
    "BackendError": (UnavailableError, "the store could not do it now"),
}
_BY_STATUS: Final[dict[int, tuple[type[HoldfastError], str]]] = {
    308: (UnavailableError, "the store has not got all of it"),
    400: (InvalidRequestError, "the store refused the request"),
    401: (UnauthenticatedError, _REFUSED),
    403: (PermissionDeniedError, _DENIED),
    410: (UnavailableError, "the session of this upload is gone"),
}


def judge(status: int, code: str, where: Where, *, retry_after: float | None = None) -> HoldfastError:
    """Return the error for an answer with that status and error code ("" when it had none)."""
    known = _BY_CODE.get(code) or (_BY_STATUS.get(status) if not code else None)
    if known is None or (where.if_absent and status == 412):
        found = from_answer(status, code, where, retry_after=retry_after)
        return _token(where) if isinstance(found, UnauthenticatedError) else found
    kind, text = known
    return kind(
        f"{text} ({status}{' ' + code if code else ''})",
        operation=where.operation,
        store=where.store,
        name=where.name,
        retry_after=retry_after,
    )


def _token(where: Where) -> UnauthenticatedError:
    return UnauthenticatedError(_REFUSED, operation=where.operation, store=where.store, name=where.name)
