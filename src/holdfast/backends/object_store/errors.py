"""The one place where what an S3 server (or the way to it) says becomes one of our kinds of error.

Nothing that the other side wrote is repeated but its status and its error code, so no secret and no user's key that
a server echoes can reach a log. The foreign error stays available as the cause.
"""

from __future__ import annotations

import re
from typing import NamedTuple, Protocol

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

_STATUS = re.compile(r"(?:status code: |status: )(\d{3})")
_CODE = re.compile(r"<Code>\s*([A-Za-z0-9._]{1,80})\s*</Code>")


class ImpossibleNameError(NotFoundError):
    """Not only is there no such blob: this server could not keep one of that name."""


class KeysEndedError(UnauthenticatedError):
    """The server says that these keys have ended, or does not know their token (any more): newer ones may help."""


class Where(NamedTuple):
    """What was being done: goes into every error. `if_absent` tells what a failed condition means."""

    operation: str
    store: str
    name: str = ""
    if_absent: bool = False


_BAD_KEYS = "the store does not accept these credentials; correct access_key, secret_key or session_token"
_ENDED = "the store says that these credentials have ended; where they come from must give newer ones"
_DIALECT = "servers that refuse what they do not know need their `dialect`, or checksum = 'when_required'"
_NO_BUCKET = "the bucket does not exist at this endpoint; create it or correct `bucket`"
_REGION = "the bucket lives in another region or under another address; correct `region` or `endpoint`"
_DAMAGED = "the store received other bytes than were sent"

#: What S3 and its family call things, by the kind that a caller can act on.
_BY_CODE: dict[str, tuple[type[HoldfastError], str]] = {
    **dict.fromkeys(("NoSuchKey", "NoSuchVersion"), (NotFoundError, "the store has no such blob")),
    **dict.fromkeys(
        ("XMinioInvalidObjectName", "XMinioInvalidResourceName"),
        (ImpossibleNameError, "the store cannot have a blob of that name"),
    ),
    "NoSuchUpload": (NotFoundError, "the store has no such upload"),
    **dict.fromkeys(("NoSuchBucket", "InvalidBucketName"), (ConfigError, _NO_BUCKET)),
    **dict.fromkeys(
        (
            "PermanentRedirect",
            "TemporaryRedirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
        ),
        (ConfigError, _REGION),
    ),
    **dict.fromkeys(
        (
            *("InvalidAccessKeyId",),
            *(
                "Unauthorized",
                "NotSignedUp",
                "InvalidSecurity",
                "CredentialsNotSupported",
                "InvalidClientTokenId",
                "InvalidTokenId",
            ),
        ),
        (UnauthenticatedError, _BAD_KEYS),
    ),
    "SignatureDoesNotMatch": (UnauthenticatedError, f"{_BAD_KEYS}; {_DIALECT}"),
    "ExcessHeaderValues": (ConfigError, f"the store does not know a header that was sent; {_DIALECT}"),
    "InvalidArgument": (InvalidRequestError, f"the store refused a header or a value; {_DIALECT}"),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"),
        (KeysEndedError, _ENDED),
    ),
    "RequestTimeTooSkewed": (
        UnauthenticatedError,
        "this machine's clock differs too much from the store's; set the clock",
    ),
    **dict.fromkeys(
        ("AccessDenied", "AllAccessDisabled", "AccountProblem", "MethodNotAllowed"),
        (PermissionDeniedError, "the store does not allow this to these credentials"),
    ),
    **dict.fromkeys(
        ("EntityTooLarge", "MaxMessageLengthExceeded"),
        (TooLargeError, "the store does not take a body of this size"),
    ),
    **dict.fromkeys(
        (
            *("QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull", "InsufficientStorage"),
            *("TooManyBuckets", "AccountQuotaExceeded", "StorageQuotaExceeded"),
        ),
        (QuotaExceededError, "the store is full or its quota is used up"),
    ),
    **dict.fromkeys(
        (
            *(
                "SlowDown",
                "SlowDownRead",
                "SlowDownWrite",
                "TooManyRequests",
                "RequestLimitExceeded",
                "Throttling",
            ),
            *("ThrottlingException", "RequestThrottled", "ServerBusy"),
        ),
        (RateLimitedError, "the store asks to come back later"),
    ),
    **dict.fromkeys(
        (
            *("BadDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch", "InvalidDigest"),
            *("ChecksumMismatch", "IncompleteBody", "ContentSHA256Mismatch"),
        ),
        (CorruptedError, _DAMAGED),
    ),
    **dict.fromkeys(
        ("OperationAborted", "RequestTimeout", "InternalError", "ServiceUnavailable", "Busy"),
        (UnavailableError, "the store could not do it now"),
    ),
    "InvalidRange": (InvalidRangeError, "the range lies outside the blob"),
    "NotImplemented": (UnsupportedError, "the store does not offer this"),
    **dict.fromkeys(
        ("InvalidObjectState", "ObjectNotInActiveTierError"),
        (AsleepError, "the blob is archived and must be restored before it can be read"),
    ),
    "RestoreAlreadyInProgress": (AsleepError, "the blob is being restored, and cannot be read yet"),
    "GlacierExpeditedRetrievalNotAvailable": (
        UnavailableError,
        "the store restores nothing in a hurry now; set restore_tier = 'Standard' or try again later",
    ),
    **dict.fromkeys(
        ("EntityTooSmall", "InvalidPart", "InvalidPartOrder"),
        (InternalError, "the store refused the parts of an upload"),
    ),
}

