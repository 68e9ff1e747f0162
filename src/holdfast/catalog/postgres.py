"""Transactions on PostgreSQL: each awaited on a connection, driven again when the server or the network gives way.

A connection that dies before COMMIT was sent leaves nothing behind: the transaction is simply driven again. One that
dies during COMMIT leaves an unknown outcome: the transaction is driven again as one that may have happened
(`Attempt.again`), under the same locks, so after the lost one has ended either way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from re import sub
from typing import TypeVar, cast

import asyncpg

from holdfast.catalog.postgres_errors import AGAIN, FOREIGN, is_lost, translated
from holdfast.catalog.postgres_pool import Connection, Pool, connect
from holdfast.catalog.statements import Call, Many, Row, Statement
from holdfast.catalog.transaction import Attempt, Lock, Step, Steps, Still, Transaction
from holdfast.catalog.upgrading import check, postgres_step, upgrade_postgres
from holdfast.core.clock import Environment, SystemClock
from holdfast.core.errors import HoldfastError, InternalError, UnavailableError

T = TypeVar("T")

_PATIENCE = 8.0  #: seconds that a lost server may take to come back
_OPERATION_SECONDS = 60.0
#: One moment for all that follows; whoever reads may be slow, since what is read is sent somewhere in between.
_STILL = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL idle_in_transaction_session_timeout = '15min'"
_CLOCK_SECONDS = 10.0  #: how long a reading of the server's clock is trusted


async def open_postgres(url: str, world: Environment, *, upgrade: bool, connections: int) -> PostgresRunner:
    """Return the runner for the database at `url`, whose schema fits this code."""
    connection = await connect(url)
    try:
        if upgrade:
            await upgrade_postgres(connection)
        check(await postgres_step(connection))
    except FOREIGN as error:
        raise translated(error) from error
    finally:
        connection.terminate()
    return PostgresRunner(url, world, connections)


async def upgrade_at(url: str) -> None:
    """Bring the database at `url` up to date."""
    connection = await connect(url)
    try:
        await upgrade_postgres(connection)
    finally:
        connection.terminate()


def _shifted(text: str, by: int) -> str:
    """Return `text` with its parameters numbered from `by` + 1 on."""
    return sub(r"\$(\d+)", lambda match: f"${int(match[1]) + by}", text)


@lru_cache(maxsize=256)
def _together(statements: tuple[Statement, ...]) -> str:
    """Return the text that runs all statements in one round trip and answers with the rows of the first."""
    texts, count = [], 0
    for number, statement in enumerate(statements):
        text, names = statement.postgres
        texts.append(f"s{number} AS ({_shifted(text, count)})")
        count += len(names)
    rows = "SELECT * FROM s0" if " RETURNING " in statements[0].postgres[0] else "SELECT 1 WHERE false"
    return f"WITH {', '.join(texts)} {rows}"


async def perform(connection: Connection, step: Step) -> Sequence[Row]:
    """Run one step and return its rows."""
    if isinstance(step, Many):
        text, names = step.statement.postgres
        await connection.executemany(text, [[row[name] for name in names] for row in step.params])
        return ()
    calls = (step,) if isinstance(step, Call) else step.calls
    if len(calls) == 1:
        text = calls[0].statement.postgres[0]
    elif calls:
        text = _together(tuple(call.statement for call in calls))
    else:
        return ()
    values = [call.params[name] for call in calls for name in call.statement.postgres[1]]
    return cast("Sequence[Row]", await connection.fetch(text, *values))


async def drive(connection: Connection, steps: Steps[T]) -> T:
    """Run the steps one after the other; the caller owns begin and commit."""
    try:
        step = next(steps)
        while True:
            step = steps.send(await perform(connection, step))
    except StopIteration as stop:
        value: T = stop.value
        return value
    finally:
        steps.close()


def _begin(locks: Sequence[Lock]) -> str:
    """Return the text that opens a transaction and takes its locks: numbers of ours, so one plain round trip."""
    takes = [
        f"SELECT pg_advisory_xact_lock{'_shared' if lock.shared else ''}({lock.number:d})" for lock in locks
    ]
    return ";".join(["BEGIN", *takes])


class PostgresRunner:
    """Runs transactions over a pool of connections; belongs to the event loop that first uses it."""

    def __init__(self, url: str, world: Environment, connections: int) -> None:
        self._pool = Pool(url, connections)
        self._url = url
        self._world = world
        #: The server's clock counts, unless a test brought its own.
        self._own_clock = not isinstance(world.clock, SystemClock)
        self._offset = 0
        self._offset_until = float("-inf")

    # -- the clock ----------------------------------------------------------------------------------------------
    def stamp(self) -> int | None:
        """None: statements ask the server's clock."""
        return self._world.clock.now() if self._own_clock else None

    async def now(self) -> int:
        """The server's clock, read now and then and carried on by ours in between."""
        if self._own_clock:
            return self._world.clock.now()
        ticks = self._world.clock.monotonic()
        if ticks > self._offset_until:
            server = await self.read(_server_clock)
            ticks = self._world.clock.monotonic()
            self._offset = server - int(ticks * 1_000_000)
            self._offset_until = ticks + _CLOCK_SECONDS
        return self._offset + int(ticks * 1_000_000)

    # -- transactions -------------------------------------------------------------------------------------------
    async def read(self, transaction: Transaction[T]) -> T:
        """Run a transaction that only reads."""
        return await self._persist(lambda connection, attempt: drive(connection, transaction(attempt)))

    scan = read

    async def recall(self, question: Hashable, transaction: Transaction[T]) -> T:
        """As `read`: what other replicas commit cannot be noticed without asking."""
        return await self.read(transaction)

    async def write_alone(self, transaction: Transaction[T]) -> T:
        """Run a transaction of one statement: it commits itself."""

        async def once(connection: Connection, attempt: Attempt) -> T:
            attempt.seen["committing"] = True
            return await drive(connection, transaction(attempt))

        return await self._persist(once)

    async def write(self, transaction: Transaction[T], locks: Sequence[Lock] = ()) -> T:
        """Run a transaction under `locks`; it is durable when this returns."""
        begin = _begin(locks)

        async def once(connection: Connection, attempt: Attempt) -> T:
            await connection.execute(begin)
            try:
                value = await drive(connection, transaction(attempt))
            except (HoldfastError, asyncpg.PostgresError):
                await connection.execute("ROLLBACK")
                raise
            attempt.seen["committing"] = True
            if await connection.execute("COMMIT") != "COMMIT":
                raise InternalError("the catalog rolled back what it was asked to commit", store="catalog")
            return value

        return await self._persist(once)

    @asynccontextmanager
    async def still(self) -> AsyncIterator[Still]:
        """Give reads that all see the catalog as it is now, on a connection of their own."""

        async def read(transaction: Transaction[T]) -> T:
            try:
                return await drive(connection, transaction(Attempt()))
            except FOREIGN as error:
                raise translated(error) from error

        connection = await connect(self._url)
        try:
            await connection.execute(_STILL)
            yield read
        except FOREIGN as error:
            raise translated(error) from error
        finally:
            connection.terminate()

    async def _persist(self, once: Callable[[Connection, Attempt], Awaitable[T]]) -> T:
        """Do `once` on a connection, again as long as that may help; leave no connection in doubt behind."""
        clock, attempt = self._world.clock, Attempt()
        started = clock.monotonic()
        pause = 0.02
        while True:
            try:
                return await self._try(once, attempt)
            except AGAIN as error:
                failure: BaseException = error
            except FOREIGN as error:
                if not is_lost(error):
                    raise translated(error) from error
                failure = error
                attempt.again = attempt.again or bool(attempt.seen.get("committing"))
            except UnavailableError as error:  # no connection to be had
                failure = error
            if clock.monotonic() - started > _PATIENCE:
                raise self._out_of_patience(failure, attempt) from failure
            await asyncio.sleep(pause * (0.5 + self._world.random.random()))
            pause = min(pause * 2, 0.5)

    async def _try(self, once: Callable[[Connection, Attempt], Awaitable[T]], attempt: Attempt) -> T:
        attempt.seen.pop("committing", None)
        connection = await self._pool.acquire()
        try:
            async with asyncio.timeout(_OPERATION_SECONDS):
                value = await once(connection, attempt)
        except (HoldfastError, asyncpg.PostgresError) as error:
            if is_lost(error) or connection.is_in_transaction():
                self._pool.discard(connection, others=is_lost(error))
            else:
                self._pool.release(connection)
            raise
        except BaseException as error:
            self._pool.discard(connection, others=is_lost(error))
            raise
        self._pool.release(connection)
        return value

    def _out_of_patience(self, failure: BaseException, attempt: Attempt) -> UnavailableError:
        if attempt.again:
            return UnavailableError(
                "the catalog was lost while committing; the outcome is not known", store="catalog"
            )
        if isinstance(failure, UnavailableError):
            return failure
        found = translated(failure)
        return (
            found if isinstance(found, UnavailableError) else UnavailableError(found.message, store="catalog")
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()


def _server_clock(attempt: Attempt) -> Steps[int]:
    from holdfast.catalog.common import NOW

    return int((yield NOW(now=None))[0][0])
