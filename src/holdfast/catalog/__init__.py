"""The catalog: rows that say which objects there are and where their bytes lie. The only room that speaks SQL.

Comes in: the calls of `holdfast.catalog.contract.Catalog`. Goes out: the values of `holdfast.core.types` and the errors
of `holdfast.core.errors`. Promises: each write is one transaction that is durable when it returns; a listing costs a
page whatever the bucket holds; SQLite and PostgreSQL answer alike, since each transaction is written once.

`open_catalog` is the door, `upgrade` brings a database to the schema of this code.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from holdfast.catalog.catalog import SqlCatalog
from holdfast.catalog.measuring import Measured, Measures
from holdfast.catalog.sqlite import SqliteRunner
from holdfast.catalog.upgrading import check_sqlite, upgrade_sqlite
from holdfast.core.clock import Environment
from holdfast.core.errors import ConfigError

__all__ = ["Measures", "SqlCatalog", "open_catalog", "upgrade"]

_SQLITE = "sqlite:///"
_POSTGRES = ("postgresql://", "postgres://")


async def open_catalog(
    url: str,
    *,
    environment: Environment | None = None,
    upgrade: bool = False,
    connections: int = 16,
    measures: Measures | None = None,
    ballast: int = 0,
) -> SqlCatalog:
    """Return the catalog at `url`, ready: `sqlite:///relative/path`, `sqlite:////absolute/path` or `postgresql://…`.

    `upgrade` first brings its schema up to date (and makes the file); `connections` bounds those to PostgreSQL;
    `measures` is told of every transaction; `ballast` bytes of a file beside an SQLite catalog are kept for making room
    on a full disk.

    Raises:
        ConfigError: the URL is wrong, the schema is behind or newer, or the server refuses us.
        UnavailableError: the database does not answer.
    """
    world = environment or Environment()
    if url.startswith(_SQLITE):
        path = sqlite_path(url)
        if upgrade:
            await asyncio.to_thread(upgrade_sqlite, path)
        await asyncio.to_thread(check_sqlite, path)
        runner = await asyncio.to_thread(SqliteRunner, path, world.clock, ballast=ballast)
        return SqlCatalog(runner if measures is None else Measured(runner, measures, world.clock))
    if url.startswith(_POSTGRES):
        from holdfast.catalog.dispatching import PartQueue
        from holdfast.catalog.postgres import open_postgres

        server = await open_postgres(url, world, upgrade=upgrade, connections=connections)
        timed = server if measures is None else Measured(server, measures, world.clock)
        return SqlCatalog(timed, part_queue=PartQueue(url))
    raise _unknown(url)


async def upgrade(url: str) -> None:
    """Bring the database at `url` to the schema of this code; does nothing when it is there already.

    Safe to call from several processes at once. Raises as `open_catalog` does.
    """
    if url.startswith(_SQLITE):
        await asyncio.to_thread(upgrade_sqlite, sqlite_path(url))
    elif url.startswith(_POSTGRES):
        from holdfast.catalog.postgres import upgrade_at

        await upgrade_at(url)
    else:
        raise _unknown(url)


def sqlite_path(url: str) -> str:
    """Return the path in an SQLite URL; `ConfigError` when it names none."""
    path = url.removeprefix(_SQLITE)
    if not path or path == ":memory:":
        raise ConfigError("the catalog URL names no file; write sqlite:///path/to/catalog.db")
    return str(Path(path).expanduser())


def _unknown(url: str) -> ConfigError:
    scheme = url.partition(":")[0][:20]
    return ConfigError(
        f"the catalog URL begins with {scheme!r}; use sqlite:///path or postgresql://user@host/database"
    )
