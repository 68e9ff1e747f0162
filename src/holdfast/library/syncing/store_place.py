"""A store without a catalog, or a folder of it: objects are called by their keys, as other programs see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from holdfast.core.blob_info import BlobInfo, Seen
from holdfast.core.errors import CorruptedError, HoldfastError, InvalidRequestError, UnsupportedError
from holdfast.library.syncing.etags import is_md5
from holdfast.library.syncing.opening import Plain
from holdfast.library.syncing.place import BATCH, BEHIND, Incoming, folder, metadata_of, noted
from holdfast.library.syncing.tree import Found
from holdfast.policy.syncing import NANOS, TRASH, Item

if TYPE_CHECKING:
    from holdfast.core.backend import Backend
    from holdfast.core.body import Body

_AT_ONCE: Final = 16


class StorePlace:
    """The objects of `backend` whose names begin with `prefix`. `etags`: whether its ETags are MD5 sums."""

    lists_times = False
    wants_sha256 = False

    def __init__(self, plain: Plain, prefix: str) -> None:
        self._plain, self._etags, self._pages = plain, plain.etags, plain.pages
        self.prefix = folder(prefix)
        self._open: Backend | None = None
        self.identity = f"{plain.identity}/{self.prefix}"

    @property
    def _backend(self) -> Backend:
        """What moves bytes, opened with its first use."""
        if self._open is None:
            found = self._plain.backend
            self._open = found() if callable(found) else found
        return self._open

    async def _infos(self, after: str, seen: Seen | None) -> AsyncGenerator[list[BlobInfo], None]:
        if self._pages is not None:
            async with aclosing(self._pages(self.prefix, after=after, seen=seen)) as pages:
                async for page in pages:
                    yield page
            return
        batch: list[BlobInfo] = []
        async for info in self._backend.list(self.prefix, after=after):
            batch.append(info)
            if len(batch) >= BATCH:
                yield batch
                batch = []
        yield batch

    async def list(self, seen: Seen | None = None) -> AsyncIterator[list[Item]]:
        """See `Place`."""
        after, cut = "", len(self.prefix)
        while True:
            skip = False
            async with aclosing(self._infos(after, seen)) as pages:
                async for page in pages:
                    batch = [
                        Item(info.name[cut:], info.size, None, info.etag or "", info.modified)
                        for info in page
                    ]
                    skip = bool(batch) and batch[-1].key.startswith(TRASH)
                    yield [item for item in batch if item.key and not item.key.startswith(TRASH)]
                    if skip:  # a trash may be larger than what it is the trash of
                        break
            if not skip:
                return
            after, seen = self.prefix + TRASH + BEHIND, None

    async def put(self, item: Item, body: Body, *, sha256: bytes | None) -> str:
        """See `Place`. What arrives is compared by the store: by a signed digest, or a checksum that goes along."""
        # a run that sends nothing need not wait for these
        from holdfast.core.backend import Capability, PutOptions
        from holdfast.policy.media import guess

        assert isinstance(item.detail, Found)
        keeps = Capability.METADATA in self._backend.capabilities
        options = PutOptions(
            guess(item.key) or "application/octet-stream",
            metadata_of(item, item.detail.mode) if keeps else {},
        )
        info = await self._backend.put(self._name(item.key), body, options=options)
        return info.etag or ""

    async def timed(self, item: Item) -> Item:
        """See `Place`."""
        info = await self._backend.head(self._name(item.key))
        mtime, _ = noted(info.metadata)
        return item._replace(mtime=mtime, stamp=info.etag or "", size=info.size)

    @asynccontextmanager
    async def get(self, item: Item, offset: int = 0) -> AsyncIterator[Incoming]:
        """See `Place`."""
        from holdfast.core.blobs import ByteRange

        wish = ByteRange(offset) if offset else None
        async with self._backend.get(self._name(item.key), range=wish) as reader:
            info = reader.info
            if info.size != item.size or (item.stamp and info.etag and info.etag != item.stamp):
                raise CorruptedError("the object was replaced while it was looked at", name=item.key)
            mtime, mode = noted(info.metadata)
            found = item._replace(mtime=info.modified * 1000 if mtime is None else mtime)
            etag = item.stamp if self._etags else ""
            yield Incoming(found, mode, reader.chunks, None, etag)

    def guard(self, item: Item) -> str:
        """See `Place`: a plain store removes unconditionally."""
        return ""

    def digest_of(self, item: Item) -> tuple[str, str]:
        """See `Place`."""
        return ("etag", item.stamp) if self._etags and is_md5(item.stamp) else ("", "")

    async def remove(self, items: Sequence[Item], trash: str) -> AsyncIterator[tuple[Item, Exception | None]]:
        """See `Place`."""
        if not trash and (many := getattr(self._backend, "delete_many", None)) is not None:
            async for told in self._at_once(items, many):
                yield told
            return
        for start in range(0, len(items), _AT_ONCE):
            some = items[start : start + _AT_ONCE]
            ends = await asyncio.gather(*(self._remove(item, trash) for item in some))
            for item, error in zip(some, ends, strict=True):
                yield item, error

    async def _at_once(
        self, items: Sequence[Item], many: Any
    ) -> AsyncIterator[tuple[Item, Exception | None]]:
        try:
            await many([self._name(item.key) for item in items])
            for item in items:
                yield item, None
        except HoldfastError:
            for item in items:  # one by one, to see which it was
                yield item, await self._remove(item, "")

    async def _remove(self, item: Item, trash: str) -> Exception | None:
        name = self._name(item.key)
        try:
            if trash:
                from holdfast.core.backend import Capability

                if Capability.COPY not in self._backend.capabilities:
                    raise UnsupportedError(
                        "the store cannot copy into a trash; remove for good with --no-trash"
                    )
                await self._backend.copy(name, self._named(f"{trash}{item.key}"))
            await self._backend.delete(name)
        except HoldfastError as error:
            return error
        return None

    def _name(self, key: str) -> str:
        return self._named(self.prefix + key)

    def _named(self, name: str) -> str:
        """Return `name` when it is none of those that mean something else to a store."""
        from holdfast.core.adopted import is_foreign

        if is_foreign(name):
            raise InvalidRequestError("it begins like a name that stores keep for adopted objects", name=name)
        return name

    async def close(self) -> None:
        """See `Place`."""
        if self._plain.close is not None:
            await self._plain.close()
        if self._open is not None or not callable(self._plain.backend):
            await self._backend.close()


def modified_second(item: Item) -> int | None:
    """Return the second in which the store took an object, as its listing tells it."""
    return item.detail * 1000 // NANOS if isinstance(item.detail, int) else None
