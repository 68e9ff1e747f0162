"""What became of a key between two moments; and how a moment is written. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import Version

_DAY: Final = len("2027-01-31")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Change(StrEnum):
    """What a key is at the later moment, compared with the earlier one."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True)
class Changed:
    """A key that is not the same at two moments. `gap`: what it was at the first one may have been removed for good."""

    key: str
    change: Change
    then: Version | None
    later: Version | None
    gap: bool = False


def change(then: Version | None, later: Version | None) -> Change | None:
    """Return what became of a key; None when a reader sees no difference, whichever version it is."""
    if then is None:
        return None if later is None else Change.ADDED
    if later is None:
        return Change.REMOVED
    return None if then.id == later.id or _alike(then, later) else Change.CHANGED


def _alike(one: Version, other: Version) -> bool:
    """Whether two versions have the same content, and the same is said of them."""
    if one.digests.sha256 is None or one.digests.sha256 != other.digests.sha256:
        return False
    return (one.size, one.etag, one.content_type, one.storage_class) == (
        other.size,
        other.etag,
        other.content_type,
        other.storage_class,
    ) and (dict(one.metadata), dict(one.tags)) == (dict(other.metadata), dict(other.tags))


def time_of(text: str) -> int:
    """Return the microseconds of a time such as 2027-01-31T12:00:00.25Z; a day alone is its midnight, UTC.

    Raises:
        InvalidRequestError: it is none, or names no zone.
    """
    try:
        found = datetime.fromisoformat(text if len(text) > _DAY else f"{text}T00:00:00+00:00")
        if found.tzinfo is not None:
            past = found - _EPOCH
            return (past.days * 86_400 + past.seconds) * 1_000_000 + past.microseconds
    except (OverflowError, ValueError):
        pass
    raise InvalidRequestError(
        f"a time is written as 2027-01-31, or 2027-01-31T12:00:00Z with its zone; not {text!r:.80}"
    )


def text_of(at: int) -> str:
    """Return a time that `time_of` takes, to the microsecond where it has any."""
    found = datetime.fromtimestamp(at // 1_000_000, UTC).replace(microsecond=at % 1_000_000)
    return found.isoformat().replace("+00:00", "Z")
