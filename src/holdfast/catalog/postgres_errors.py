"""PostgreSQL's errors as ours. One place, so that no other file has to know them."""

from __future__ import annotations

import asyncpg
from asyncpg import exceptions as pg

from holdfast.catalog.common import ClashError
from holdfast.core.errors import (
    ConfigError,
    CorruptedError,
    HoldfastError,
    InternalError,
    InvalidRequestError,
    QuotaExceededError,
    UnavailableError,
)

#: What the driver raises, and what the network does.
FOREIGN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)

#: The connection is gone, the server is going or coming: another connection may do.
LOST = (
    pg.PostgresConnectionError,
    pg.CannotConnectNowError,
    pg.AdminShutdownError,
    pg.CrashShutdownError,
    pg.IdleInTransactionSessionTimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # an idle connection that has just been told of a shutdown
    OSError,
    TimeoutError,
)

#: The same transaction may well succeed now.
AGAIN = (pg.SerializationError, pg.DeadlockDetectedError)

_MESSAGES: tuple[tuple[tuple[type[BaseException], ...], type[HoldfastError], str], ...] = (
    ((ValueError, pg.DataError), InvalidRequestError, "a value does not fit into the catalog"),
    ((pg.UniqueViolationError,), ClashError, "the catalog already holds such a row"),
    (LOST, UnavailableError, "the catalog's PostgreSQL cannot be reached"),
    (AGAIN, UnavailableError, "the catalog is too busy; try again"),
    ((pg.TooManyConnectionsError,), UnavailableError, "the catalog's PostgreSQL takes no more connections"),
    ((pg.DiskFullError,), QuotaExceededError, "the disk that holds the catalog is full; free some space"),
    ((pg.InsufficientResourcesError,), UnavailableError, "the catalog's PostgreSQL is out of resources"),
    (
        (pg.ReadOnlySQLTransactionError,),
        UnavailableError,
        "the catalog's PostgreSQL is read-only (a standby?)",
    ),
    (
        (pg.InvalidAuthorizationSpecificationError,),
        ConfigError,
        "the catalog's PostgreSQL refuses the user or the password; check the catalog URL",
    ),
    ((pg.InvalidCatalogNameError,), ConfigError, "the catalog's database does not exist; create it"),
    ((pg.InsufficientPrivilegeError,), ConfigError, "the catalog's user lacks a privilege on its tables"),
    ((pg.DataCorruptedError, pg.IndexCorruptedError), CorruptedError, "the catalog's database is damaged"),
    ((pg.QueryCanceledError,), UnavailableError, "the catalog took too long"),
)


def is_lost(error: BaseException) -> bool:
    """Whether another connection may do. The driver's refusal of a value is an `InterfaceError` as well, but is not."""
    return isinstance(error, LOST) and not isinstance(error, ValueError)


def translated(error: BaseException) -> HoldfastError:
    """Return our error for theirs, with it as the cause. Never shows a URL: it may hold a password."""
    for kinds, ours, message in _MESSAGES:
        if isinstance(error, kinds):
            made = ours(message, store="catalog")
            break
    else:
        made = InternalError(f"the catalog failed: {type(error).__name__}", store="catalog")
    made.__cause__ = error
    return made
