"""HTTP preconditions (RFC 9110 §13) as a pure function, so that the catalog can ask it inside a transaction."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from holdfast.core.errors import PreconditionFailedError

_SECOND = 1_000_000


class Validators(Protocol):
    """What conditions are compared with: a `Version` fits."""

    @property
    def etag(self) -> str: ...
    @property
    def created(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Preconditions:
    """`if_match` and `if_none_match` hold ETags without quotes, or `("*",)`. Times are microseconds since the epoch.

    `if_made_by` is ours and in no header: what a write takes the place of, if anything, was made then or before.
    """

    if_match: tuple[str, ...] = ()
    if_none_match: tuple[str, ...] = ()
    if_modified_since: int | None = None
    if_unmodified_since: int | None = None
    if_made_by: int | None = field(default=None, repr=False)  # requests are remembered by how this is written

    def __bool__(self) -> bool:
        return bool(
            self.if_match
            or self.if_none_match
            or self.if_modified_since is not None
            or self.if_unmodified_since is not None
            or self.if_made_by is not None
        )

    def check_write(self, current: Validators | None) -> None:
        """Return when a write may replace `current` (None: nothing there).

        Raises:
            PreconditionFailedError: naming the condition that does not hold.
        """
        self._check_match(current)
        if self.if_none_match and current is not None and _matches(self.if_none_match, current):
            what = "the object exists already" if "*" in self.if_none_match else "the object has that ETag"
            raise PreconditionFailedError(f"If-None-Match: {what}")
        if self.if_made_by is not None and current is not None and current.created > self.if_made_by:
            raise PreconditionFailedError("the object was written anew meanwhile")

    def check_read(self, current: Validators) -> bool:
        """Return True when the content should be sent, False for "not modified".

        Raises:
            PreconditionFailedError: naming the condition that does not hold.
        """
        self._check_match(current)
        if self.if_none_match:
            return not _matches(self.if_none_match, current)
        if self.if_modified_since is not None:
            return current.created // _SECOND > self.if_modified_since // _SECOND
        return True

    def _check_match(self, current: Validators | None) -> None:
        if self.if_match:
            if current is None or not _matches(self.if_match, current):
                raise PreconditionFailedError("If-Match: the object has another ETag or is not there")
            return
        since = self.if_unmodified_since
        if since is not None and (current is None or current.created // _SECOND > since // _SECOND):
            raise PreconditionFailedError("If-Unmodified-Since: the object was changed later or is not there")


def _matches(etags: tuple[str, ...], current: Validators) -> bool:
    return "*" in etags or current.etag in etags


NO_CONDITIONS: Final = Preconditions()
