"""The one place where what Google says becomes one of our kinds of error.

Nothing that the other side wrote is repeated but its status and its reason, which are words of the API.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from holdfast.backends._http import parse_json
from holdfast.core.errors import (
    ConfigError,
    ConflictError,
    HoldfastError,
    InternalError,
    InvalidRangeError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitedError,
    TooLargeError,
    UnauthenticatedError,
    UnavailableError,
)

_REASON: Final = re.compile(r"[A-Za-z0-9_]{1,80}")
_DAY: Final = 86_400
_PACIFIC: Final = 8 * 3600  #: a day of Google's quotas begins at midnight in California, 07:00 or 08:00 UTC

OWN_SPACE: Final = (
    "a service account has no storage of its own in Google Drive: use a folder of a shared drive of which it is a"
    " member (drive_id), or let it act for a user (subject), or use a user's refresh_token"
)


@dataclass(frozen=True, slots=True)
class Where:
    """What was being done: goes into every error. `homeless`: by a service account for itself."""

    operation: str
    store: str
    name: str = ""
    homeless: bool = False


class DailyLimitError(RateLimitedError):
    """All calls of the day are used up: nothing is asked until `retry_after` is over."""


class FolderGoneError(Exception):
    """The folder for new files is not there any more: somebody removed it."""


_RATE: Final = (RateLimitedError, "Google asks to come back later")
_FULL: Final = (QuotaExceededError, "the drive is full")
_NOT_ALLOWED: Final = (PermissionDeniedError, "Google does not allow this to these credentials")

#: What Google calls things, by the kind that a caller can act on.
_BY_REASON: Final[Mapping[str, tuple[type[HoldfastError], str]]] = {
    **dict.fromkeys(
        ("userRateLimitExceeded", "rateLimitExceeded", "sharingRateLimitExceeded", "RATE_LIMIT_EXCEEDED"),
        _RATE,
    ),
    "dailyLimitExceeded": (DailyLimitError, "the day's calls of this Google project are used up"),
    **dict.fromkeys(("storageQuotaExceeded", "quotaExceeded"), _FULL),
    **dict.fromkeys(
        (
            *("teamDriveFileLimitExceeded", "numChildrenInNonRootLimitExceeded"),
            *("activeItemCreationLimitExceeded", "teamDriveHierarchyTooDeep"),
        ),
        (QuotaExceededError, "the drive or folder holds as many files as it may"),
    ),
    "uploadTooLarge": (TooLargeError, "Google Drive does not take a file of this size"),
    "downloadQuotaExceeded": (
        PermissionDeniedError,
        "Google lets nobody download this file for some hours: it was downloaded too often",
    ),
    "cannotDownloadAbusiveFile": (
        PermissionDeniedError,
        "Google took the file for harmful; its owner may read it with acknowledge_abuse = true",
    ),
    **dict.fromkeys(
        ("accessNotConfigured", "SERVICE_DISABLED"),
        (
            ConfigError,
            "the Drive API is not enabled in the Google project of these credentials; enable it there",
        ),
    ),
    **dict.fromkeys(
        ("insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"),
        (PermissionDeniedError, "the consent does not cover this; give it anew, for the scope of the guide"),
    ),
    **dict.fromkeys(
        ("insufficientFilePermissions", "insufficientParentPermissions", "cannotDeleteFile"),
        (
            PermissionDeniedError,
            "these credentials may not change this file or folder; in a shared drive deleting for good needs the role"
            " Manager, else set trash = true",
        ),
    ),
    **dict.fromkeys(("appNotAuthorizedToFile", "domainPolicy", "forbidden"), _NOT_ALLOWED),
    **dict.fromkeys(
        ("authError", "required", "UNAUTHENTICATED"),
        (UnauthenticatedError, "Google does not accept the access token"),
    ),
}

_BY_STATUS: Final[Mapping[int, tuple[type[HoldfastError], str]]] = {
    400: (InternalError, "Google does not understand the request"),
    401: (UnauthenticatedError, "Google does not accept the access token"),
    403: _NOT_ALLOWED,
    404: (NotFoundError, "Google Drive has no such file, or does not show it to these credentials"),
    408: (UnavailableError, "Google waited too long for us"),
    409: (ConflictError, "the file is there already"),
    410: (NotFoundError, "Google Drive has no such file any more"),
    413: (TooLargeError, "Google does not take a body of this size"),
    416: (InvalidRangeError, "the range lies outside the file"),
    429: _RATE,
}


def from_answer(
    status: int, reason: str, where: Where, *, retry_after: float | None = None, now: int = 0
) -> HoldfastError:
    """Return the error for an answer with that status and reason ("" when it had none); `now` in microseconds."""
    kind, text = _BY_STATUS.get(status) or _by_class(status)
    if status in (401, 403, 404, 429) or status >= 500:
        kind, text = _BY_REASON.get(reason, (kind, text))
    if kind is DailyLimitError:
        retry_after = float(_DAY - (now // 1_000_000 - _PACIFIC) % _DAY)
    if kind is QuotaExceededError and where.homeless and reason == "storageQuotaExceeded":
        text = OWN_SPACE
    return kind(
        f"{text} ({status}{' ' + reason if reason else ''})",
        operation=where.operation,
        store=where.store,
        name=where.name,
        retry_after=retry_after,
    )


def reason_of(body: bytes) -> str:
    """Return the reason that an error's body gives, "" when it gives none."""
    try:
        found: Any = parse_json(body)
        error = found["error"]
        listed = [*error.get("errors", ()), *error.get("details", ())]
        words = [str(one["reason"]) for one in listed if isinstance(one, dict) and one.get("reason")]
        reason = (words or [str(error.get("status") or "")])[0]
    except (KeyError, TypeError, AttributeError, ValueError):
        return ""
    return reason if _REASON.fullmatch(reason) else ""


def failure(kind: type[HoldfastError], text: str, where: Where) -> HoldfastError:
    """Return an error of that kind that says where it happened."""
    return kind(text, operation=where.operation, store=where.store, name=where.name)


def _by_class(status: int) -> tuple[type[HoldfastError], str]:
    if status >= 500:
        return UnavailableError, "Google could not do it now"
    if 300 <= status < 400:
        return UnavailableError, "Google sent us elsewhere, where we do not go"
    return InternalError, "Google refused the request"
