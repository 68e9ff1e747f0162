"""One folder of one Yandex.Disk as a `Backend`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from holdfast.backends._http import Http, whole
from holdfast.backends.yandex_disk import listing
from holdfast.backends.yandex_disk.api import Api
from holdfast.backends.yandex_disk.errors import Where
from holdfast.backends.yandex_disk.folders import Folders, Seen
from holdfast.backends.yandex_disk.paths import Paths, join, parent
from holdfast.backends.yandex_disk.reading import Opening, Source
from holdfast.backends.yandex_disk.resources import look
from holdfast.backends.yandex_disk.settings import YandexDiskSettings
from holdfast.backends.yandex_disk.writing import Writer
from holdfast.core.backend import NO_OPTIONS, Backend, Capability, Limits, PutOptions, Room, SignedUrl
from holdfast.core.body import Body, Reader
from holdfast.core.clock import Environment
from holdfast.core.errors import InvalidRequestError, TooLargeError, UnavailableError, UnsupportedError
from holdfast.core.names import MAX_BLOB_NAME_BYTES, check_blob_name
from holdfast.core.types import BlobInfo, ByteRange

_FRESH: Final = 300.0  #: seconds for which the limits of the account are taken as they were
_SMALL: Final = 64 << 20  #: no account's limit for a file is lower


@dataclass(frozen=True, slots=True)
class DiskRoom(Room):
    """How much the Disk holds, in bytes. What lies in the trash is used too, until it is emptied."""

    trash: int
    max_file_size: int | None


class YandexDiskBackend:
    """One folder of one account's Disk. Make it with `open_yandex_disk`."""

    def __init__(
        self,
        store: str,
        settings: YandexDiskSettings,
        *,
        api: Api,
        downloads: Http,
        environment: Environment,
    ) -> None:
        self._store, self._settings, self._api = store, settings, api
        self._downloads, self._environment = downloads, environment
        self._paths = Paths(settings.root)
        seen = Seen(environment.clock, size=settings.directory_cache_size, ttl=settings.directory_cache_ttl)
        self._folders = Folders(api, seen)
        self._writer = Writer(api, self._paths, self._folders)
        self._uploads = asyncio.Semaphore(settings.upload_concurrency)
        self._room: DiskRoom | None = None
        self._room_until = 0.0
        self._closed = False
        self._capabilities = Capability.RANGE | Capability.COPY | Capability.FOLDERS
        if settings.conditional_writes:
            self._capabilities |= Capability.IF_ABSENT

    @property
    def store(self) -> str:
        return self._store

    @property
    def capabilities(self) -> Capability:
        return self._capabilities

    @property
    def limits(self) -> Limits:
        """What fits. How large a file may be is the account's to say, and not known before it was asked."""
        most = None if self._room is None else self._room.max_file_size
        return Limits(max_blob_size=most, max_name_bytes=MAX_BLOB_NAME_BYTES, max_metadata_bytes=0)

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Store `body` in one upload: under a neutral name, compared by size, MD5 and SHA-256, then moved."""
        where = self._where("put", name)
        if if_absent and Capability.IF_ABSENT not in self._capabilities:
            raise where.error(UnsupportedError, "the store cannot put only if absent")
        async with self._uploads:
            limit = await self._limit(body.size)
            if limit is not None and body.size is not None and body.size > limit:
                raise where.error(
                    TooLargeError,
                    f"the body has {body.size} bytes; this account may upload {limit} in one file",
                )
            neutral = self._settings.neutral_names
            found = await self._writer.put(where, body, limit=limit, if_absent=if_absent, neutral=neutral)
        return found.info(name)

    def get(self, name: str, *, range: ByteRange | None = None) -> AbstractAsyncContextManager[Reader]:
        """Open the blob with a fresh link; a whole one is compared with its MD5 while it flows."""
        where = self._where("get", name)
        return Opening(Source(self._api, self._downloads), where, self._paths.blob(name), range)

    async def head(self, name: str) -> BlobInfo:
        """Return what the service knows of the blob; its ETag is the MD5."""
        where = self._where("head", name)
        return (await look(self._api, where, self._paths.blob(name))).info(name)

    async def delete(self, name: str) -> None:
        """Remove the blob, into the trash if the settings say so; succeeds when it is not there.

        Its folder stays, also when it is empty: the service cannot remove a folder only if nothing is in it.
        """
        await self._writer.remove(self._where("delete", name), self._paths.blob(name))

    async def discard(self, name: str) -> None:
        """Remove the blob, and what puts of it that never ended left beside it."""
        where = self._where("discard", name)
        path = self._paths.blob(name)
        await self._writer.remove(where, path)
        start = self._paths.left_over(name)
        for child in await listing.children(self._api, where, parent(path)):
            if child.kind == "file" and child.name.startswith(start):
                await self._writer.remove(where, join(parent(path), child.name))

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        """Yield the blobs, folder by folder; the names of one folder are held in memory."""
        where = Where("list", self._store)
        async for info in listing.blobs(self._api, where, self._paths, prefix, after):
            yield info

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Copy inside the Disk, compare, then move to the last name."""
        where = self._where("copy", target)
        return (await self._writer.copy(where, self._paths.blob(source))).info(target)

    def can_copy_from(self, other: Backend) -> bool:
        """Tell whether `other` is in the same Disk: the same grant is given for both, which is of one account."""
        return isinstance(other, YandexDiskBackend) and self._settings.grant == other._settings.grant

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        """Have the service copy it from another folder of the Disk; see `copy`."""
        assert isinstance(other, YandexDiskBackend)
        where = self._where("copy", target)
        return (await self._writer.copy(where, other._paths.blob(source))).info(target)

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        """Raise `UnsupportedError`: the service's links end when it likes, and what it publishes does not end."""
        raise self._where("presign", name).error(UnsupportedError, "the store does not sign URLs")

    async def make_folder(self, name: str) -> bool:
        """Make the folder `name` and those above it; return False when it is there already."""
        where = self._where("make_folder", name)
        return await self._folders.make(where, self._paths.folder(check_blob_name(name)), missing=True)

    async def room(self) -> DiskRoom:
        """Return how much room the Disk has and how large a file may be, as the service says now."""
        self._check()
        where = Where("room", self._store)
        answer = await self._api.call(where, "GET", "")
        total, used, trash, most = (
            whole(answer.body.get(one))
            for one in ("total_space", "used_space", "trash_size", "max_file_size")
        )
        if total is None or used is None:
            raise where.error(UnavailableError, "the service does not say how much room there is")
        self._room = DiskRoom(
            total,
            max(0, total - used),
            trash or 0,
            most or None,
        )
        self._room_until = self._environment.clock.monotonic() + _FRESH
        return self._room

    async def close(self) -> None:
        """Wait for what is being removed, then close the connections; safe to call again."""
        if self._closed:
            return
        self._closed = True
        await self._writer.close()
        await self._downloads.close()
        await self._api.close()

    async def _limit(self, size: int | None) -> int | None:
        """Return how large a file may be, asked for when the body may be large."""
        if size is not None and size <= _SMALL:
            return None
        if self._room is None or self._environment.clock.monotonic() >= self._room_until:
            return (await self.room()).max_file_size
        return self._room.max_file_size

    def _where(self, operation: str, name: str) -> Where:
        """Return where we are, when `name` is one that a blob may have."""
        self._check()
        try:
            check_blob_name(name)
        except InvalidRequestError as error:
            raise Where(operation, self._store, name[:80]).error(InvalidRequestError, error.message) from None
        return Where(operation, self._store, name)

    def _check(self) -> None:
        if self._closed:
            raise UnavailableError("the store is closed", store=self._store)
