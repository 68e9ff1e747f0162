"""Transactions on an SQLite file: one writer thread that commits groups, readers that run where they are asked.

Many queued transactions become one: `BEGIN IMMEDIATE`, one after the other, one `COMMIT` that is on disk when it returns
(`synchronous=FULL`). One that fails before it has changed anything, as nearly all do that fail, fails alone. If it has, all
begin anew, each in its own savepoint, to which the one that fails is rolled back. A commit that fails fails all of them;
after an I/O error the connection is thrown away, since what the disk holds is no longer known.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
import threading
import time
from collections.abc import AsyncIterator, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import apsw

from holdfast.catalog.ballast import Ballast
from holdfast.catalog.sqlite_errors import BrokenConnectionError, translated
from holdfast.catalog.statements import Batch, Call, Row
from holdfast.catalog.transaction import Attempt, Freeing, Lock, Step, Still, Transaction
from holdfast.core.clock import Clock
from holdfast.core.errors import HoldfastError, InvalidRequestError, QuotaExceededError, UnavailableError

T = TypeVar("T")

_GROUP = 256  #: transactions in one commit, at most
_AT_ONCE = 16  #: of a group that are told of its commit before the loop looks at its sockets again
_BUSY_MS = 10_000
_LOOK = 0.01  #: seconds between two attempts at what SQLite does not wait for by itself
_CACHE_KIB = 64 << 10
_WAL_KEEP = 64 << 20
_REMEMBERED = 8192  #: answers that one reading thread remembers
_REMEMBERED_BYTES = 32 << 20  #: of contents that are part of them
_REMEMBERED_LARGEST = 1 << 20  #: an answer with a larger content is not remembered
_LOG = logging.getLogger("holdfast")


def keep_private(path: str) -> None:
    """See that nobody but us can read the file, which holds the secret; SQLite gives its log the same mode.

    One that is not there is made empty, without being opened: closing it would end the locks that SQLite has on it.
    """
    with suppress(OSError):  # of a wrong path SQLite tells better
        if not Path(path).exists():
            os.mknod(path, stat.S_IFREG | 0o600)
    for name in (path, f"{path}-wal", f"{path}-shm"):
        with suppress(OSError):
            found = Path(name).stat()
            if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) & 0o077:
                Path(name).chmod(0o600)
                _LOG.warning("%s could be read by others and is now only readable by its owner", name)


def connect(path: str, *, write: bool) -> apsw.Connection:
    """Return a connection set up for our promises; a reading one cannot write."""
    keep_private(path)
    try:
        connection = apsw.Connection(path, statementcachesize=256)
        connection.set_busy_timeout(_BUSY_MS)
        # One plan per statement: or SQLite plans a join anew for each new value, which costs five times the join.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        _write_ahead(connection)
        connection.pragma("synchronous", "full")
        connection.pragma("cache_size", -_CACHE_KIB)
        connection.pragma("temp_store", "memory")
        if write:
            connection.pragma("journal_size_limit", _WAL_KEEP)
        else:
            connection.pragma("query_only", True)
    except apsw.Error as error:
        raise translated(error, path) from error
    return connection


def _write_ahead(connection: apsw.Connection) -> None:
    """Have the file keep a write-ahead log, and wait for whoever is just making it do so.

    A new file changes over under a lock that one alone can have. Whom it refuses SQLite tells at once, whatever the busy
    timeout is: several that start on a new catalog would fail for one another.
    """
    until = time.monotonic() + _BUSY_MS / 1000
    while True:
        try:
            connection.pragma("journal_mode", "wal")
            return
        except apsw.BusyError:
            if time.monotonic() >= until:
                raise
        time.sleep(_LOOK)


def perform(connection: apsw.Connection, step: Step) -> Sequence[Row]:
    """Run one step and return its rows."""
    if type(step) is Call:
        return _rows(connection, step)
    if type(step) is Batch:
        rows = [_rows(connection, call) for call in step.calls]
        return rows[0] if rows else ()
    connection.executemany(step.statement.sqlite[0], step.params)  # type: ignore[union-attr]
    return ()


def _rows(connection: apsw.Connection, call: Call) -> Sequence[Row]:
    sql, lists = call.statement.sqlite
    params: Any = call.params
    if lists:
        params = {**params, **{name: json.dumps(params[name]) for name in lists}}
    rows: Sequence[Row] = connection.execute(sql, params).fetchall()
    return rows


def drive(connection: apsw.Connection, transaction: Transaction[T], path: str) -> T:
    """Run the transaction's steps one after the other; the caller owns begin and commit."""
    steps = transaction(Attempt())
    try:
        step = next(steps)
        while True:
            step = steps.send(perform(connection, step))
    except StopIteration as stop:
        value: T = stop.value
        return value
    except apsw.Error as error:
        raise translated(error, path) from error
    except (UnicodeEncodeError, OverflowError) as error:
        raise InvalidRequestError("a value does not fit into the catalog", store="catalog") from error
    finally:
        steps.close()


