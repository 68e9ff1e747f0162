"""What the stores of this family have in common: what they tell of themselves, and the uploads that were left open."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator

from holdfast.backends.object_store import listing, multipart
from holdfast.backends.object_store.control import Caller
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.foreign import Foreign
from holdfast.backends.object_store.keys import Names, OwnKeys
from holdfast.core.adopted import is_foreign
from holdfast.core.backend import Capability, Limits
from holdfast.core.clock import Environment
from holdfast.core.errors import (
    NotFoundError,
    UnsupportedError,
)
from holdfast.core.types import BlobInfo


class Told:
    """A store that knows from the start what it offers."""

    _store: str
    _capabilities: Capability
    _limits: Limits

    @property
    def store(self) -> str:
        return self._store

    @property
    def capabilities(self) -> Capability:
        return self._capabilities

    @property
    def limits(self) -> Limits:
        return self._limits


class Bucket(Told, ABC):
    """A bucket, or one folder of it, at a server that speaks the XML of S3."""

    _client: Caller
    _environment: Environment
    _foreign: Foreign
    _names: Names
    _prefix: str
    _bucket_seen = False

    def as_found(self) -> None:
        """From now on take keys as they are, for objects that others write and read: no grammar, no mark at the end.

        A server that keeps folders on a disk then cannot hold `a` beside `a/b`.
        """
        self._names = OwnKeys(self._prefix)

    @abstractmethod
    async def _remove(self, where: Where) -> None:
        """Delete the blob; one that is not there is fine."""

    async def discard(self, name: str) -> None:
        """Remove `name`, and abort multipart uploads of it that a killed process left open; of others' blobs only delete."""
        if is_foreign(name):
            await self._foreign.delete(name)
            return
        where, key = Where("delete", self._store, name), self._names.key(name)
        await self._remove(where)
        open_ = [found async for found in listing.uploads(self._client, where, key) if found.key == key]
        for found in open_:
            await multipart.abort(self._client, where, key, found.upload_id)

    async def abort_stale_uploads(self, older_than: int) -> int:
        """Abort multipart uploads of this store that began more than `older_than` seconds ago; return how many.

        A killed process leaves such uploads behind, invisible, for ever and paid for.
        """
        where = Where("abort", self._store)
        limit = self._environment.clock.now() - older_than * 1_000_000
        stale = [
            found
            async for found in listing.uploads(self._client, where, self._prefix)
            if 0 < found.initiated < limit
        ]
        for found in stale:
            await multipart.abort(self._client, where, found.key, found.upload_id)
        return len(stale)

    async def _explain(self, where: Where, error: Exception) -> None:
        """Raise the true reason of a refused HEAD, whose answer cannot carry one: wrong keys, no such bucket."""
        if isinstance(error, NotFoundError) and self._bucket_seen:
            return
        self._bucket_seen |= await listing.bucket_answers(self._client, where, self._prefix)


async def named(
    pages: AsyncIterator[list[BlobInfo]], names: Names, where: Where, *, after: str, remedy: str
) -> AsyncGenerator[BlobInfo, None]:
    """Yield the blobs greater than `after` that a store lists by their keys.

    Raises:
        UnsupportedError: the store does not list in byte order; `remedy` says what to do about it.
    """
    last = ""
    async for page in pages:
        for info in page:
            if info.name < last:
                raise UnsupportedError(
                    f"the store does not list in byte order; {remedy}",
                    operation=where.operation,
                    store=where.store,
                )
            last = info.name
            name = names.name(info.name)
            if name > after:
                yield BlobInfo(name, info.size, info.modified, info.etag)
