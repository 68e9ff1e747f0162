"""The one place where what Yandex.Disk says becomes one of our kinds of error.

Of what the service wrote only the status and its error code are repeated, so no token and no path reaches a log.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from holdfast.core.errors import (
    ConfigError,
    ConflictError,
    HoldfastError,
    InternalError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
)

NO_PARENT: Final = "DiskPathDoesntExistsError"  #: spelled as the service spells it
A_FOLDER: Final = "DiskPathPointsToExistentDirectoryError"
A_FILE: Final = "DiskResourceAlreadyExistsError"
ALLOWANCE: Final = "DiskUploadTrafficLimitExceeded"
_CODE: Final = re.compile(r"[A-Za-z0-9_]{1,80}")


@dataclass(frozen=True, slots=True)
class Where:
    """What was being done: goes into every error."""

    operation: str
    store: str
    name: str = ""

    def error(
        self, kind: type[HoldfastError], text: str, *, retry_after: float | None = None
    ) -> HoldfastError:
        """Return an error of that kind that tells where."""
        return kind(text, operation=self.operation, store=self.store, name=self.name, retry_after=retry_after)


class StaleLinkError(UnavailableError):
    """A link for bytes that holds no more: a new one is needed."""


_FULL: Final = (QuotaExceededError, "the Disk is full; make room, or place objects elsewhere")
_BIG: Final = (TooLargeError, "the file is larger than this account may upload")

_BY_CODE: Final[dict[str, tuple[type[HoldfastError], str]]] = {
    ALLOWANCE: (
        QuotaExceededError,
        "the account has used up what it may upload in this period; set the store read-only until the next one",
    ),
    "DiskUploadTrafficLimitExceededError": (
        QuotaExceededError,
        "the account has used up what it may upload in this period; set the store read-only until the next one",
    ),
    "DiskNotEnoughFreeSpaceError": _FULL,
    "DiskFileSizeLimitExceededError": _BIG,
    "DiskResourceLockedError": (UnavailableError, "another operation holds the file or folder"),
    "DiskUnsupportedUserAccountTypeError": (ConfigError, "the account has no Disk; use another account"),
    "DiskNotFoundError": (NotFoundError, "the store has no such blob"),
    "DiskOperationNotFoundError": (UnavailableError, "the service does not know an operation that it began"),
    "DiskResourceDownloadLimitExceededError": (RateLimitedError, "the file was fetched too often"),
    NO_PARENT: (UnavailableError, "the folder is not there any more"),
    A_FOLDER: (ConflictError, "a folder of somebody else has that name in the Disk; move it away"),
    A_FILE: (ConflictError, "a file of somebody else has the name of a folder in the Disk; move it away"),
}

_BY_STATUS: Final[dict[int, tuple[type[HoldfastError], str]]] = {
    400: (InternalError, "the service did not understand the request"),
    401: (UnauthenticatedError, "the service does not accept the token; get a new one and set `token`"),
    403: (
        PermissionDeniedError,
        "the token does not allow this; the application needs cloud_api:disk.read, .write and .info"
        " (or app_folder with a root of app:/)",
    ),
    404: (NotFoundError, "the store has no such blob"),
    406: (InternalError, "the service did not understand the request"),
    408: (UnavailableError, "the service waited too long for us"),
    409: (ConflictError, "the service refuses because of what is at that place"),
    410: (StaleLinkError, "the link has ended"),
    412: (UnavailableError, "the service wants the upload from its beginning"),
    413: _BIG,
    415: (InternalError, "the service did not understand the request"),
    423: (UnavailableError, "another operation holds the file or folder"),
    429: (RateLimitedError, "the service asks to come back later"),
    507: _FULL,
}


def from_answer(status: int, code: str, where: Where, *, retry_after: float | None = None) -> HoldfastError:
    """Return the error for an answer with that status and error code ("" when it had none)."""
    kind, text = _BY_CODE.get(code) or _BY_STATUS.get(status) or _by_class(status)
    return where.error(kind, f"{text} ({status}{' ' + code if code else ''})", retry_after=retry_after)


def code_of(value: object) -> str:
    """Return an error code that may be shown, "" for anything else."""
    return value if isinstance(value, str) and _CODE.fullmatch(value) else ""


def _by_class(status: int) -> tuple[type[HoldfastError], str]:
    if status >= 500:
        return UnavailableError, "the service could not do it now"
    if status >= 400:
        return InvalidRequestError, "the service refused the request"
    return UnavailableError, "the service answered in a way that is not known"
