"""How long transactions take, and how many are under way: plain numbers, for whoever shows them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Hashable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

from holdfast.catalog.transaction import Lock, Transaction
from holdfast.core.clock import Clock
from holdfast.core.errors import DeadlineError, InternalError, UnavailableError

if TYPE_CHECKING:
    from holdfast.catalog.catalog import Runner

T = TypeVar("T")
#: Upper edges of the classes that durations are counted in, seconds.
EDGES: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Measure:
    """One kind of transaction. `counts` has one class more than there are `EDGES`, for what took longer.

    `failed` ones are those that the database failed; an object that is not there is an answer.
    """

    __slots__ = ("counts", "failed", "in_flight", "seconds")

    def __init__(self) -> None:
        self.in_flight = 0
        self.failed = 0
        self.seconds = 0.0
        self.counts = [0] * (len(EDGES) + 1)

    def end(self, passed: float) -> None:
        """Count the end of a transaction."""
        self.in_flight -= 1
        self.seconds += passed
        self.counts[bisect_left(EDGES, passed)] += 1


class Measures:
    """All kinds: `read` is short, `scan` may be long, `write` waits for the disk."""

    def __init__(self) -> None:
        self.kinds = {"read": Measure(), "scan": Measure(), "write": Measure()}


class Measured:
    """A runner that counts what another one does."""

    def __init__(self, inner: Runner, measures: Measures, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._read, self._scan, self._write = (measures.kinds[kind] for kind in ("read", "scan", "write"))
        self.stamp = inner.stamp
        self.now = inner.now
        self.close = inner.close
        self.still = inner.still

    async def read(self, transaction: Transaction[T]) -> T:
        """As the inner one."""
        return await self._timed(self._read, self._inner.read(transaction))

    async def recall(self, question: Hashable, transaction: Transaction[T]) -> T:
        """As the inner one."""
        return await self._timed(self._read, self._inner.recall(question, transaction))

    async def scan(self, transaction: Transaction[T]) -> T:
        """As the inner one."""
        return await self._timed(self._scan, self._inner.scan(transaction))

    async def write(self, transaction: Transaction[T], locks: Sequence[Lock] = ()) -> T:
        """As the inner one."""
        return await self._timed(self._write, self._inner.write(transaction, locks))

    async def write_alone(self, transaction: Transaction[T]) -> T:
        """As the inner one."""
        return await self._timed(self._write, self._inner.write_alone(transaction))

    async def _timed(self, measure: Measure, work: Awaitable[T]) -> T:
        began = self._clock.monotonic()
        measure.in_flight += 1
        try:
            return await work
        except (DeadlineError, InternalError, UnavailableError):
            measure.failed += 1
            raise
        finally:
            measure.end(self._clock.monotonic() - began)
