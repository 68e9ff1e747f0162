"""Reading back what blobs say of themselves: of one, or of all that a store holds."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from holdfast.core.backend import Backend, Store
from holdfast.core.errors import CorruptedError, NotFoundError
from holdfast.core.names import ABOUT
from holdfast.core.types import BlobInfo, Origin
from holdfast.layers.base import Layer, closed_after
from holdfast.layers.describing import LONGEST, Describing, has_room
from holdfast.layers.origin_text import origin_of, understand

__all__ = ["everything", "lonely", "origin_of", "origins", "read_origin"]

_BLOB: Final = 1
_RECORD: Final = 2


async def read_origin(backend: Backend, name: str) -> Origin | None:
    """Return what the blob `name` says it is; None when it says nothing.

    A record goes before metadata, which a copy inside the store has from its source.

    Raises:
        NotFoundError: there is no such blob. CorruptedError: its record is none that can be read.
    """
    info = await backend.head(name)
    told = await _recorded(backend, name) if has_room(name) else None
    return told or origin_of(info)


async def origins(store: Store, prefix: str = "") -> AsyncGenerator[tuple[str, Origin | None], None]:
    """Yield the name of every blob in `store`, each once, and what it says it is; nearly in byte order.

    It costs the listing and one call for each blob. Encrypted ones are read through the sealed face.
    """
    async with aclosing(_paired(store.backend, prefix)) as found:
        async for name, there in found:
            if not there & _BLOB:
                continue
            face = store.for_blob(name)
            told = await _recorded(face, name) if there & _RECORD else None
            if told is None:
                try:
                    told = origin_of(await face.head(name))
                except NotFoundError:  # it went meanwhile
                    continue
            yield name, told


async def lonely(store: Store, prefix: str = "") -> AsyncGenerator[str, None]:
    """Yield the names of blobs that are not there but have a record: their puts have not ended, or were never swept."""
    async with aclosing(_paired(store.backend, prefix)) as found:
        async for name, there in found:
            if there == _RECORD:
                yield name


async def _paired(backend: Backend, prefix: str) -> AsyncGenerator[tuple[str, int], None]:
    """Yield each name, and which of blob and record are there. Only names that begin alike are held at a time."""
    waiting: list[str] = []
    async with closed_after(everything(backend, prefix)) as items:
        async for info in items:
            name = info.name
            while (
                waiting and waiting[-1] + ABOUT < name
            ):  # of names that begin alike the longest is due first
                yield waiting.pop(), _BLOB
            if not name.endswith(ABOUT):
                waiting.append(name)
                continue
            blob = name.removesuffix(ABOUT)
            if blob in waiting:
                waiting.remove(blob)
                yield blob, _BLOB | _RECORD
            else:
                yield blob, _RECORD
    while waiting:
        yield waiting.pop(), _BLOB


def everything(backend: Backend, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
    """List with the records, in byte order: from below the layer that hides them."""
    layer = backend
    while isinstance(layer, Layer):
        if isinstance(layer, Describing):
            return layer.inner.list(prefix, after=after)
        layer = layer.inner
    return backend.list(prefix, after=after)


async def _recorded(backend: Backend, name: str) -> Origin | None:
    """Return what the record of `name` says; None when there is none, or one of a form that is not known here."""
    try:
        async with backend.get(name + ABOUT) as reader:
            if reader.span.length > LONGEST:
                raise CorruptedError(
                    f"a description has at most {LONGEST} bytes, this one {reader.span.length}",
                    operation="get",
                    store=backend.store,
                    name=name + ABOUT,
                )
            line = await reader.read()
    except NotFoundError:
        return None
    return understand(line.decode("ascii", "replace"))
