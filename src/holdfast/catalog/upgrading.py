"""Brings a database to the schema of this code, by numbered steps; and tells how far a database is.

The steps are rendered to SQL text and run on the same drivers as everything else (the SQLite of Python's standard
library may be one that can damage a write-ahead log that others use). Whoever comes second waits for the first.
Alembic is imported only where there is something to upgrade: looking how far a database is should cost nothing.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import apsw
import asyncpg

from holdfast.catalog.dispatching import prepare
from holdfast.catalog.postgres_errors import translated as postgres_translated
from holdfast.catalog.sqlite import connect
from holdfast.catalog.sqlite_errors import translated as sqlite_translated
from holdfast.core.errors import ConfigError

if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x686F6C6466617374  # "holdfast"
_alembic = Lock()  #: its `op` and `context` are global
_HINT = "stop its services and run `holdfast catalog upgrade`"


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


@cache
def known() -> tuple[str, ...]:
    """Return the numbers of all steps that this code knows, oldest first: the names of their files begin with them."""
    files = (_MIGRATIONS / "versions").glob("[0-9]*.py")
    return tuple(sorted(file.name.partition("_")[0] for file in files))


def newest() -> str:
    """Return the number of the last step that this code knows."""
    return known()[-1]


@cache
def script(dialect: str, start: str | None) -> str:
    """Return the SQL text of the steps after `start` (None: from nothing)."""
    from alembic import command

    config, output = _config(), io.StringIO()
    config.attributes.update(dialect=dialect, output=output)
    with _alembic:
        command.upgrade(config, f"{start or 'base'}:head", sql=True)
    return output.getvalue()


def check(found: str | None) -> None:
    """Return when a database at step `found` fits this code.

    Raises:
        ConfigError: it is behind, or made by a newer Holdfast; the message says what to do.
    """
    if found == newest():
        return
    if found is None:
        raise ConfigError("the catalog is empty: run `holdfast catalog upgrade` to set it up")
    if found not in known():
        raise ConfigError(
            f"the catalog is at step {found}, which is newer than this Holdfast; upgrade Holdfast"
        )
    raise ConfigError(f"the catalog is at step {found} and this Holdfast needs {newest()}: {_HINT}")


# -- SQLite -----------------------------------------------------------------------------------------------------


def sqlite_step(connection: apsw.Connection) -> str | None:
    """Return how far the database is; None for an empty one."""
    there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchall()
    rows = connection.execute("SELECT version_num FROM alembic_version").fetchall() if there else []
    return str(rows[0][0]) if rows else None


def check_sqlite(path: str) -> None:
    """Return when the file at `path` fits this code; see `check`."""
    connection = connect(path, write=False)
    try:
        check(sqlite_step(connection))
    except apsw.Error as error:
        raise sqlite_translated(error, path) from error
    finally:
        connection.close()


def upgrade_sqlite(path: str) -> None:
    """Bring the file at `path` up to date, all steps or none."""
    connection = connect(path, write=True)
    try:
        connection.execute("BEGIN IMMEDIATE")
        found = sqlite_step(connection)
        if found is not None and found not in known():
            check(found)
        if found != newest():
            connection.execute(script("sqlite", found)).fetchall()
        connection.execute("COMMIT")
    except apsw.Error as error:
        raise sqlite_translated(error, path) from error
    finally:
        connection.close(True)


# -- PostgreSQL -------------------------------------------------------------------------------------------------


async def postgres_step(connection: asyncpg.Connection) -> str | None:
    """Return how far the database is; None for an empty one."""
    if not await connection.fetchval("SELECT to_regclass('alembic_version')"):
        return None
    found = await connection.fetchval("SELECT version_num FROM alembic_version")
    return str(found) if found is not None else None


async def upgrade_postgres(connection: asyncpg.Connection) -> None:
    """Bring the database up to date, all steps or none."""
    try:
        async with connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
            found = await postgres_step(connection)
            if found is not None and found not in known():
                check(found)
            if found != newest():
                await connection.execute(script("postgresql", found))
        await prepare(connection)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise postgres_translated(error) from error
