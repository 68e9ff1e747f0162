"""Whose fault it is: what a store says of us must not reach a client as if it were said of the client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from holdfast.core.asleep import AsleepError
from holdfast.core.errors import (
    AlreadyExistsError,
    ConfigError,
    ConflictError,
    HoldfastError,
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


@contextmanager
def at_stores() -> Iterator[None]:
    """Run the block, with a store's refusal of us as `UnavailableError`: its credentials or settings are an operator's work."""
    try:
        yield
    except HoldfastError as error:
        if error.store and isinstance(error, _OF_US) and not isinstance(error, AsleepError):
            raise UnavailableError(
                f"store {error.store}: {error.message}",
                operation=error.operation,
                store=error.store,
                retry_after=error.retry_after,
            ) from error
        raise