class _Reader:
    """A reading connection of one thread, and what it was answered since the catalog last changed."""

    __slots__ = ("_answers", "_held", "_seen", "connection")

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self._seen = -1
        self._answers: dict[Hashable, Any] = {}
        self._held = 0

    def answers(self) -> dict[Hashable, Any]:
        """Return what still holds: nothing once any other connection, of whatever process, has committed.

        That is what SQLite promises of `PRAGMA data_version`; this connection itself never writes.
        """
        try:
            seen = self.connection.execute("PRAGMA data_version").get
        except apsw.Error as error:
            raise translated(error, self.connection.filename) from error
        if seen != self._seen or len(self._answers) >= _REMEMBERED:
            self._forget()
            self._seen = seen
        return self._answers

    def keep(self, question: Hashable, answer: object) -> None:
        """Remember an answer; if it has a content, as far as there is room for that."""
        held = len(getattr(answer, "data", None) or b"")
        if held > _REMEMBERED_LARGEST:
            return
        if self._held + held > _REMEMBERED_BYTES:
            self._forget()
        self._held += held
        self._answers[question] = answer

    def _forget(self) -> None:
        self._answers.clear()
        self._held = 0


@dataclass(slots=True)
class _Item:
    """A queued transaction and who waits for it."""

    transaction: Transaction[Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    value: Any = None
    error: BaseException | None = None


def _deliver(loop: asyncio.AbstractEventLoop, items: Sequence[_Item]) -> None:
    """Wake those who wait for `items`, some at a time: what arrives meanwhile gets its turn in between."""
    if len(items) > _AT_ONCE:
        loop.call_soon(_deliver, loop, items[_AT_ONCE:])
    for item in items[:_AT_ONCE]:
        if item.future.done():
            continue
        if item.error is not None:
            item.future.set_exception(item.error)
        else:
            item.future.set_result(item.value)


def _own(failure: BaseException) -> BaseException:
    """Return an error to be raised in one task: tasks that share one would share its traceback."""
    made = copy(failure)
    made.__cause__ = failure.__cause__
    return made


def _is_disk_full(error: BaseException | None) -> bool:
    return error is not None and isinstance(error.__cause__, apsw.FullError)


class SqliteRunner:
    """Runs transactions on the file at `path`. May be used from several event loops; `close` ends its threads."""

    def __init__(self, path: str, clock: Clock, *, ballast: int = 0) -> None:
        self._path = path
        self._clock = clock
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._readers = threading.local()
        self._opened: list[apsw.Connection] = []
        self._scans = ThreadPoolExecutor(1, thread_name_prefix="holdfast-catalog-scan")
        self._writer: apsw.Connection | None = connect(path, write=True)
        facts = Path(path).stat()
        self._identity = (facts.st_dev, facts.st_ino)
        self._ballast = Ballast(path, ballast)
        self._ballast.stands()
        self._closed = False
        self._thread = threading.Thread(target=self._write_groups, name="holdfast-catalog-write", daemon=True)
        self._thread.start()

    # -- reading ------------------------------------------------------------------------------------------------
    async def read(self, transaction: Transaction[T]) -> T:
        """Run a short read here and now: microseconds, no thread is asked."""
        self._refuse_when_closed()
        return self._read(transaction)

    async def recall(self, question: Hashable, transaction: Transaction[T]) -> T:
        """As `read`, or the answer that `question` had since the last commit: asking SQLite for it costs six times this."""
        self._refuse_when_closed()
        return self._read(transaction, question)

    async def scan(self, transaction: Transaction[T]) -> T:
        """Run a read that may take milliseconds or more, beside the event loop."""
        self._refuse_when_closed()
        return await asyncio.get_running_loop().run_in_executor(self._scans, self._read, transaction)

    def _read(self, transaction: Transaction[T], question: Hashable = None) -> T:
        reader: _Reader | None = getattr(self._readers, "reader", None)
        if reader is None:
            reader = self._readers.reader = _Reader(connect(self._path, write=False))
            self._opened.append(reader.connection)
        try:
            if question is None:
                return drive(reader.connection, transaction, self._path)
            answers = reader.answers()
            answer: T | None = answers.get(question)
            if answer is None:
                # A commit between the look above and this read makes the next look forget it: never is it kept too long.
                answer = drive(reader.connection, transaction, self._path)
                reader.keep(question, answer)
            return answer
        except BrokenConnectionError:
            del self._readers.reader
            self._opened.remove(reader.connection)
            reader.connection.close(True)
            raise

    @asynccontextmanager
    async def still(self) -> AsyncIterator[Still]:
        """Give reads that all see the catalog as it is now. Its log grows as long as this is open."""
        self._refuse_when_closed()
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, thread_name_prefix="holdfast-catalog-still") as thread:
            connection = await loop.run_in_executor(thread, partial(connect, self._path, write=False))
            try:
                await loop.run_in_executor(thread, connection.execute, "BEGIN")
                yield lambda transaction: loop.run_in_executor(
                    thread, drive, connection, transaction, self._path
                )
            finally:
                await loop.run_in_executor(thread, connection.close, True)

    # -- writing ------------------------------------------------------------------------------------------------
    async def write(self, transaction: Transaction[T], locks: Sequence[Lock] = ()) -> T:
        """Run a transaction; it is on disk when this returns. `locks` are not needed here: there is one writer."""
        self._refuse_when_closed()
        loop = asyncio.get_running_loop()
        item = _Item(transaction, loop, loop.create_future())
        self._queue.put(item)
        value: T = await item.future
        return value

    async def write_alone(self, transaction: Transaction[T]) -> T:
        """Run a transaction of one statement."""
        return await self.write(transaction)

    def stamp(self) -> int:
        """The time of the injected clock: SQLite has none of its own worth trusting."""
        return self._clock.now()

    async def now(self) -> int:
        """The time of the injected clock."""
        return self._clock.now()

    def _write_groups(self) -> None:
        while (first := self._queue.get()) is not None:
            group = [first]
            last = False
            while len(group) < _GROUP:
                try:
                    item = self._queue.get_nowait()
                except Empty:
                    break
                if item is None:
                    last = True
                    break
                group.append(item)
            self._write_group([item for item in group if not item.future.cancelled()])
            if last:
                break
        if self._writer is not None:
            with suppress(apsw.Error):
                self._writer.close()

    def _write_group(self, group: Sequence[_Item]) -> None:
        self._try_group(group)
        refused = [
            item for item in group if isinstance(item.transaction, Freeing) and _is_disk_full(item.error)
        ]
        if refused and self._ballast.drop():
            for item in refused:
                item.error = None
            self._try_group(refused)
        self._answer(group)

    def _try_group(self, group: Sequence[_Item]) -> None:
        try:
            self._commit_group(group)
        except BaseException as error:  # whoever waits must hear of it, whatever it is
            failure = translated(error, self._path) if isinstance(error, apsw.Error) else error
            for item in group:
                item.error = item.error or _own(failure)
            self._give_up(failure)

    def _answer(self, group: Sequence[_Item]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Item]] = {}
        for item in group:
            by_loop.setdefault(item.loop, []).append(item)
        for loop, items in by_loop.items():
            try:
                loop.call_soon_threadsafe(_deliver, loop, items)
            except RuntimeError:  # that loop was closed: nobody waits any more
                pass

    def _commit_group(self, group: Sequence[_Item]) -> None:
        if not group:
            return
        if self._writer is None:
            self._writer = connect(self._path, write=True)
        connection = self._writer
        self._refuse_when_moved()
        adds = any(not isinstance(item.transaction, Freeing) for item in group)
        only_freeing = adds and not self._ballast.stands()  # those that free must not have it made again
        connection.execute("BEGIN IMMEDIATE")
        if not all(self._write_one(connection, item, only_freeing) for item in group):
            connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            for item in group:
                self._write_apart(connection, item, only_freeing)
        connection.execute("COMMIT")

    def _refuse_when_moved(self) -> None:
        """Raise when the file at our path is no longer the one that we opened: writes to it would be lost."""
        try:
            there = Path(self._path).stat()
        except OSError:
            there = None
        if there is None or (there.st_dev, there.st_ino) != self._identity:
            raise BrokenConnectionError(
                "the catalog's file was removed or replaced while it was in use; restore it and restart",
                store="catalog",
            )

    def _write_one(self, connection: apsw.Connection, item: _Item, only_freeing: bool) -> bool:
        """Run a transaction of a group; False when it failed and left something behind, so that all are to begin anew."""
        item.value = item.error = None
        before = connection.total_changes()
        try:
            item.value = drive(connection, item.transaction, self._path)
            changed = connection.total_changes() != before
            if only_freeing and changed and not isinstance(item.transaction, Freeing):
                raise QuotaExceededError(
                    "the disk that holds the catalog is full; free some space", store="catalog"
                )
        except Exception as error:
            item.error = error
            if isinstance(error, BrokenConnectionError) or not connection.in_transaction:
                raise  # the disk failed, or SQLite rolled all of it back (disk full)
            return connection.total_changes() == before
        return True

    def _write_apart(self, connection: apsw.Connection, item: _Item, only_freeing: bool) -> None:
        """Run a transaction of a group so that it can fail alone: two statements more, and so not done at first."""
        connection.execute("SAVEPOINT item")
        if not self._write_one(connection, item, only_freeing):
            connection.execute("ROLLBACK TO item")
        connection.execute("RELEASE item")

    def _give_up(self, failure: BaseException) -> None:
        """Leave no transaction open, and no connection to a disk that failed."""
        connection = self._writer
        if connection is None:
            return
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except apsw.Error:
            failure = BrokenConnectionError("rollback failed")
        if isinstance(failure, BrokenConnectionError) or not isinstance(failure, HoldfastError):
            self._writer = None
            with suppress(apsw.Error):  # closing may want to write as well
                connection.close(True)

    # -- life ---------------------------------------------------------------------------------------------------
    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise UnavailableError("the catalog is closed", store="catalog")

    async def close(self) -> None:
        """Finish what is queued, then close every connection."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._thread.join)
        await loop.run_in_executor(None, self._scans.shutdown)
        for connection in self._opened:
            connection.close(True)
