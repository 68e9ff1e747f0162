"""Whose fault it is: what a store says of us must not reach a client as if it were said of the client."""

from __future__ import annotations

from types import TracebackType
from typing import Final

from holdfast.core.asleep import AsleepError
from holdfast.core.errors import (
    AlreadyExistsError,
    ConfigError,
    ConflictError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
    RateLimitedError,
    UnauthenticatedError,
    UnavailableError,
    UnsupportedError,
)

#: Kinds that speak of the caller; when a store is the speaker, the caller is Holdfast. `InvalidRequestError` is not among
#: them, because the source of a body raises it too.
_OF_US: Final = (
    UnauthenticatedError,
    PermissionDeniedError,
    NotFoundError,
    AlreadyExistsError,
    PreconditionFailedError,
    ConflictError,
    UnsupportedError,
    ConfigError,
    RateLimitedError,
)


class UnreadableError(UnavailableError):
    """The bytes that were to be copied cannot be read. It names no store: the one they were to go to is not to blame.

    Every copy was tried again already.
    """

    retryable = False


class at_stores:
    """A block in which a store's refusal of us is an `UnavailableError`: its credentials or settings are an operator's work.

    A class, since it is on the way of every call to a store.
    """

    __slots__ = ()

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, _OF_US) and error.store and not isinstance(error, AsleepError):
            raise UnavailableError(
                f"store {error.store}: {error.message}",
                operation=error.operation,
                store=error.store,
                retry_after=error.retry_after,
            ) from error
