"""Blobs that say what they are, so that a catalog can be rebuilt from the stores alone.

What a blob is (`PutOptions.origin`) travels as metadata where the store keeps some, and else in a small record beside
it, which is written *before* the blob: a blob without a description cannot be there after a crash. A record without a
blob can; it goes with the `discard` that the engine owes every put that did not end. Records are in no listing.
`holdfast.layers.origins` reads all of this back.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from typing import Final

from holdfast.core.adopted import is_foreign
from holdfast.core.backend import NO_OPTIONS, Backend, Capability, PutOptions
from holdfast.core.body import Body
from holdfast.core.errors import AlreadyExistsError, InvalidRequestError, NotFoundError
from holdfast.core.names import ABOUT, MAX_BLOB_NAME_BYTES, MAX_SEGMENT_BYTES, check_blob_name
from holdfast.core.types import BlobInfo, Origin
from holdfast.layers.base import ALL, Layer, closed_after
from holdfast.layers.origin_text import METADATA, MOST, tell

RECORD_TYPE: Final = "text/plain"
_MOST_ANNOUNCED: Final = 10_000
LONGEST: Final = 8192  #: bytes of a record that are read at most


class Describing(Layer):
    """Adds to each blob what it is. Names that end with `:about` belong to this layer; none that is minted does.

    A name is described once, when its blob is put; blobs never change. One that is so long that the name of a record does
    not fit behind it can be described in metadata only; one that is minted leaves room. With `in_metadata` false the store's metadata is
    left alone and records are written.
    """

    preserves = ALL

    def __init__(self, inner: Backend, *, in_metadata: bool = True) -> None:
        super().__init__(inner)
        self._in_metadata = in_metadata and Capability.METADATA in inner.capabilities
        self._announced: dict[str, None] = {}

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Put, with its description if it has an `origin`."""
        if name.endswith(ABOUT) and not is_foreign(name):
            raise InvalidRequestError(
                f"names that end with {ABOUT!r} are kept for descriptions",
                operation="put",
                store=self.store,
                name=name,
            )
        origin = options.origin
        if origin is None:
            return await super().put(name, body, options=options, if_absent=if_absent)
        check_blob_name(name)
        room = self.limits.max_metadata_bytes - _size(options.metadata)
        text = tell(origin, min(MOST, room))
        if self._in_metadata and len(METADATA) + len(text) <= room:
            metadata = {**options.metadata, METADATA: text}
            options = replace(options, metadata=metadata)
            return await super().put(name, body, options=options, if_absent=if_absent)
        if not has_room(name):
            return await super().put(name, body, options=options, if_absent=if_absent)
        text = tell(origin, LONGEST)
        if if_absent:
            return await self._put_if_absent(name, body, options, text)
        await self._write(name, text)
        return await super().put(name, body, options=options)

    async def _put_if_absent(self, name: str, body: Body, options: PutOptions, text: str) -> BlobInfo:
        """A record that is there already belongs to the blob of that name, or to a put that did not end."""
        self.need(Capability.IF_ABSENT, "put", name)
        try:
            await self._write(name, text, if_absent=True)
        except AlreadyExistsError:
            info = await super().put(name, body, options=options, if_absent=True)
            await self._write(name, text)
            return info
        return await super().put(name, body, options=options, if_absent=True)

    async def describe(self, name: str, origin: Origin) -> None:
        """Say what `name` is before it is made by `copy`, which carries over what its source is."""
        if has_room(check_blob_name(name)):
            await self._write(name, tell(origin, LONGEST))
            self._announced[name] = None
            if (
                len(self._announced) > _MOST_ANNOUNCED
            ):  # what was described for its own sake, and not for a copy
                del self._announced[next(iter(self._announced))]

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Copy; the description goes along, unless `target` was described before."""
        self.need(Capability.COPY, "copy", source)
        try:
            if target not in self._announced and has_room(source) and has_room(target):
                await self._carry(source, target)
            return await super().copy(source, target)
        finally:
            self._announced.pop(target, None)

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        """Copy from another store; `target` was described before."""
        try:
            return await super().copy_from(other, source, target)
        finally:
            self._announced.pop(target, None)

    async def _carry(self, source: str, target: str) -> None:
        try:
            await self.inner.head(source + ABOUT)
        except NotFoundError:
            return
        await self.inner.copy(source + ABOUT, target + ABOUT)

    async def delete(self, name: str) -> None:
        """Delete the blob, then its record: the other way round a crash would leave a blob that says nothing."""
        await super().delete(name)
        if has_room(name) and not is_foreign(name):
            await self.inner.delete(name + ABOUT)

    async def discard(self, name: str) -> None:
        """Discard the blob, then its record."""
        await super().discard(name)
        if has_room(name) and not is_foreign(name):
            await self.inner.discard(name + ABOUT)

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncGenerator[BlobInfo, None]:
        """List the blobs, and no records."""
        async with closed_after(self.inner.list(prefix, after=after)) as items:
            async for info in items:
                if not info.name.endswith(ABOUT) or is_foreign(info.name):
                    yield info

    async def _write(self, name: str, text: str, *, if_absent: bool = False) -> None:
        body, options = Body.of_bytes(text.encode()), PutOptions(RECORD_TYPE, awake=True)
        await self.inner.put(name + ABOUT, body, options=options, if_absent=if_absent)


def has_room(name: str) -> bool:
    """Tell whether the name of a record still fits behind `name`; one that is minted leaves room."""
    leaf = name.rpartition("/")[2]
    return len(name) <= MAX_BLOB_NAME_BYTES - len(ABOUT) and len(leaf) <= MAX_SEGMENT_BYTES - len(ABOUT)


def _size(metadata: Mapping[str, str]) -> int:
    return sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items())
