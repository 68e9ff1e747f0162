"""The one place where what Azure (or the way to it) says becomes one of our kinds of error.

Of the answer nothing is repeated but its status and its error code: no secret and no key that a server echoes can
reach a log. The foreign error stays available as the cause.
"""

from __future__ import annotations

import re
from typing import Final

from holdfast.backends.object_store.errors import Where
from holdfast.core.asleep import AsleepError
from holdfast.core.errors import (
    AlreadyExistsError,
    ConfigError,
    ConflictError,
    CorruptedError,
    HoldfastError,
    InternalError,
    InvalidRangeError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
    QuotaExceededError,
    RateLimitedError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>\s*([A-Za-z0-9]{1,80})\s*</Code>")

_NOT_FOUND: Final = (NotFoundError, "the store has no such blob")
_NO_CONTAINER: Final = (
    ConfigError,
    "the container does not exist in this account; create it or correct `container`",
)
_BAD_KEY: Final = (
    UnauthenticatedError,
    "the store does not accept this credential; correct account_key, sas_token or the identity, or set the clock",
)
_DENIED: Final = (
    PermissionDeniedError,
    "the store does not allow this to this credential; correct account, account_key or whatever else says who we are,"
    " or give it access to the container",
)
_BUSY: Final = (RateLimitedError, "the store asks to come back later")
_NOT_NOW: Final = (UnavailableError, "the store could not do it now")
_LEASED: Final = (ConflictError, "somebody holds a lease on the blob; release or break it")
_ARCHIVED: Final = (AsleepError, "the blob is archived and must be rehydrated before it can be read")
_KEPT: Final = (PermissionDeniedError, "a policy or a legal hold of the container forbids it")
_OTHER_KIND: Final = (ConflictError, "a blob of another type or a folder has the name")
_TRUST: Final = (
    ConfigError,
    "the store's TLS certificate is not trusted; set `ca_file` or correct `endpoint`",
)
TAKEN: Final = "a blob of that name is already there"


class LostBlocksError(UnavailableError):
    """Another writer of the name took the blocks of an upload away: only to write again can help, not to ask again."""


Meaning = tuple[type[HoldfastError], str]
#: What the service says when it cannot have the source of a copy; the status is the one that it got itself.
_SOURCE: Final = "CannotVerifyCopySource"


def _all(meaning: Meaning, *codes: str) -> dict[str, Meaning]:
    return dict.fromkeys(codes, meaning)


#: What the service calls things, by the kind that a caller can act on.
_BY_CODE: Final[dict[str, Meaning]] = {
    **_all(_NOT_FOUND, "BlobNotFound", "ResourceNotFound"),
    **_all(_NO_CONTAINER, "ContainerNotFound", "ContainerDisabled"),
    "ContainerBeingDeleted": (UnavailableError, "the container is being deleted"),
    **_all(_BAD_KEY, "AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"),
    "InvalidIssuer": (ConfigError, "the identity belongs to another directory; correct tenant_id"),
    **_all(
        _DENIED,
        *(
            "AuthorizationFailure",
            "AuthorizationFailed",
            "AuthorizationPermissionMismatch",
            "AccountIsDisabled",
        ),
        *("InsufficientAccountPermissions", "AuthorizationResourceTypeMismatch", "UnauthorizedBlobOverwrite"),
        *("AuthorizationProtocolMismatch", "AuthorizationServiceMismatch", "AuthorizationSourceIPMismatch"),
        *("PublicAccessNotPermitted", "KeyBasedAuthenticationNotPermitted"),
    ),
    **_all(_KEPT, "BlobImmutableDueToPolicy", "BlobImmutableDueToLegalHold", "ContainerImmutableStorage"),
    **_all(
        (TooLargeError, "the store does not take a body of this size"),
        *("RequestBodyTooLarge", "BlockCountExceedsLimit", "BlockListTooLong"),
    ),
    **_all(
        (QuotaExceededError, "the account is full or a limit of it is used up"),
        *("AccountLimitExceeded", "InsufficientStorage", "UncommittedBlockCountExceedsLimit"),
    ),
    **_all(_BUSY, "ServerBusy", "TooManyRequests", "AccountBeingCreated"),
    **_all(_NOT_NOW, "InternalError", "OperationTimedOut", "ServiceUnavailable", "AccountBeingMigrated"),
    **_all(
        (CorruptedError, "the store received other bytes than were sent"),
        *("Md5Mismatch", "Crc64Mismatch", "InvalidMd5", "BlobCrc64Mismatch"),
    ),
    "InvalidRange": (InvalidRangeError, "the range lies outside the blob"),
    **_all(_LEASED, "LeaseIdMissing", "LeaseAlreadyPresent", "LeaseIdMismatchWithBlobOperation", "LeaseLost"),
    **_all(_ARCHIVED, "BlobArchived", "BlobBeingRehydrated"),
    **_all(_OTHER_KIND, "InvalidBlobType", "PathConflict", "ResourceTypeMismatch", "DirectoryIsNotEmpty"),
    **_all((ConflictError, "a copy onto this name is under way"), "PendingCopyOperation"),
    **_all(
        (UnsupportedError, "the store does not offer this"),
        *("FeatureNotSupported", "UnsupportedHeader", "UnsupportedHttpVerb", "APINotImplemented"),
        *("BlobTierInadequateForContentLength", "InvalidBlobTier", "FeatureVersionMismatch"),
        "CopyAcrossAccountsNotSupported",
    ),
    "InvalidHeaderValue": (
        InvalidRequestError,
        "the store refused a header; perhaps it does not know this `api_version` or `access_tier`",
    ),
    "InvalidBlockList": (LostBlocksError, "another writer of this name took the blocks away; write again"),
    "InvalidResourceName": (InvalidRequestError, "the store cannot have a blob of that name"),
    "MetadataTooLarge": (InvalidRequestError, "the metadata is larger than the store takes"),
    "ConditionNotMet": (PreconditionFailedError, "a condition did not hold"),
    "BlobAlreadyExists": (AlreadyExistsError, TAKEN),
}

_BY_STATUS: Final[dict[int, Meaning]] = {
    301: (ConfigError, "the account lives under another address; correct `endpoint`"),
    307: (ConfigError, "the account lives under another address; correct `endpoint`"),
    401: _BAD_KEY,
    403: _DENIED,
    404: _NOT_FOUND,
    405: _BY_CODE["FeatureNotSupported"],
    408: _NOT_NOW,
    409: (ConflictError, "the store refuses because of the state that the name is in"),
    411: (InternalError, "the store missed the length of a body"),
    412: _BY_CODE["ConditionNotMet"],
    413: _BY_CODE["RequestBodyTooLarge"],
    416: _BY_CODE["InvalidRange"],
    429: _BUSY,
    501: _BY_CODE["FeatureNotSupported"],
    503: _BUSY,
}
_CONDITION: Final = frozenset(
    {"BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet", "UnauthorizedBlobOverwrite"}
)
#: What the emulator answers when a part of nothing is asked for.
_NOTHING: Final = '"bytes 0--1/0"'
#: What the emulator calls a body whose MD5 is another one.
_EMULATED_MISMATCH: Final = "InvalidOperation"


def from_answer(status: int, code: str, where: Where, *, retry_after: float | None = None) -> HoldfastError:
    """Return the error for an answer with that status and Azure error code ("" when it had none)."""
    if where.if_absent and (code in _CONDITION or (status == 412 and not code)):
        return _make((AlreadyExistsError, TAKEN), where)
    if code == _EMULATED_MISMATCH and where.operation == "put":
        code = "Md5Mismatch"
    meaning = _of_source(status) if code == _SOURCE else _BY_CODE.get(code)
    meaning = meaning or _BY_STATUS.get(status) or _by_class(status)
    shown = f"{status}{' ' + code if code else ''}"
    return _make((meaning[0], f"{meaning[1]} ({shown})"), where, retry_after)


def from_obstore(error: BaseException, where: Where) -> HoldfastError:
    """Return the error for an exception of the object-store library."""
    if isinstance(error, HoldfastError):
        return error
    text, kind = str(error), type(error).__name__
    found, code = _STATUS.search(text), _CODE.search(text)
    if found:
        return from_answer(int(found[1]), code[1] if code else "", where)
    lowered = text.lower().replace("retry_timeout", "")  # the library shows its settings too
    if "certificate" in lowered and ("invalid" in lowered or "verify" in lowered or "unknown" in lowered):
        return _make(_TRUST, where)
    if "wanted range starting at" in lowered or _NOTHING in lowered:
        return _make(_BY_CODE["InvalidRange"], where)
    if kind in ("FileNotFoundError", "NotFoundError"):
        return _make(_NOT_FOUND, where)
    if kind in (
        "InvalidPathError",
        "UnknownConfigurationKeyError",
        "TypeError",
        "ValueError",
        "AttributeError",
    ):
        return _make((InternalError, f"the client library raised {kind}"), where)
    if "timed out" in lowered or "timeout" in lowered:
        return _make((UnavailableError, "the store did not answer in time"), where)
    return _make((UnavailableError, "the store cannot be reached or broke the connection"), where)


def untrusted(error: HoldfastError, where: Where) -> HoldfastError:
    """Return `error`, or the one that names the certificate when that is what broke the connection."""
    if type(error.__cause__).__name__ in ("ClientConnectorCertificateError", "ClientConnectorSSLError"):
        return _make(_TRUST, where)
    return error


def _of_source(status: int) -> Meaning:
    if status == 404:
        return _NOT_FOUND
    if status >= 500 or status in (408, 429):
        return _NOT_NOW
    return PermissionDeniedError, "the store may not read the source of the copy"


def _by_class(status: int) -> Meaning:
    return _NOT_NOW if status >= 500 else (InvalidRequestError, "the store refused the request")


def _make(meaning: Meaning, where: Where, retry_after: float | None = None) -> HoldfastError:
    kind, text = meaning
    return kind(text, operation=where.operation, store=where.store, name=where.name, retry_after=retry_after)
