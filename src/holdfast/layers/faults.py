"""Failures on purpose: the n-th call to a store (or to anything else that asks the plan) fails in a chosen way.

    plan = Plan([Fault(at=3, effect=Effect.DEATH, when=When.AFTER)])
    stack = Faults(backend, plan=plan, environment=environment)

Run the story once with an empty plan: `plan.calls` tells how many calls there are. Then run it once per call and fault.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, TypeVar

from holdfast.core.backend import NO_OPTIONS, Backend, PutOptions, SignedUrl
from holdfast.core.body import Body, Reader
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError, UnavailableError
from holdfast.core.types import BlobInfo, ByteRange
from holdfast.layers.base import ALL, Layer, closed_after

T = TypeVar("T")


class Death(BaseException):
    """The process died here: not an `Exception`, so no handler of errors runs on."""


class Effect(StrEnum):
    """What happens."""

    ERROR = "error"  #: the call fails
    DELAY = "delay"  #: the call is slow
    TRUNCATE = "truncate"  #: the second half of the bytes is lost, without an error
    FLIP = "flip"  #: one bit of the bytes is another one
    DEATH = "death"  #: the process dies, and every later call finds it dead


class When(StrEnum):
    """Whether the call has its effect first."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens at call number `at` (1 is the first). `when` is for errors and death."""

    at: int
    effect: Effect
    when: When = When.BEFORE
    error: Callable[[], HoldfastError] = lambda: UnavailableError("a fault on purpose")
    seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class Call:
    """One call that was made."""

    number: int
    operation: str
    store: str
    name: str


