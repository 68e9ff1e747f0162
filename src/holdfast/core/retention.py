"""What keeps a version from being removed: a legal hold, and a lock that ends at a time. Times are microseconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from holdfast.core.errors import ConflictError, InvalidRequestError

_DAY: Final = 86_400_000_000
MAX_LOCK: Final = 36_500 * _DAY  #: the longest lock, microseconds: a hundred years


class KeptError(ConflictError):
    """What keeps a version does not allow it."""


class LockMode(StrEnum):
    """How firm a lock is."""

    GOVERNANCE = "governance"  #: an admin may shorten or lift it, with a reason that the audit keeps
    COMPLIANCE = "compliance"  #: nobody may, until it ends


@dataclass(frozen=True, slots=True)
class DefaultLock:
    """The lock of every version that is made in a bucket: so many days from its commit."""

    mode: LockMode
    days: int


@dataclass(frozen=True, slots=True)
class Keeping:
    """What keeps a version: a hold until it is cleared, a lock until `until`; `mode` and `until` None: no lock."""

    hold: bool = False
    mode: LockMode | None = None
    until: int | None = None

    def locked(self, now: int) -> bool:
        """Whether the lock still holds."""
        return self.until is not None and self.until > now

    def keeps(self, now: int) -> bool:
        """Whether nobody may remove the version now."""
        return self.hold or self.locked(now)

    def why(self, now: int) -> str:
        """Say what keeps it; "" when nothing does."""
        if self.hold:
            return "it is under legal hold"
        return f"its {self.mode} lock ends at {moment(self.until or 0)}" if self.locked(now) else ""


FREE: Final = Keeping()


def relocked(held: Keeping, mode: LockMode | None, until: int | None, *, now: int, reason: str) -> Keeping:
    """Return what keeps a version once its lock is `mode` until `until` (both None: no lock).

    A lock may always be made longer or firmer. With a `reason`, one in governance mode may be made shorter, or lifted.

    Raises:
        InvalidRequestError: the lock would begin in the past, or last longer than a hundred years.
        ConflictError: it would be weaker than the lock that holds.
    """
    if (mode is None) != (until is None):
        raise InvalidRequestError("a lock has a mode and a time until which it holds; name both, or neither")
    if until is not None and not now < until <= now + MAX_LOCK:
        raise InvalidRequestError("a lock ends in the future, and at most 36500 days from now")
    weaker = until is None or until < (held.until or 0) or (held.mode, mode) == _WEAKER
    if held.locked(now) and weaker:
        if held.mode is LockMode.COMPLIANCE:
            raise ConflictError(f"{held.why(now)}; nobody may shorten, weaken or lift it")
        if not reason:
            raise ConflictError(f"{held.why(now)}; to shorten or lift it, give a reason (bypass_retention)")
    return Keeping(held.hold, mode, until)


def moment(at: int) -> str:
    """Return a time as people and programs read it, rounded up to the second."""
    return f"{datetime.fromtimestamp(-(-at // 1_000_000), UTC):%Y-%m-%dT%H:%M:%SZ}"


_WEAKER: Final = (LockMode.COMPLIANCE, LockMode.GOVERNANCE)
