"""Connections to PostgreSQL: as many as allowed, the last used first, and none that is known to be dead."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from holdfast.catalog.postgres_errors import FOREIGN, translated
from holdfast.core.errors import ConfigError

Connection = Any  # asyncpg.Connection[asyncpg.Record]; its stubs and its runtime disagree about being generic

_CONNECT_SECONDS = 5.0
_COMMAND_SECONDS = 60.0
_SETTINGS = {
    "application_name": "holdfast",
    "jit": "off",  # short statements: compiling one costs more than running it
    "idle_in_transaction_session_timeout": "30s",  # a writer that vanished lets go of its locks
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}

#: A commit that is answered must be on disk. A stronger setting of the server stays.
_DURABLE = """
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')
"""


async def connect(url: str) -> Connection:
    """Return a connection whose commits are durable.

    Raises:
        ConfigError, UnavailableError: as the server or the network says.
    """
    try:
        connection = await asyncpg.connect(
            url,
            timeout=_CONNECT_SECONDS,
            command_timeout=_COMMAND_SECONDS,
            statement_cache_size=512,
            max_cacheable_statement_size=64 << 10,
            server_settings=_SETTINGS,
        )
    except FOREIGN as error:
        raise translated(error) from error
    except ValueError as error:
        raise ConfigError("the catalog URL is not a PostgreSQL URL") from error
    try:
        await connection.execute(_DURABLE)
    except BaseException:
        connection.terminate()
        raise
    return connection


class Pool:
    """At most `size` connections, made when needed."""

    def __init__(self, url: str, size: int) -> None:
        self._url = url
        self._permits = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._closed = False

    async def acquire(self) -> Connection:
        """Return a connection that is yours until `release` or `discard`."""
        await self._permits.acquire()
        try:
            while self._idle:
                connection = self._idle.pop()
                if not connection.is_closed():
                    return connection
            return await connect(self._url)
        except BaseException:
            self._permits.release()
            raise

    def release(self, connection: Connection) -> None:
        """Give back a connection that has no transaction open."""
        if self._closed:
            connection.terminate()
        elif not connection.is_closed():
            self._idle.append(connection)
        self._permits.release()

    def discard(self, connection: Connection, *, others: bool = False) -> None:
        """Throw a connection away, and with `others` the idle ones too: the server they knew is gone."""
        connection.terminate()
        self._permits.release()
        if others:
            while self._idle:
                self._idle.pop().terminate()

    async def close(self) -> None:
        """Close the idle connections; those in use close when they come back."""
        self._closed = True
        while self._idle:
            connection = self._idle.pop()
            try:
                await asyncio.wait_for(connection.close(), 2)
            except (*FOREIGN, asyncio.CancelledError):
                connection.terminate()
