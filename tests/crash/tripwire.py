"""Catalog and stores that fail, or die, at a chosen call.

A `Tripwire` numbers every call that passes through `wrap_catalog` and `wrap_store`. Without a fault it only counts.
With one, the chosen call fails before or after its effect. `ERROR` is an error that the engine may handle; `DEATH`
raises what no handler may treat as an error, and from then on nothing reaches catalog or stores: the world stands
still, as it does for the disk when the process dies.

A lease is renewed beside its flow as often as real time allows. Only its first renewal is numbered, so that a flow makes
the same calls in every run and a fault that is planned is met.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from holdfast.core.backend import NO_OPTIONS, CopierFrom, PutOptions, Store
from holdfast.core.body import Body, Reader
from holdfast.core.errors import UnavailableError
from holdfast.core.types import BlobInfo, ByteRange
from holdfast.engine.context import Context

_KEEPER = Context.leased.__qualname__ + ".<locals>.keep"  #: the task that renews a lease


class Death(BaseException):
    """The process ended here."""


class Kind(StrEnum):
    ERROR = "error"
    DEATH = "death"


class When(StrEnum):
    BEFORE = "before"
    DURING = "during"  #: half of the body has moved; only stores have it
    AFTER = "after"


@dataclass(frozen=True)
class Fault:
    """Fail at call number `call`, counted from 1."""

    call: int
    kind: Kind
    when: When

    def __str__(self) -> str:
        return f"{self.kind} {self.when} call {self.call}"


class Tripwire:
    """Counts calls; trips at the one that the fault names. `labels` tells what the calls were."""

    def __init__(self, fault: Fault | None = None) -> None:
        self.fault = fault
        self.labels: list[str] = []
        self.dead = False
        self.tripped = False
        self._renewals: set[tuple[asyncio.Task[Any], str]] = set()

    async def call(self, label: str, effect: Callable[[], Awaitable[Any]]) -> Any:
        """Run `effect`, or fail around it."""
        number = self.enter(label)
        self.trip(number, When.BEFORE)
        result = await effect()
        if self.dead:  # somebody else's call died meanwhile: nobody hears of this one
            raise Death
        self.trip(number, When.AFTER)
        return result

    def enter(self, label: str) -> int:
        """Number a call, 0 for one that has none; nothing passes once the world stands still."""
        if self.dead:
            raise Death
        if self._is_renewed_again(label):
            return 0
        self.labels.append(label)
        return len(self.labels)

    def _is_renewed_again(self, label: str) -> bool:
        """Tell whether a keeper of a lease makes this call, and made it before."""
        task = asyncio.current_task()
        if task is None or not getattr(task.get_coro(), "__qualname__", "").endswith(_KEEPER):
            return False
        known = (task, label) in self._renewals
        self._renewals.add((task, label))
        return known

    def trip(self, number: int, when: When) -> None:
        """Fail if this is the moment."""
        fault = self.fault
        if fault is None or fault.call != number or fault.when is not when:
            return
        self.tripped = True
        if fault.kind is Kind.DEATH:
            self.dead = True
            raise Death
        place, _, operation = self.labels[number - 1].partition(".")
        raise UnavailableError("injected", operation=operation, store="" if place == "catalog" else place)

    def trips_during(self, number: int) -> bool:
        """Tell whether the body of that put breaks half-way."""
        return self.fault is not None and self.fault.call == number and self.fault.when is When.DURING


class WiredCatalog:
    """A catalog behind the tripwire. Closing passes unnoticed."""

    def __init__(self, inner: Any, wire: Tripwire) -> None:
        self._inner = inner
        self._wire = wire

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name == "close":
            return method

        async def wired(*args: Any, **kwargs: Any) -> Any:
            return await self._wire.call(f"catalog.{name}", lambda: method(*args, **kwargs))

        return wired


class WiredBackend:
    """A backend behind the tripwire."""

    def __init__(self, inner: Any, wire: Tripwire) -> None:
        self._inner = inner
        self._wire = wire
        self.store = inner.store
        self.capabilities = inner.capabilities
        self.limits = inner.limits

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        wire, label = self._wire, f"{self.store}.put"
        number = wire.enter(label)
        wire.trip(number, When.BEFORE)
        if wire.trips_during(number):
            body = replace(body, opener=_broken(body, wire, number), data=None)
        info: BlobInfo = await self._inner.put(name, body, options=options, if_absent=if_absent)
        if wire.dead:
            raise Death
        wire.trip(number, When.AFTER)
        return info

    @asynccontextmanager
    async def get(self, name: str, *, range: ByteRange | None = None) -> AsyncIterator[Reader]:
        number = self._wire.enter(f"{self.store}.get")
        self._wire.trip(number, When.BEFORE)
        async with self._inner.get(name, range=range) as reader:
            self._wire.trip(number, When.AFTER)
            yield reader

    def can_copy_from(self, other: Any) -> bool:
        below = other._inner if isinstance(other, WiredBackend) else other
        return isinstance(self._inner, CopierFrom) and self._inner.can_copy_from(below)

    async def copy_from(self, other: Any, source: str, target: str) -> Any:
        below = other._inner if isinstance(other, WiredBackend) else other
        return await self._wire.call(
            f"{self.store}.copy_from", lambda: self._inner.copy_from(below, source, target)
        )

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        async for info in self._inner.list(prefix, after=after):
            yield info

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name == "close":
            return method

        async def wired(*args: Any, **kwargs: Any) -> Any:
            return await self._wire.call(f"{self.store}.{name}", lambda: method(*args, **kwargs))

        return wired


def _broken(body: Body, wire: Tripwire, number: int) -> Callable[[], AsyncIterator[bytes]]:
    async def chunks() -> AsyncIterator[bytes]:
        async for chunk in body.chunks():
            if len(chunk) > 1:
                yield chunk[: len(chunk) // 2]
            break
        wire.trip(number, When.DURING)
        raise AssertionError("a body that breaks half-way did not break")

    return chunks


def wrap_store(store: Store, wire: Tripwire) -> Store:
    """Return `store` with its backend behind the wire."""
    return replace(store, backend=WiredBackend(store.backend, wire))
