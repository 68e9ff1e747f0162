"""SQLite's errors as ours. One place, so that no other file has to know them."""

from __future__ import annotations

import apsw

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


class BrokenConnectionError(UnavailableError):
    """The disk failed under the catalog: what was being committed may or may not be there after a restart."""


_MESSAGES: tuple[tuple[type[apsw.Error], type[HoldfastError], str], ...] = (
    (apsw.ConstraintError, ClashError, "the catalog already holds such a row"),
    (apsw.BusyError, UnavailableError, "another process keeps the catalog locked; try again"),
    (apsw.LockedError, UnavailableError, "another process keeps the catalog locked; try again"),
    (apsw.FullError, QuotaExceededError, "the disk that holds the catalog is full; free some space"),
    (apsw.ReadOnlyError, ConfigError, "the catalog file or its directory is read-only; it must be writable"),
    (apsw.PermissionsError, ConfigError, "the catalog file may not be opened; check its owner and mode"),
    (
        apsw.CantOpenError,
        ConfigError,
        "the catalog file cannot be opened; check that its directory exists and is writable",
    ),
    (apsw.NotADBError, ConfigError, "the file is not a catalog (not an SQLite database)"),
    (apsw.CorruptError, CorruptedError, "the catalog file is damaged; restore it from a backup"),
    (apsw.IOError, BrokenConnectionError, "the disk that holds the catalog reports an error"),
    (apsw.NoMemError, UnavailableError, "the catalog ran out of memory"),
    (apsw.TooBigError, InvalidRequestError, "a value is too large for the catalog"),
)


def translated(error: apsw.Error, path: str) -> HoldfastError:
    """Return our error for SQLite's, with it as the cause."""
    for kind, ours, message in _MESSAGES:
        if isinstance(error, kind):
            made = ours(message, store="catalog", name=path)
            break
    else:
        made = InternalError(f"the catalog failed: {type(error).__name__}", store="catalog", name=path)
    made.__cause__ = error
    return made
