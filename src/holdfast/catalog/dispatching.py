"""The queue that wakes workers on PostgreSQL: `pgqueuer`, in tables of its own beside ours.

An entry names a part of a job. It is announced by NOTIFY, given to one process, and given again when that one dies. Rows
of jobs decide what is done: an entry that is lost, or there twice, costs nothing but time. So its tables need not survive
a crash of the server (they are unlogged), and without them everything still works, some seconds later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

import asyncpg

from holdfast.catalog.postgres_errors import FOREIGN, translated
from holdfast.catalog.postgres_pool import Connection, connect
from holdfast.core.errors import UnavailableError

if TYPE_CHECKING:
    from pgqueuer.domain.models import Job as Entry
    from pgqueuer.queries import Queries

_LOG: Final = logging.getLogger("holdfast")
_LOCK: Final = 0x686F6C64717565  # "holdque"
_PREFIX: Final = "holdfast_"
_TABLE: Final = f"{_PREFIX}pgqueuer"
_ENTRY: Final = "part"
_SETTLE: Final = 5.0  #: seconds that entries under way have when the queue is closed
_TIDY: Final = 3600.0  #: seconds between two removals of the queue's own log

#: What to do with an entry: a job, and the number of a part or -1.
Handler = Callable[[str, int], Awaitable[None]]


@cache
def _settings() -> Any:
    """Return the names of the queue's tables: ours, whatever `PGQUEUER_*` variables of this process say."""
    from pgqueuer.domain.settings import DBSettings, Durability

    names: dict[str, Any] = {
        name: f"{_PREFIX}{usual}"
        for name, usual in (
            ("channel", "ch_pgqueuer"),
            ("function", "fn_pgqueuer_changed"),
            ("statistics_table", "pgqueuer_statistics"),
            ("queue_status_type", "pgqueuer_status"),
            ("queue_table", "pgqueuer"),
            ("queue_table_log", "pgqueuer_log"),
            ("trigger", "tg_pgqueuer_changed"),
            ("schedules_table", "pgqueuer_schedules"),
        )
    }
    return DBSettings(prefix=_PREFIX, db_schema=None, durability=Durability.volatile, widen_id=True, **names)


def _queries(connection: Connection) -> Queries:
    from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
    from pgqueuer.adapters.persistence.qb import (
        QueryBuilderEnvironment,
        QueryQueueBuilder,
        QuerySchedulerBuilder,
    )
    from pgqueuer.queries import Queries

    said = _settings()
    return Queries(
        AsyncpgDriver(connection),
        qbe=QueryBuilderEnvironment(said),
        qbq=QueryQueueBuilder(said),
        qbs=QuerySchedulerBuilder(said),
    )


# -- its tables -------------------------------------------------------------------------------------------------------
def _mark() -> str:
    return f"pgqueuer {version('pgqueuer')}"


async def _is_ready(connection: Connection) -> bool:
    """Whether the tables are there, as this version of the queue makes them."""
    found = await connection.fetchval(f"SELECT obj_description(to_regclass('{_TABLE}'), 'pg_class')")
    return bool(found == _mark())


async def prepare(connection: Connection) -> None:
    """Make or upgrade the tables of the queue; whoever comes second waits. A server that cannot have them goes without."""
    if await _is_ready(connection):
        return
    await connection.execute(f"SELECT pg_advisory_lock({_LOCK})")
    try:
        if not await _is_ready(connection):
            await _make(connection)
    except asyncpg.PostgresError as error:
        _LOG.warning("jobs are found by looking only: the queue cannot be set up: %s", error)
    finally:
        await connection.execute(f"SELECT pg_advisory_unlock({_LOCK})")


async def _make(connection: Connection) -> None:
    queries = _queries(connection)
    if await queries.schema_is_installed():
        await queries.apply_upgrade()
    else:
        await queries.install()
    await connection.execute(f"COMMENT ON TABLE {_TABLE} IS '{_mark()}'")


# -- at work ----------------------------------------------------------------------------------------------------------
class PartQueue:
    """The queue as one process uses it, on a connection of its own while it `run`s."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._open: Queries | None = None

    async def announce(self, entries: Sequence[tuple[str, int]]) -> None:
        """Put entries into the queue, all at once; nowhere, while it does not run: they are found without it."""
        queries = self._open
        if queries is None or not entries:
            return
        try:
            await queries.enqueue(
                [_ENTRY] * len(entries),
                [f"{job_id} {number}".encode() for job_id, number in entries],
                [0] * len(entries),
            )
        except FOREIGN as error:
            raise translated(error) from error

    async def run(self, handler: Handler, *, at_once: int, redeliver: float) -> None:
        """Give entries to `handler`, until cancelled; those of a process that died after `redeliver` seconds.

        Raises:
            UnavailableError: the connection is lost, or there is no such queue; perhaps later.
        """
        connection = await connect(self._url)
        try:
            if not await _is_ready(connection):
                raise UnavailableError("the queue of jobs is not set up", store="catalog")
            await self._serve(connection, handler, at_once, redeliver)
        except FOREIGN as error:
            raise translated(error) from error
        finally:
            self._open = None
            connection.terminate()

    async def _serve(self, connection: Connection, handler: Handler, at_once: int, redeliver: float) -> None:
        from pgqueuer.errors import FailingListenerError
        from pgqueuer.qm import QueueManager

        queries = self._open = _queries(connection)
        manager = QueueManager(queries, channel=_settings().channel)

        async def work(entry: Entry) -> None:
            job_id, _, number = (entry.payload or b"").decode().partition(" ")
            if number:
                await handler(job_id, int(number))

        manager.entrypoint(_ENTRY)(work)
        running = asyncio.ensure_future(
            manager.run(
                batch_size=1,
                max_concurrent_tasks=max(2, at_once),
                shutdown_on_listener_failure=True,
                heartbeat_timeout=timedelta(seconds=redeliver),
                log_aggregation_interval=timedelta(0),
            )
        )
        tidying = asyncio.ensure_future(_tidy(queries))
        try:
            await asyncio.shield(running)
        except FailingListenerError as error:
            raise UnavailableError("the server's notifications do not come", store="catalog") from error
        finally:
            tidying.cancel()
            manager.shutdown.set()
            with contextlib.suppress(Exception, asyncio.CancelledError):
                await asyncio.wait_for(running, _SETTLE)
            await asyncio.gather(tidying, return_exceptions=True)


async def _tidy(queries: Queries) -> None:
    """Remove what the queue writes down of entries that are over: jobs have their own rows."""
    while True:
        await queries.clear_queue_log(_ENTRY)
        await asyncio.sleep(_TIDY)
