"""What each check is given, and how a check is written.

A check is an async function named as a promise; its docstring is the promise in one sentence. It gets a `Harness` with
the backend and a prefix of its own, and raises `Broken` when the promise is not kept.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from holdfast.core.backend import NO_OPTIONS, Backend, Capability, PutOptions
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError, NotFoundError
from holdfast.core.types import BlobInfo, ByteRange

E = TypeVar("E", bound=HoldfastError)


class Broken(AssertionError):
    """A promise was not kept; the message says what happened instead."""


@dataclass(frozen=True, slots=True)
class Check:
    """A promise and how it is tried. `needs` is what a backend must offer to owe it."""

    name: str
    promise: str
    needs: Capability
    run: Callable[[Harness], Awaitable[None]]
    last: bool = False  #: leaves the backend unusable
    outside: bool = False  #: is not owed by a backend that keeps blobs in the memory of this process


CHECKS: dict[str, Check] = {}


def promise(
    *, needs: Capability = Capability.NONE, last: bool = False, outside: bool = False
) -> Callable[[Callable[[Harness], Awaitable[None]]], Callable[[Harness], Awaitable[None]]]:
    """Register the decorated function as a check."""

    def register(function: Callable[[Harness], Awaitable[None]]) -> Callable[[Harness], Awaitable[None]]:
        name = function.__name__
        assert function.__doc__, f"{name} does not say what it promises"
        assert name not in CHECKS, f"{name} is there twice"
        CHECKS[name] = Check(name, function.__doc__.strip(), needs, function, last, outside)
        return function

    return register


@dataclass(slots=True)
class Harness:
    """A backend, and a corner of it that belongs to one check alone."""

    backend: Backend
    prefix: str
    environment: Environment

    def name(self, tail: str) -> str:
        """Return the full name of the blob `tail`."""
        return self.prefix + tail

    def offers(self, capability: Capability) -> bool:
        """Tell whether the backend offers all of `capability`."""
        return capability in self.backend.capabilities

    async def put(
        self, tail: str, data: bytes, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Put `data` in one piece."""
        return await self.backend.put(
            self.name(tail), Body.of_bytes(data), options=options, if_absent=if_absent
        )

    async def put_stream(
        self, tail: str, chunks: AsyncIterator[bytes], *, size: int | None = None, if_absent: bool = False
    ) -> BlobInfo:
        """Put what `chunks` yields, which can be read once."""
        return await self.backend.put(self.name(tail), Body.of_stream(chunks, size=size), if_absent=if_absent)

    async def read(self, tail: str, range: ByteRange | None = None) -> bytes:
        """Return the bytes of the blob, or of `range` of it."""
        async with self.backend.get(self.name(tail), range=range) as reader:
            return await reader.read()

    async def head(self, tail: str) -> BlobInfo:
        """Return what the backend knows of the blob."""
        return await self.backend.head(self.name(tail))

    async def delete(self, tail: str) -> None:
        """Delete the blob."""
        await self.backend.delete(self.name(tail))

    async def names(self, prefix: str = "", *, after: str | None = None) -> list[str]:
        """Return the tails that a listing yields, in its order."""
        cursor = "" if after is None else self.name(after)
        return [
            info.name.removeprefix(self.prefix)
            async for info in self.backend.list(self.name(prefix), after=cursor)
        ]

    async def absent(self, tail: str) -> None:
        """Check that nothing is visible under the name, whichever way one looks."""
        with refused(NotFoundError, "head of what should not be there"):
            await self.head(tail)
        with refused(NotFoundError, "get of what should not be there"):
            await self.read(tail)
        same(tail in await self.names(tail), False, "the listing shows what should not be there")

    async def holds(self, tail: str, data: bytes) -> None:
        """Check that exactly `data` is visible under the name, whichever way one looks."""
        same_bytes(await self.read(tail), data, f"the bytes of {tail[:40]}")
        same((await self.head(tail)).size, len(data), f"the size of {tail[:40]} in head")

    async def clean(self) -> None:
        """Remove all that the check left."""
        for name in [info.name async for info in self.backend.list(self.prefix)]:
            await self.backend.delete(name)


def noise(size: int, seed: int = 0) -> bytes:
    """Return `size` bytes that do not repeat; the same ones every time."""
    return random.Random(seed).randbytes(size)  # noqa: S311


async def pieces(data: bytes, step: int) -> AsyncIterator[bytes]:
    """Yield `data` in chunks of `step` bytes."""
    for start in range(0, len(data), step):
        yield data[start : start + step]


def same(found: object, wanted: object, what: str) -> None:
    """Raise `Broken` unless the two are equal."""
    if found != wanted:
        raise Broken(f"{what}: {_short(found)} instead of {_short(wanted)}")


def same_bytes(found: bytes, wanted: bytes, what: str) -> None:
    """Raise `Broken`, telling where they differ, unless the two are equal."""
    if found == wanted:
        return
    at = next((i for i, (one, two) in enumerate(zip(found, wanted, strict=False)) if one != two), None)
    at = min(len(found), len(wanted)) if at is None else at
    raise Broken(f"{what}: {len(found)} bytes instead of {len(wanted)}; they differ from byte {at} on")


def holds_true(condition: bool, what: str) -> None:
    """Raise `Broken` unless `condition`."""
    if not condition:
        raise Broken(what)


class Caught:
    """The error that a `refused` block ended with."""

    error: HoldfastError


@contextmanager
def refused(kind: type[HoldfastError] | tuple[type[HoldfastError], ...], what: str) -> Iterator[Caught]:
    """Raise `Broken` unless the block ends with an error of that kind."""
    caught = Caught()
    kinds = kind if isinstance(kind, tuple) else (kind,)
    wanted = " or ".join(one.__name__ for one in kinds)
    try:
        yield caught
    except kinds as error:
        caught.error = error
    except Exception as error:
        raise Broken(f"{what}: {type(error).__name__} ({error}) instead of {wanted}") from error
    else:
        raise Broken(f"{what}: it succeeded; {wanted} was due")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"