class Plan:
    """Which calls fail and how; shared by all stores of a story, so that calls are numbered across them."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = {fault.at: fault for fault in faults}
        self.calls: list[Call] = []
        self.dead = False

    @classmethod
    def seeded(
        cls, seed: int, *, calls: int, share: float, effects: Iterable[Effect] = tuple(Effect)
    ) -> Plan:
        """Return a plan in which about `share` of the first `calls` calls fail; the same seed gives the same plan."""
        chance, kinds = random.Random(seed), list(effects)  # noqa: S311
        hit = [number for number in range(1, calls + 1) if chance.random() < share]
        return cls(
            Fault(number, chance.choice(kinds), chance.choice(list(When)), seconds=chance.random())
            for number in hit
        )

    def enter(self, operation: str, store: str = "", name: str = "") -> Fault | None:
        """Count a call and return what is planned for it.

        Raises:
            Death: the process is dead already.
        """
        if self.dead:
            raise Death
        self.calls.append(Call(len(self.calls) + 1, operation, store, name))
        return self._faults.get(len(self.calls))

    def strike(self, fault: Fault | None, when: When) -> None:
        """Fail as planned, if this is the moment."""
        if self.dead:
            raise Death
        if fault is None or fault.when is not when:
            return
        if fault.effect is Effect.ERROR:
            raise fault.error()
        if fault.effect is Effect.DEATH:
            self.dead = True
            raise Death

    async def around(
        self,
        operation: str,
        work: Callable[[], Awaitable[T]],
        sleep: Callable[[float], Awaitable[None]],
        *,
        store: str = "",
        name: str = "",
    ) -> T:
        """Return what `work` returns, unless the plan has the call fail. Also for what is no store: a catalog."""
        fault = await self.begin(operation, sleep, store=store, name=name)
        result = await work()
        self.strike(fault, When.AFTER)
        return result

    async def begin(
        self, operation: str, sleep: Callable[[float], Awaitable[None]], *, store: str = "", name: str = ""
    ) -> Fault | None:
        """Count a call, be slow or fail before its effect if planned, and return what is planned for it."""
        fault = self.enter(operation, store, name)
        if fault is not None and fault.effect is Effect.DELAY:
            await sleep(fault.seconds)
        self.strike(fault, When.BEFORE)
        return fault


_DAMAGE: Final = (Effect.TRUNCATE, Effect.FLIP)


class Faults(Layer):
    """Makes the calls that `plan` names fail. Damage is done to the bytes that a put sends or a get returns."""

    preserves = ALL

    def __init__(self, inner: Backend, *, plan: Plan, environment: Environment) -> None:
        super().__init__(inner)
        self.plan = plan
        self._sleep = environment.clock.sleep

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Put, perhaps."""
        fault = await self._begin("put", name)
        if fault is not None and fault.effect in _DAMAGE:
            body = _damaged_body(body, fault)
        info = await super().put(name, body, options=options, if_absent=if_absent)
        self.plan.strike(fault, When.AFTER)
        return info

    def get(self, name: str, *, range: ByteRange | None = None) -> AbstractAsyncContextManager[Reader]:
        """Read, perhaps. An error or death `after` comes in the middle of the bytes."""
        return self._get(name, range)

    @asynccontextmanager
    async def _get(self, name: str, wish: ByteRange | None) -> AsyncIterator[Reader]:
        fault = await self._begin("get", name)
        async with super().get(name, range=wish) as reader:
            length = reader.span.length
            yield (
                reader
                if fault is None
                else reader.through(lambda chunks: self._broken(chunks, length, fault))
            )

    async def head(self, name: str) -> BlobInfo:
        """Look, perhaps."""
        return await self._around("head", name, lambda: self.inner.head(name))

    async def delete(self, name: str) -> None:
        """Delete, perhaps."""
        await self._around("delete", name, lambda: self.inner.delete(name))

    async def discard(self, name: str) -> None:
        """A delete, as far as faults go."""
        await self._around("delete", name, lambda: self.inner.discard(name))

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Copy, perhaps."""
        return await self._around("copy", source, lambda: super(Faults, self).copy(source, target))

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        """Copy from another store, perhaps."""
        return await self._around(
            "copy", target, lambda: super(Faults, self).copy_from(other, source, target)
        )

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        """Sign, perhaps."""
        return await self._around(
            "presign",
            name,
            lambda: super(Faults, self).presign(
                method,
                name,
                expires_in=expires_in,
                content_type=content_type,
                content_disposition=content_disposition,
            ),
        )

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncGenerator[BlobInfo, None]:
        """List, perhaps: a fault `after` comes behind the first item."""
        fault = await self._begin("list", prefix)
        async with closed_after(super().list(prefix, after=after)) as items:
            async for info in items:
                yield info
                self.plan.strike(fault, When.AFTER)
        self.plan.strike(fault, When.AFTER)

    async def _begin(self, operation: str, name: str) -> Fault | None:
        return await self.plan.begin(operation, self._sleep, store=self.store, name=name)

    async def _around(self, operation: str, name: str, work: Callable[[], Awaitable[T]]) -> T:
        return await self.plan.around(operation, work, self._sleep, store=self.store, name=name)

    async def _broken(self, chunks: AsyncIterator[bytes], length: int, fault: Fault) -> AsyncIterator[bytes]:
        damaged = _damaged(chunks, length, fault) if fault.effect in _DAMAGE else chunks
        breaks = fault.when is When.AFTER and fault.effect in (Effect.ERROR, Effect.DEATH)
        async for chunk in damaged:
            yield chunk[: (len(chunk) + 1) // 2] if breaks else chunk
            self.plan.strike(fault, When.AFTER)
        self.plan.strike(fault, When.AFTER)


async def _damaged(chunks: AsyncIterator[bytes], length: int, fault: Fault) -> AsyncIterator[bytes]:
    middle, seen = length // 2, 0
    async for chunk in chunks:
        start, seen = seen, seen + len(chunk)
        if not start <= middle < seen:
            yield chunk
            continue
        if fault.effect is Effect.TRUNCATE:
            if middle > start:
                yield chunk[: middle - start]
            return
        changed = bytearray(chunk)
        changed[middle - start] ^= 1
        yield bytes(changed)


def _damaged_body(body: Body, fault: Fault) -> Body:
    length = body.size if body.size is not None else 2

    def chunks() -> AsyncIterator[bytes]:
        return _damaged(body.chunks(), length, fault)

    return replace(body, opener=chunks, data=None)
