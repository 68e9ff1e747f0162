"""What others put there: found by its own key, and one content for as long as its name says so."""

from __future__ import annotations

from holdfast.core.adopted import Hold, foreign_name, key_of
from holdfast.core.backend import Backend, Capability
from holdfast.core.body import Body
from holdfast.core.errors import NotFoundError
from holdfast.core.types import ByteRange
from holdfast.testing.harness import Harness, holds_true, noise, promise, refused, same, same_bytes


@promise(needs=Capability.ADOPT)
async def a_pin_means_one_content(h: Harness) -> None:
    """What others wrote is found by its own key; put, list and head tell one ETag, and under it nothing else is read or deleted."""
    key = h.name("by others/ü=1.txt")
    try:
        await _one_content(h, key)
    finally:
        await h.backend.delete(foreign_name(key))


async def _one_content(h: Harness, key: str) -> None:
    name, old, new = foreign_name(key), noise(100_000, 1), noise(50_000, 2)
    made = await h.backend.put(name, Body.of_bytes(old))
    listed = [info async for info in h.backend.list(foreign_name(h.prefix))]
    same([key_of(info.name) for info in listed], [key], "the listing of what others wrote")
    pin = (await h.backend.head(name)).etag or ""
    holds_true(bool(pin), "head tells no ETag")
    same(
        {listed[0].etag, made.etag or pin}, {pin}, "the ETags of the listing and of put, next to that of head"
    )
    kept, own = (foreign_name(key, pin, hold) for hold in (Hold.KEEP, Hold.OWN))
    same_bytes(await _read(h.backend, own), old, "what is read under its ETag")
    same_bytes(await _read(h.backend, own, ByteRange(None, 9)), old[-9:], "the end of it")
    await h.backend.delete(kept)
    same_bytes(await _read(h.backend, kept), old, "what is somebody else's, after a delete")
    last = (await h.backend.put(name, Body.of_bytes(new))).etag or (await h.backend.head(name)).etag or ""
    for wish in (None, ByteRange(5, 9)):
        with refused(NotFoundError, "get of a content that is gone"):
            await _read(h.backend, own, wish)
    with refused(NotFoundError, "head of a content that is gone"):
        await h.backend.head(own)
    await h.backend.delete(own)
    same_bytes(
        await _read(h.backend, name), new, "what came after it, once the content that is gone was deleted"
    )
    await h.backend.delete(foreign_name(key, last, Hold.OWN))
    with refused(NotFoundError, "head of what was deleted"):
        await h.backend.head(name)


async def _read(backend: Backend, name: str, wish: ByteRange | None = None) -> bytes:
    async with backend.get(name, range=wish) as reader:
        return await reader.read()
