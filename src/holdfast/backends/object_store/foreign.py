"""Objects that others put into a bucket, by their own keys, with requests of our own: the library rewrites some keys.

What all services have in common is here. Each says how it is asked, told and listed, in a class of its own.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Final

from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.listing import rfc_time, size_of
from holdfast.backends.object_store.ranges import short, streamed
from holdfast.core.adopted import Hold, foreign_name, key_of, parse_foreign
from holdfast.core.backend import PutOptions
from holdfast.core.body import Body, Reader
from holdfast.core.clock import Environment
from holdfast.core.errors import (
    HoldfastError,
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
    UnavailableError,
)
from holdfast.core.types import EMPTY, BlobInfo, ByteRange, Span

if TYPE_CHECKING:
    import aiohttp

_RANGE: Final = re.compile(r"bytes (\d+)-(-1|\d+)/(\d+)")  #: Azurite says `0--1/0` of what is empty
_MOST: Final = 1024  #: bytes of a key


class Foreign(ABC):
    """The verbs of a bucket for names that begin with `@` (see `core.adopted`). A pin is the ETag without its quotes."""

    _bucket_seen = False  #: whether the bucket has told that it is there

    def __init__(self, store: str, prefix: str, environment: Environment) -> None:
        self._store = store
        self._prefix = prefix
        self._environment = environment

    # -- what each service does in its own way

    @abstractmethod
    async def _look(self, where: Where, key: str) -> Mapping[str, str]:
        """Return the headers, with lower-case names, that tell of `key`; `NotFoundError` when there is no such object."""

    @abstractmethod
    def _metadata(self, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return the user metadata among `headers`."""

    async def _tags(self, where: Where, key: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return the tags of `key`, of which `headers` tell; none where the service has no tags."""
        return EMPTY

    @abstractmethod
    def _open(
        self, where: Where, key: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Ask for the content of `key` with `headers`, and give the answer with its body still to be read."""

    @abstractmethod
    def _pages(self, where: Where, start: str, after: str) -> AsyncGenerator[list[BlobInfo], None]:
        """Yield what has a key that begins with `start` and is greater than `after`, by key, in byte order."""

    @abstractmethod
    async def _remove(self, where: Where, key: str, pin: str) -> None:
        """Delete `key`, with a `pin` only that content; `NotFoundError`, `PreconditionFailedError` when it is not there."""

    @abstractmethod
    async def _send(self, where: Where, key: str, body: Body, options: PutOptions) -> tuple[int, str | None]:
        """Store `body` under `key`, in parts when it is large, and return its size and its ETag without quotes."""

    async def _bucket_answers(self, where: Where) -> bool:
        """Raise what is wrong with the bucket where the answer to a HEAD does not say it; tell whether it is there."""
        return True

    # -- what all do

    def key(self, name: str) -> str:
        """Return the key of the bucket that `name` means."""
        return self._of("head", name)[1]

    async def head(self, name: str) -> BlobInfo:
        """Return what is known of it, tags included where the service has some."""
        headers = await self.headers(name)
        info = self._told(name, headers)
        tags = await self._tags(*self._of("head", name), headers)
        return BlobInfo(
            *(name, info.size, info.modified, info.etag, info.metadata, info.content_type), tags=tags
        )

    async def headers(self, name: str) -> Mapping[str, str]:
        """Return what the service tells of it; `NotFoundError` also when it has another content by now.

        Raises:
            UnavailableError: the service refuses to say, as S3 does to keys that have ended: it may be there or not.
        """
        where, key = self._of("head", name)
        try:
            headers = await self._look(where, key)
        except NotFoundError:
            self._bucket_seen = self._bucket_seen or await self._bucket_answers(where)
            raise
        except InvalidRequestError:
            raise await self._refusal(where, key) from None
        self._bucket_seen = True
        self._check_pin(where, headers)
        return headers

    async def _refusal(self, where: Where, key: str) -> HoldfastError:
        """Return why a HEAD was refused, which its answer cannot say: that to a request for a byte does."""
        why = "it refuses to tell of it"
        try:
            async with self._open(where, key, {"range": "bytes=0-0"}):
                pass
        except InvalidRequestError as error:
            why = error.message
        except HoldfastError as error:
            return error
        return UnavailableError(
            f"the store does not say whether it is there: {why}",
            operation=where.operation,
            store=where.store,
            name=where.name,
        )

    @asynccontextmanager
    async def get(self, name: str, wish: ByteRange | None) -> AsyncIterator[Reader]:
        """Open it; one answer holds all bytes, so they are those of one content."""
        where, key = self._of("get", name)
        pin, headers = parse_foreign(name).pin, dict[str, str]()
        if pin:
            headers["if-match"] = f'"{pin}"'
        if wish is not None:
            wish = await self._checked(wish, name)
            headers["range"] = f"bytes={wish.start}-{'' if wish.end is None else wish.end}"
        try:
            async with self._open(where, key, headers) as response:
                reader = self._reader(where, name, wish, response)
                try:
                    yield reader
                finally:
                    await reader.chunks.aclose()  # type: ignore[attr-defined]  # ours is a generator
        except PreconditionFailedError as error:
            raise _changed(where) from error

    async def list(self, prefix: str, after: str) -> AsyncGenerator[BlobInfo, None]:
        """Yield what is there, in byte order of its keys, under names without a pin."""
        where, root = Where("list", self._store, prefix), self._prefix
        start, last = root + key_of(prefix), key_of(after)
        async with aclosing(self._pages(where, start, root + last if last else "")) as pages:
            async for page in pages:
                for info in page:
                    name = foreign_name(info.name[len(root) :])
                    yield BlobInfo(name, info.size, info.modified, info.etag)

    async def delete(self, name: str) -> None:
        """Remove it; under a pin only if it still has that content, and never if it is somebody else's."""
        where, key = self._of("delete", name)
        found = parse_foreign(name)
        if found.hold is Hold.KEEP:
            return
        try:
            await self._remove(where, key, found.pin)
        except (NotFoundError, PreconditionFailedError):
            return

    async def put(self, name: str, body: Body, options: PutOptions) -> BlobInfo:
        """Store it under its own key, in parts when it is large."""
        where, key = self._of("put", name)
        if parse_foreign(name).hold is not Hold.ANY:
            raise InvalidRequestError(
                "what was adopted is not written over", operation="put", store=self._store, name=name
            )
        size, etag = await self._send(where, key, body, options)
        return BlobInfo(name, size, self._environment.clock.now(), etag, dict(options.metadata))

    def _told(self, name: str, headers: Mapping[str, str]) -> BlobInfo:
        return BlobInfo(
            name,
            size_of(headers.get("content-length", ""), Where("head", self._store, name)),
            rfc_time(headers.get("last-modified", "")),
            _etag(headers) or None,
            self._metadata(headers),
            headers.get("content-type", ""),
        )

    def _reader(
        self, where: Where, name: str, wish: ByteRange | None, response: aiohttp.ClientResponse
    ) -> Reader:
        headers = {key.lower(): value for key, value in response.headers.items()}
        self._check_pin(where, headers)
        size, span = _answered(where, headers)
        if span != (Span(0, size) if wish is None else wish.resolve(size)):
            raise short("the store sent another range than it was asked for", where)
        info = self._told(name, headers | {"content-length": str(size)})
        return Reader(info, span, streamed(response, span.length, where))

    async def _checked(self, wish: ByteRange, name: str) -> ByteRange:
        """Return a range from a known start: servers disagree about suffixes."""
        if wish.start is not None:
            if wish.start < 0 or (wish.end is not None and wish.end < wish.start):
                wish.resolve(0)
            return wish
        span = wish.resolve(self._told(name, await self.headers(name)).size)
        return ByteRange(span.offset, span.end - 1)

    def _of(self, operation: str, name: str) -> tuple[Where, str]:
        key = self._prefix + parse_foreign(name).key
        try:
            length = len(key.encode())
        except UnicodeEncodeError:
            length = 0
        if not 0 < length <= _MOST:
            raise InvalidRequestError(
                "the key has no bytes, more than 1,024, or is no UTF-8",
                operation=operation,
                store=self._store,
                name=name,
            )
        return Where(operation, self._store, name), key

    def _check_pin(self, where: Where, headers: Mapping[str, str]) -> None:
        pin = parse_foreign(where.name).pin
        if pin and _etag(headers) != pin:
            raise _changed(where)


def _etag(headers: Mapping[str, str]) -> str:
    return headers.get("etag", "").strip('"')


def _changed(where: Where) -> NotFoundError:
    return NotFoundError(
        "what was adopted under this key is gone: another content has it now",
        operation=where.operation,
        store=where.store,
        name=where.name,
    )


def _answered(where: Where, headers: Mapping[str, str]) -> tuple[int, Span]:
    """Return the size of the whole object, and which part of it the answer holds."""
    said = headers.get("content-range", "")
    if said:
        found = _RANGE.fullmatch(said)
        if found is None:
            raise short("the store says a range that is none", where)
        first, last, size = (int(part) for part in found.groups())
        return size, Span(first, last - first + 1)
    size = size_of(headers.get("content-length", ""), where)
    return size, Span(0, size)
