"""A small blob read at once, whatever its backend offers; see `core.backend.Fetcher`."""

from __future__ import annotations

from holdfast.core.backend import Backend
from holdfast.core.body import Reader
from holdfast.core.errors import CorruptedError, UnavailableError


class OtherSizeError(CorruptedError):
    """A blob has another size than it should have: asked again, it has it still."""

    retryable = False


async def fetched(backend: Backend, name: str, size: int) -> bytes:
    """Return all of `name`, a small blob of `size` bytes. Raises what `Fetcher.fetch` does."""
    fetch = getattr(backend, "fetch", None)
    data: bytes = await (opened(backend, name, size) if fetch is None else fetch(name, size))
    return data


async def opened(backend: Backend, name: str, size: int) -> bytes:
    """As `fetched`, by opening it: for what has no quicker way.

    Raises:
        UnavailableError: the stream ended early, which tells nothing of the blob.
    """
    async with backend.get(name) as reader:
        if reader.info.size != size:
            raise other_size(backend.store, name, reader.info.size, size)
        return whole(await _read(reader, size), backend.store, name, size)


async def _read(reader: Reader, most: int) -> bytes:
    """Return all bytes, or somewhat more than `most`: a stream need not end."""
    if reader.data is not None:
        return reader.data
    parts, left = [], most
    async for chunk in reader:
        parts.append(chunk)
        left -= len(chunk)
        if left < 0:
            break
    return b"".join(parts)


def whole(data: bytes, store: str, name: str, size: int) -> bytes:
    """Return what came of a blob of `size` bytes if it is all of it; raises what `opened` does."""
    if len(data) > size:
        raise other_size(store, name, len(data), size)
    if len(data) < size:
        raise UnavailableError(
            f"the stream ended {size - len(data)} bytes early", operation="get", store=store, name=name
        )
    return data


def other_size(store: str, name: str, found: int, size: int) -> OtherSizeError:
    """Return the error for a blob that has `found` bytes and should have `size`."""
    return OtherSizeError(
        f"the copy has {found} bytes instead of {size}", operation="get", store=store, name=name
    )
