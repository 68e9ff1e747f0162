"""What is left when something goes wrong: nothing new, and nothing lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from holdfast.core.backend import Capability
from holdfast.core.body import Body
from holdfast.core.errors import DigestMismatchError, HoldfastError, NotFoundError, UnavailableError
from holdfast.testing.harness import Broken, Harness, holds_true, noise, pieces, promise, refused, same

_MIB: Final = 1 << 20


async def _breaking(data: bytes) -> AsyncIterator[bytes]:
    async for chunk in pieces(data, 100_000):
        yield chunk
    raise UnavailableError("the source broke")


async def _hanging(data: bytes, reached: asyncio.Event) -> AsyncIterator[bytes]:
    async for chunk in pieces(data, 100_000):
        yield chunk
    reached.set()
    await asyncio.Event().wait()


async def _fails(h: Harness, data: bytes) -> None:
    try:
        await h.put_stream("name", _breaking(data))
    except HoldfastError:
        return
    raise Broken("put succeeded although its source broke")


async def _cancel(h: Harness, data: bytes) -> None:
    reached = asyncio.Event()
    putting = asyncio.ensure_future(h.put_stream("name", _hanging(data, reached)))
    reaching = asyncio.ensure_future(reached.wait())
    await asyncio.wait([putting, reaching], return_when=asyncio.FIRST_COMPLETED)
    reaching.cancel()
    putting.cancel()
    try:
        await putting
    except asyncio.CancelledError:
        return
    raise Broken("put ended before its source did")


@promise()
async def a_put_whose_source_breaks_shows_nothing(h: Harness) -> None:
    """A put that fails half-way, early or late, leaves nothing visible, and the name free."""
    for size in (0, 10, 300_000, 9 * _MIB):
        await _fails(h, noise(size))
        await h.absent("name")
    same(await h.names(), [], "the listing")
    await h.put("name", b"fine")
    await h.holds("name", b"fine")


@promise()
async def a_put_that_fails_keeps_the_old_content(h: Harness) -> None:
    """A put that fails half-way leaves what was there."""
    await h.put("name", b"old")
    for size in (0, 10, 9 * _MIB):
        await _fails(h, noise(size))
        await h.holds("name", b"old")
    same(await h.names(), ["name"], "the listing")


@promise()
async def the_error_of_a_source_arrives(h: Harness) -> None:
    """Who puts learns what went wrong in the source: its own error kind comes back."""
    with refused(UnavailableError, "put of a source that breaks"):
        await h.put_stream("name", _breaking(noise(1000)))


@promise()
async def a_body_shorter_than_announced_is_refused(h: Harness) -> None:
    """Fewer bytes than announced raise `DigestMismatchError`, and nothing becomes visible."""
    for size in (100, 7 * _MIB):
        with refused(DigestMismatchError, f"a body one byte short of {size}"):
            await h.put_stream("name", pieces(noise(size - 1), 100_000), size=size)
        await h.absent("name")


@promise()
async def a_body_longer_than_announced_is_refused(h: Harness) -> None:
    """More bytes than announced raise `DigestMismatchError`, and nothing becomes visible."""
    for size, step in ((100, 1000), (100, 100), (7 * _MIB, 100_000), (7 * _MIB, 7 * _MIB)):
        with refused(DigestMismatchError, f"a body one byte over {size}, in chunks of {step}"):
            await h.put_stream("name", pieces(noise(size + 1), step), size=size)
        await h.absent("name")


@promise()
async def a_body_in_memory_is_checked_too(h: Harness) -> None:
    """What was announced of a small body that is already in memory is compared as well."""
    with refused(DigestMismatchError, "ten bytes announced as eleven"):
        await h.backend.put(h.name("name"), Body.of_bytes(b"0123456789").expecting(size=11))
    await h.absent("name")


@promise()
async def a_cancelled_put_shows_nothing(h: Harness) -> None:
    """A put that is cancelled half-way leaves nothing visible; a later one works."""
    for size in (10, 300_000, 9 * _MIB):
        await _cancel(h, noise(size))
        await h.absent("name")
    await h.put("name", b"later")
    await h.holds("name", b"later")


@promise()
async def a_cancelled_put_keeps_the_old_content(h: Harness) -> None:
    """A put that is cancelled half-way leaves what was there."""
    await h.put("name", b"old")
    await _cancel(h, noise(9 * _MIB))
    await h.holds("name", b"old")


@promise()
async def a_put_cancelled_at_any_moment_is_whole_or_absent(h: Harness) -> None:
    """Whenever a put is cancelled, its blob is not there or it is whole; and the backend works on."""
    data = noise(200_000)
    for moment in range(12):
        putting = asyncio.ensure_future(h.put(f"blob-{moment}", data))
        for _ in range(moment):
            await asyncio.sleep(0 if moment < 6 else 0.0005)
        putting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await putting
        with contextlib.suppress(NotFoundError):
            same(len(await h.read(f"blob-{moment}")), len(data), "the size of what a cancelled put left")
    await h.put("after", data)
    await h.holds("after", data)


@promise(needs=Capability.IF_ABSENT)
async def a_failed_if_absent_leaves_the_name_free(h: Harness) -> None:
    """A put with `if_absent` that fails does not take the name."""
    with refused(UnavailableError, "put of a source that breaks"):
        await h.put_stream("name", _breaking(noise(1000)), if_absent=True)
    await h.put("name", b"mine", if_absent=True)
    await h.holds("name", b"mine")


@promise()
async def a_cancelled_read_leaves_the_backend_working(h: Harness) -> None:
    """Reads may be cancelled at any moment, often, without hindering later ones."""
    data = noise(3 * _MIB)
    await h.put("blob", data)
    for moment in range(40):
        reading = asyncio.ensure_future(h.read("blob"))
        for _ in range(moment % 8):
            await asyncio.sleep(0)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
    await h.holds("blob", data)


@promise()
async def errors_tell_where(h: Harness) -> None:
    """An error carries the operation, the store and the name."""
    with refused(NotFoundError, "head of nothing") as caught:
        await h.head("never")
    error = caught.error
    same(
        (error.operation, error.store, error.name),
        ("head", h.backend.store, h.name("never")),
        "where head failed",
    )
    with refused(NotFoundError, "get of nothing") as caught:
        await h.read("never")
    error = caught.error
    same(
        (error.operation, error.store, error.name),
        ("get", h.backend.store, h.name("never")),
        "where get failed",
    )


@promise()
async def a_store_has_a_name_and_limits(h: Harness) -> None:
    """The backend tells its store's name and what fits, and takes names of 1,024 bytes."""
    holds_true(bool(h.backend.store), "the store has no name")
    holds_true(h.backend.limits.max_name_bytes >= 1024, "names of 1,024 bytes do not fit")
    holds_true(isinstance(h.backend.capabilities, Capability), "the capabilities are no Capability")
