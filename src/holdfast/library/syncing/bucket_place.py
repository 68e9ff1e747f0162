"""Part of a bucket of Holdfast, in this process or on a server: listings tell times, sizes and digests."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from holdfast.core.blobs import Seen
from holdfast.core.body import Body, Meter
from holdfast.core.conditions import NO_CONDITIONS, Preconditions
from holdfast.core.errors import CorruptedError, DigestMismatchError, HoldfastError
from holdfast.core.types import ByteRange, ChecksumType, Digests, Version
from holdfast.library.client import AsyncClient
from holdfast.library.syncing.place import BEHIND, Incoming, folder, metadata_of, noted
from holdfast.library.syncing.tree import Found
from holdfast.policy.syncing import TRASH, Item

_AT_ONCE: Final = 16


class BucketPlace:
    """The objects of a bucket whose keys begin with `prefix`."""

    lists_times = True
    wants_sha256 = True

    def __init__(self, client: AsyncClient, bucket: str, prefix: str, *, identity: str) -> None:
        self._client, self._bucket, self.prefix = client, bucket, folder(prefix)
        self._digesting = ThreadPoolExecutor(2, "holdfast-digest")
        self.identity = f"{identity}/{bucket}/{self.prefix}"

    async def list(self, seen: Seen | None = None) -> AsyncIterator[list[Item]]:
        """See `Place`."""
        marker, more = "", True
        while more:
            page = await self._client.list_page(self._bucket, prefix=self.prefix, marker=marker)
            marker, more = page.next_marker, page.truncated
            batch = [item for item in map(self._item, page.items) if item.key]
            kept = [item for item in batch if not item.key.startswith(TRASH)]
            if batch and batch[-1].key.startswith(TRASH):
                marker = self.prefix + TRASH + BEHIND  # a trash may be larger than what it is the trash of
            yield kept

    def _item(self, version: Version) -> Item:
        mtime, _ = noted(version.metadata)
        seen = version.created * 1000 if mtime is None else mtime
        return Item(
            version.ref.key[len(self.prefix) :], version.size, seen, version.id or version.etag, version
        )

    async def put(self, item: Item, body: Body, *, sha256: bytes | None) -> str:
        """See `Place`."""
        assert isinstance(item.detail, Found)
        key, metadata = self.prefix + item.key, metadata_of(item, item.detail.mode)
        parts = self._client.parts
        if parts is not None and item.size > parts.above:
            made = await self._client.put_file(
                self._bucket, key, Path(item.detail.path), metadata=metadata, resume=True
            )
            return made.id
        if sha256 is not None:
            announced = Digests(sha256=sha256)
            made = await self._client.put(self._bucket, key, body, metadata=metadata, digests=announced)
            return made.id
        meter = Meter({"sha256": hashlib.sha256}, self._digesting)
        made = await self._client.put(self._bucket, key, body.metered(meter), metadata=metadata)
        if made.checksum_type is ChecksumType.FULL_OBJECT and meter.digests.mismatch(made.digests):
            # with its size and its time it would pass for the file in the next run
            await self._client.delete(self._bucket, key, version_id=made.id or None)
            raise DigestMismatchError("the SHA-256 of what is stored is not that of the file; it was removed")
        return made.id

    async def timed(self, item: Item) -> Item:
        """See `Place`."""
        return item

    @asynccontextmanager
    async def get(self, item: Item, offset: int = 0) -> AsyncIterator[Incoming]:
        """See `Place`."""
        assert isinstance(item.detail, Version)
        version = item.detail
        wish = ByteRange(offset) if offset else None
        stream = self._client.stream(self._bucket, version.ref.key, version_id=version.id or None, range=wish)
        async with stream as download:
            if download.version.size != item.size:
                raise CorruptedError("the object was replaced while it was looked at", name=item.key)
            whole = version.checksum_type is ChecksumType.FULL_OBJECT
            _, mode = noted(version.metadata)
            yield Incoming(item, mode, aiter(download), version.digests.sha256 if whole else None)

    def guard(self, item: Item) -> str:
        """See `Place`."""
        return item.detail.etag if isinstance(item.detail, Version) else ""

    def digest_of(self, item: Item) -> tuple[str, str]:
        """See `Place`."""
        version = item.detail
        assert isinstance(version, Version)
        if version.checksum_type is ChecksumType.FULL_OBJECT and version.digests.sha256 is not None:
            return "sha256", version.digests.sha256.hex()
        return "", ""

    async def remove(self, items: Sequence[Item], trash: str) -> AsyncIterator[tuple[Item, Exception | None]]:
        """See `Place`."""
        for start in range(0, len(items), _AT_ONCE):
            some = items[start : start + _AT_ONCE]
            ends = await asyncio.gather(*(self._remove(item, trash) for item in some))
            for item, error in zip(some, ends, strict=True):
                yield item, error

    async def _remove(self, item: Item, trash: str) -> Exception | None:
        key = self.prefix + item.key
        try:
            if trash:
                await self._client.copy((self._bucket, key), (self._bucket, f"{trash}{item.key}"))
            same = Preconditions(if_match=(item.stamp,)) if item.stamp else NO_CONDITIONS
            await self._client.delete(self._bucket, key, conditions=same)
        except HoldfastError as error:
            return error
        return None

    async def close(self) -> None:
        """See `Place`; the client belongs to whoever opened it."""
        self._digesting.shutdown(wait=False)