_BY_STATUS: dict[int, tuple[type[HoldfastError], str]] = {
    301: (ConfigError, _REGION),
    307: (ConfigError, _REGION),
    401: (UnauthenticatedError, _BAD_KEYS),
    403: _BY_CODE["AccessDenied"],
    404: _BY_CODE["NoSuchKey"],
    405: (UnsupportedError, "the store does not offer this"),
    408: (UnavailableError, "the store waited too long for us"),
    409: (ConflictError, "the store refuses because of another operation on the same name"),
    412: (PreconditionFailedError, "a condition did not hold"),
    413: _BY_CODE["EntityTooLarge"],
    416: _BY_CODE["InvalidRange"],
    429: _BY_CODE["SlowDown"],
    501: _BY_CODE["NotImplemented"],
    507: _BY_CODE["QuotaExceeded"],
}
#: What the library says of an answer to a range that is none.
_RANGES = ("non-partial response", "content-range header", "content_range header", "requested 0..")
_CONDITION = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})


def from_answer(status: int, code: str, where: Where, *, retry_after: float | None = None) -> HoldfastError:
    """Return the error for an answer with that status and S3 error code ("" when it had none)."""
    if where.if_absent and (status == 412 or code in _CONDITION):
        return _make(AlreadyExistsError, "a blob of that name is already there", where)
    kind, text = _BY_CODE.get(code) or _BY_STATUS.get(status) or _by_class(status)
    return _make(kind, f"{text} ({status}{' ' + code if code else ''})", where, retry_after)


class Judge(Protocol):
    """What an answer with that status and error code means, for one kind of server; `from_answer` is that of S3."""

    def __call__(self, status: int, code: str, where: Where) -> HoldfastError: ...


def unsaid(error: HoldfastError, where: Where, renewable: bool) -> HoldfastError:
    """Return the error for a refused HEAD, whose answer cannot carry a reason: S3 refuses keys that have ended with 400."""
    if renewable and type(error) is InvalidRequestError:
        return _make(KeysEndedError, _ENDED, where)
    return error


def from_obstore(error: BaseException, where: Where, judge: Judge = from_answer) -> HoldfastError:
    """Return the error for an exception of the object-store library; `judge` reads the answers of other dialects."""
    if isinstance(error, HoldfastError):
        return error
    text = str(error)
    found, code = _STATUS.search(text), _CODE.search(text)
    if found:
        return judge(int(found[1]), code[1] if code else "", where)
    return _without_answer(type(error).__name__, text, where)


def unreachable(error: BaseException, where: Where) -> HoldfastError:
    """Return the error for a connection that could not be made, broke or fell silent."""
    return _without_answer(type(error).__name__, f"{type(error).__name__} {error}", where)


def _without_answer(kind: str, text: str, where: Where) -> HoldfastError:
    lowered = text.lower().replace("retry_timeout", "")  # the library shows its settings too
    if "certificate" in lowered and ("invalid" in lowered or "verify" in lowered or "unknown" in lowered):
        return _make(
            ConfigError,
            "the store's TLS certificate is not trusted; set `ca_file` or correct `endpoint`",
            where,
        )
    if where.if_absent and kind == "AlreadyExistsError":
        return _make(AlreadyExistsError, "a blob of that name is already there", where)
    if kind in ("FileNotFoundError", "NotFoundError"):
        return _make(NotFoundError, "the store has no such blob", where)
    if kind in ("InvalidPathError", "UnknownConfigurationKeyError"):
        return _make(InternalError, "the client library refused the name or a setting", where)
    if kind in ("TypeError", "ValueError", "AttributeError"):
        return _make(InternalError, f"the client library raised {kind}", where)
    if any(words in lowered for words in _RANGES):
        return _make(UnsupportedError, "the store does not answer ranges as it should", where)
    if "timed out" in lowered or "timeout" in lowered:
        return _make(UnavailableError, "the store did not answer in time", where)
    return _make(UnavailableError, "the store cannot be reached or broke the connection", where)


def _by_class(status: int) -> tuple[type[HoldfastError], str]:
    if status >= 500:
        return UnavailableError, "the store could not do it now"
    return InvalidRequestError, "the store refused the request"


def _make(
    kind: type[HoldfastError], text: str, where: Where, retry_after: float | None = None
) -> HoldfastError:
    return kind(text, operation=where.operation, store=where.store, name=where.name, retry_after=retry_after)
