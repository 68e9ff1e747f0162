"""How a body becomes parts: their size, and a feed that can be told to stop."""

from __future__ import annotations

import asyncio
import mmap
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace
from typing import Final

from holdfast.backends.object_store.dialects import DIALECTS, MIB, Dialect
from holdfast.core.body import Body
from holdfast.core.errors import DigestMismatchError, TooLargeError

_STREAMED: Final = 1 << 20  #: each piece costs a hop between threads
_IN_MEMORY: Final = 8 * MIB
_UNKNOWN_FACTOR = 2  #: parts of a body of unknown length are this much larger, to reach further


@dataclass(frozen=True, slots=True)
class Plan:
    """Parts of one size (some servers want them equal), how many at a time, and how much fits."""

    part_size: int
    concurrency: int
    max_parts: int

    @property
    def reach(self) -> int:
        """The largest body that fits into these parts."""
        return self.part_size * self.max_parts


def plan(
    size: int | None, *, part_size: int, concurrency: int, server: Dialect = DIALECTS["generic"]
) -> Plan:
    """Return the parts for a body of `size` bytes (None: unknown), near `part_size`, holding about as much memory.

    Raises:
        TooLargeError: more parts than the server takes, each as large as it takes them.
    """
    most, largest = server.max_parts, server.max_part
    if size is None:
        wanted = min(part_size * _UNKNOWN_FACTOR, largest)
        return Plan(wanted, max(1, concurrency // _UNKNOWN_FACTOR - 1), most)
    least = -(-size // most)
    wanted = max(part_size, min(-(-least // MIB) * MIB, largest))
    if least > wanted:
        raise TooLargeError(f"{size} bytes do not fit into {most} parts of {largest} bytes")
    return Plan(wanted, max(1, min(concurrency, concurrency * part_size // wanted)), most)


def requests(size: int, plan: Plan, *, around: int) -> int:
    """Return how many requests a put of `size` bytes takes: one, or its parts and what is `around` them."""
    return 1 if size <= plan.part_size else -(-size // plan.part_size) + around


async def gather(body: Body, limit: int) -> tuple[bytes | None, Body]:
    """Return all of `body` when it has at most `limit` bytes, else None and a body that still holds everything."""
    if body.data is not None:
        return (body.data if len(body.data) <= limit else None), body
    if body.size is not None:
        return (await body.read(limit) if body.size <= limit else None), body
    source = body.chunks()
    held: deque[bytes] = deque()
    size = 0
    async for chunk in source:
        held.append(chunk)
        size += len(chunk)
        if size > limit:
            return None, replace(body, opener=lambda: _resumed(held, source), replayable=False)
    return b"".join(held), body


async def _resumed(held: deque[bytes], source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what was held, letting go of each chunk, then the rest."""
    while held:
        yield held.popleft()
    async for chunk in source:
        yield chunk


def too_large(limit: int) -> TooLargeError:
    """Return the error for a body that turned out longer than what fits."""
    return TooLargeError(
        f"the body has more than {limit} bytes, the most that fits; announce its length, or raise part_size or max_object_size"
    )


class StoppedError(Exception):
    """The feed was told to stop; it is how an upload in the library's hands is made to give up."""


class Feed:
    """A body as an iterator of chunks of `least` bytes to 1 MiB, counted, checked against its announced size, and stoppable.

    The library that reads it cannot be cancelled without leaving its parts behind; but when its source raises it
    takes them back. So whoever wants to cancel calls `stop` and waits.
    """

    def __init__(self, body: Body, *, limit: int, least: int = _STREAMED) -> None:
        self.size = 0
        self.error: BaseException | None = None
        self._expected = body.size
        self._limit = limit
        self._chunks = slices(body, least)
        self._waiting: asyncio.Task[object] | None = None
        self._stopped = False

    def __aiter__(self) -> Feed:
        return self

    async def __anext__(self) -> memoryview:
        self._waiting = asyncio.current_task()
        try:
            if self._stopped:
                raise StoppedError
            chunk = await anext(self._chunks)
            self._count(len(chunk))
            return chunk
        except StopAsyncIteration:
            raise self._end() from None
        except asyncio.CancelledError:
            if not self._stopped:
                raise
            raise self._failed(StoppedError()) from None
        except Exception as error:
            raise self._failed(error) from None
        finally:
            self._waiting = None

    def stop(self) -> None:
        """Make the next chunk, or the one that is waited for, an error."""
        self._stopped = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def close(self) -> None:
        """Let go of the source."""
        await self._chunks.aclose()

    async def end(self) -> None:
        """Stop, wait until nobody waits for a chunk any more, and let go of the source."""
        self.stop()
        if self._waiting is not None:
            await asyncio.wait([self._waiting])
        await self.close()

    def _count(self, length: int) -> None:
        self.size += length
        if self.size > self._limit:
            raise too_large(self._limit)
        if self._expected is not None and self.size > self._expected:
            raise DigestMismatchError(f"the body is longer than the announced {self._expected} bytes")

    def _end(self) -> Exception:
        if self._expected is not None and self.size != self._expected:
            return self._failed(
                DigestMismatchError(
                    f"the body ended after {self.size} of the announced {self._expected} bytes"
                )
            )
        return StopAsyncIteration()

    def _failed(self, error: Exception) -> Exception:
        self.error = error
        return error


async def slices(body: Body, least: int = _STREAMED) -> AsyncGenerator[memoryview, None]:
    """Yield the body in pieces of at most 1 MiB (8 MiB when all of it is in memory) and, but for ends, `least` or more.

    The library holds back only between pieces, so large ones would let memory grow; each costs a hop between threads.
    """
    step = _STREAMED if body.data is None else _IN_MEMORY
    chunks = body.gathered(least).chunks() if body.data is None else _all(body.data)
    async for chunk in chunks:
        view = memoryview(chunk)
        for start in range(0, len(view), step):
            yield view[start : start + step]


async def _all(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def parts(feed: Feed, part_size: int) -> AsyncIterator[memoryview]:
    """Yield the feed in pieces of exactly `part_size` bytes, but for the last; at least one, perhaps empty.

    Each has memory of its own, which goes back to the system with the last who holds the piece.
    """
    part, any_yet = _Part(part_size), False
    async for chunk in feed:
        rest = part.fill(chunk)
        while part.full:
            any_yet = True
            yield part.taken()  # nothing here may hold it meanwhile: parts are large
            rest = part.fill(rest)
    if part.length or not any_yet:
        yield part.taken()


class _Part:
    """A part while it is gathered, in pages of its own: the allocator would keep, and cut up, what is given back."""

    def __init__(self, size: int) -> None:
        self._size, self.length = size, 0
        self._held: mmap.mmap | None = None

    @property
    def full(self) -> bool:
        return self.length == self._size

    def fill(self, chunk: memoryview) -> memoryview:
        """Take what fits of `chunk`; return the rest."""
        fits = chunk[: self._size - self.length]
        if len(fits):
            if self._held is None:
                self._held = mmap.mmap(-1, self._size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            self._held[self.length : self.length + len(fits)] = fits
            self.length += len(fits)
        return chunk[len(fits) :]

    def taken(self) -> memoryview:
        """Return what is there, and begin the next."""
        held, length = self._held, self.length
        self._held, self.length = None, 0
        return memoryview(b"" if held is None else held)[:length].toreadonly()
