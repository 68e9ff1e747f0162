"""Blobs in the memory of this process: the reference that every other backend is compared with. For tests and trials."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

from holdfast.core.adopted import foreign_name, is_foreign, is_kept, key_of, parse_foreign
from holdfast.core.backend import NO_OPTIONS, Backend, Capability, Limits, PutOptions, SignedUrl
from holdfast.core.body import CHUNK, Body, Reader
from holdfast.core.clock import Environment
from holdfast.core.errors import (
    AlreadyExistsError,
    NotFoundError,
    QuotaExceededError,
    TooLargeError,
    UnsupportedError,
)
from holdfast.core.names import check_blob_name
from holdfast.core.types import BlobInfo, ByteRange, Span


class MemorySettings(BaseModel):
    """What can be said about a memory store."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_bytes: int | None = Field(
        default=None, ge=0, description="How many bytes all blobs may have together."
    )
    max_blob_size: int | None = Field(default=None, ge=0, description="How many bytes one blob may have.")
    latency: float = Field(default=0.0, ge=0, description="Seconds that every call waits first; for trials.")


@dataclass(frozen=True, slots=True)
class _Blob:
    data: bytes
    modified: int
    serial: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    content_type: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)

    def info(self, name: str) -> BlobInfo:
        told = (self.content_type, self.tags) if is_foreign(name) else ()
        return BlobInfo(name, len(self.data), self.modified, f"{self.serial:x}", self.metadata, *told)


def open_memory(name: str, settings: MemorySettings, *, environment: Environment) -> MemoryBackend:
    """Return an empty store called `name`."""
    return MemoryBackend(name, settings, environment=environment)


class MemoryBackend:
    """A `Backend` over a dict. A blob becomes visible in one assignment, so each verb is atomic."""

    capabilities = (
        Capability.RANGE | Capability.IF_ABSENT | Capability.METADATA | Capability.COPY | Capability.ADOPT
    )
    in_process = True  #: blobs are in this process: memory cannot stay flat

    def __init__(
        self, name: str, settings: MemorySettings | None = None, *, environment: Environment | None = None
    ) -> None:
        self.store = name
        self._settings = settings or MemorySettings()
        self._environment = environment or Environment()
        self.limits = Limits(max_blob_size=self._settings.max_blob_size)
        self._blobs: dict[str, _Blob] = {}
        self._names: list[str] = []
        self._held = 0
        self._serial = 0

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Keep all of `body`; see `Backend.put`."""
        key = _checked(name)
        await self._wait()
        data = await self._gather(name, body)
        if if_absent and key in self._blobs:
            raise AlreadyExistsError(
                "a blob with that name is there", operation="put", store=self.store, name=name
            )
        return self._keep(name, data, options)

    def get(self, name: str, *, range: ByteRange | None = None) -> AbstractAsyncContextManager[Reader]:
        """Read what was there on entering, whatever happens to the name meanwhile; see `Backend.get`."""
        return self._get(name, range)

    @asynccontextmanager
    async def _get(self, name: str, wish: ByteRange | None) -> AsyncIterator[Reader]:
        await self._wait()
        blob = self._find(name, "get")
        size = len(blob.data)
        span = Span(0, size) if wish is None else wish.resolve(size)

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(span.offset, span.end, CHUNK):
                yield blob.data[start : min(start + CHUNK, span.end)]

        yield Reader(blob.info(name), span, chunks())

    async def head(self, name: str) -> BlobInfo:
        """Return what is known of `name`; see `Backend.head`."""
        await self._wait()
        return self._find(name, "head").info(name)

    async def delete(self, name: str) -> None:
        """Forget `name`; see `Backend.delete`."""
        key = _checked(name)
        await self._wait()
        if not self._has(name) or is_kept(name):
            return
        self._held -= len(self._blobs.pop(key).data)
        del self._names[bisect_right(self._names, key) - 1]

    async def discard(self, name: str) -> None:
        """Remove `name`: a put that did not end leaves nothing else here."""
        await self.delete(name)

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncIterator[BlobInfo]:
        """Yield in byte order; blobs that come or go meanwhile may or may not be seen."""
        await self._wait()
        foreign = is_foreign(prefix)
        if foreign:
            prefix, after = key_of(prefix), key_of(after)
        last = after if after >= prefix else ""
        while True:
            index = bisect_right(self._names, last) if last else self._first(prefix)
            if index >= len(self._names) or not self._names[index].startswith(prefix):
                return
            last = self._names[index]
            blob = self._blobs[last].info(last)
            if foreign:  # what only `head` tells is left out, as elsewhere
                blob = BlobInfo(foreign_name(last), blob.size, blob.modified, blob.etag)
            yield blob

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Make `target` the same bytes and metadata as `source`; see `Backend.copy`."""
        check_blob_name(target)
        await self._wait()
        blob = self._find(source, "copy")
        return self._keep(target, blob.data, PutOptions(metadata=blob.metadata))

    def can_copy_from(self, other: Backend) -> bool:
        """Tell whether `other` is in the memory of this process, too."""
        return isinstance(other, MemoryBackend)

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        """Make `target` the same bytes and metadata as `source` of `other`; see `CopierFrom.copy_from`."""
        assert isinstance(other, MemoryBackend)
        check_blob_name(target)
        await self._wait()
        blob = other._find(source, "copy")
        return self._keep(target, blob.data, PutOptions(metadata=blob.metadata))

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        """Raise `UnsupportedError`: memory has no URL."""
        raise UnsupportedError("a memory store has no URLs", operation="presign", store=self.store, name=name)

    async def close(self) -> None:
        """Return at once; what is held stays until the backend is dropped."""

    async def _wait(self) -> None:
        if self._settings.latency:
            await self._environment.clock.sleep(self._settings.latency)

    async def _gather(self, name: str, body: Body) -> bytes:
        parts, size, limit = [], 0, self._settings.max_blob_size
        async for chunk in body.chunks():
            size += len(chunk)
            if limit is not None and size > limit:
                raise TooLargeError(f"more than {limit} bytes", operation="put", store=self.store, name=name)
            parts.append(bytes(chunk))
        return b"".join(parts)

    def _keep(self, name: str, data: bytes, options: PutOptions) -> BlobInfo:
        key = _checked(name)
        old = self._blobs.get(key)
        held = self._held + len(data) - (len(old.data) if old else 0)
        if self._settings.max_bytes is not None and held > self._settings.max_bytes:
            raise QuotaExceededError("the memory store is full", operation="put", store=self.store, name=name)
        if old is None:
            insort(self._names, key)
        self._serial += 1
        self._held = held
        now, told = self._environment.clock.now(), (options.content_type, dict(options.tags))
        blob = self._blobs[key] = _Blob(data, now, self._serial, dict(options.metadata), *told)
        return blob.info(name)

    def _find(self, name: str, operation: str) -> _Blob:
        if not self._has(name):
            raise NotFoundError("there is no such blob", operation=operation, store=self.store, name=name)
        return self._blobs[_checked(name)]

    def _has(self, name: str) -> bool:
        """Tell whether the name is there; one that says a content only if it still has that."""
        blob = self._blobs.get(_checked(name))
        pin = parse_foreign(name).pin if is_foreign(name) else ""
        return blob is not None and pin in ("", f"{blob.serial:x}")

    def _first(self, prefix: str) -> int:
        index = bisect_right(self._names, prefix)
        return index - 1 if index and self._names[index - 1] == prefix else index


def _checked(name: str) -> str:
    """Return the key of `name`, which begins with `@` for what others wrote."""
    return parse_foreign(name).key if is_foreign(name) else check_blob_name(name)
