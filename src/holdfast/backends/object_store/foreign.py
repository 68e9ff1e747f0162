"""Objects that others put into a bucket, by their own keys, with requests of our own: the library rewrites some keys."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from holdfast.backends.object_store import encryption, listing, metadata, multipart, upload
from holdfast.backends.object_store.control import ControlClient
from holdfast.backends.object_store.errors import Where, unreachable
from holdfast.backends.object_store.ranges import short
from holdfast.backends.object_store.xml import XmlError, parse
from holdfast.core.adopted import Hold, foreign_name, key_of, parse_foreign
from holdfast.core.backend import PutOptions
from holdfast.core.body import CHUNK, Body, Reader
from holdfast.core.clock import Environment
from holdfast.core.errors import InvalidRequestError, NotFoundError, PreconditionFailedError
from holdfast.core.types import EMPTY, BlobInfo, ByteRange, Span

if TYPE_CHECKING:
    import aiohttp

_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_META: Final = "x-amz-meta-"
_MOST: Final = 1024  #: bytes of a key


class Foreign:
    """The verbs of a bucket for names that begin with `@` (see `core.adopted`)."""

    def __init__(self, store: str, client: ControlClient, environment: Environment) -> None:
        self._store = store
        self._client = client
        self._settings = client.settings
        self._environment = environment

    def key(self, name: str) -> str:
        """Return the key of the bucket that `name` means."""
        return self._of("head", name)[1]

    async def head(self, name: str) -> BlobInfo:
        """Return what is known of it, tags included where the store counts them."""
        where, key = self._of("head", name)
        answer = await self._client.call(where, "HEAD", key, headers=encryption.key_headers(self._settings))
        info = _info(name, answer.headers)
        self._check_pin(where, info.etag)
        if answer.headers.get("x-amz-tagging-count", "0") not in ("", "0"):
            info = BlobInfo(
                *(name, info.size, info.modified, info.etag, info.metadata, info.content_type),
                await self._tags(where, key),
            )
        return info

    @asynccontextmanager
    async def get(self, name: str, wish: ByteRange | None) -> AsyncIterator[Reader]:
        """Open it; one answer holds all bytes, so they are those of one content."""
        where, key = self._of("get", name)
        pin = parse_foreign(name).pin
        headers = encryption.key_headers(self._settings)
        if pin:
            headers["if-match"] = f'"{pin}"'
        if wish is not None:
            wish = await self._checked(wish, name)
            headers["range"] = f"bytes={wish.start}-{'' if wish.end is None else wish.end}"
        try:
            async with self._client.open(where, key, headers) as response:
                reader = self._reader(where, name, wish, response)
                try:
                    yield reader
                finally:
                    await reader.chunks.aclose()  # type: ignore[attr-defined]  # ours is a generator
        except PreconditionFailedError as error:
            raise _changed(where) from error

    def _reader(
        self, where: Where, name: str, wish: ByteRange | None, response: aiohttp.ClientResponse
    ) -> Reader:
        headers = {key.lower(): value for key, value in response.headers.items()}
        self._check_pin(where, headers.get("etag", "").strip('"'))
        size, span = _answered(where, headers)
        if span != (Span(0, size) if wish is None else wish.resolve(size)):
            raise short("the store sent another range than it was asked for", where)
        info = _info(name, headers | {"content-length": str(size)})
        return Reader(info, span, _chunks(response, span.length, where))

    async def list(self, prefix: str, after: str) -> AsyncGenerator[BlobInfo, None]:
        """Yield what is there, in byte order of its keys, under names without a pin."""
        where, root = Where("list", self._store, prefix), self._settings.prefix
        start, last = root + key_of(prefix), key_of(after)
        pages = listing.objects(self._client, where, start, after=root + last if last else "")
        if not self._settings.server.sorted_listing:
            every = [info async for page in pages for info in page]
            pages = listing.one_page(
                sorted(every, key=lambda info: info.name.encode("utf-8", "surrogateescape"))
            )
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
        if found.hold is Hold.OWN:
            try:
                await self.head(name)
            except NotFoundError:
                return
        await self._client.call(where, "DELETE", key)

    async def put(self, name: str, body: Body, options: PutOptions) -> BlobInfo:
        """Store it under its own key, in parts when it is large."""
        where, key = self._of("put", name)
        if parse_foreign(name).hold is not Hold.ANY:
            raise InvalidRequestError(
                "what was adopted is not written over", operation="put", store=self._store, name=name
            )
        headers = encryption.write_headers(self._settings) | {
            "content-type": metadata.check_content_type(options.content_type)
        }
        headers |= {f"{_META}{label}": value for label, value in metadata.encode(options.metadata).items()}
        if options.tags:
            headers["x-amz-tagging"] = urlencode(options.tags)
        data, body = await upload.gather(body, self._settings.part_size)
        if data is not None:
            answer = await self._client.call(where, "PUT", key, headers=headers, body=data)
            size, etag = len(data), answer.headers.get("etag", "").strip('"')
        else:
            size, etag = await self._put_parts(where, key, body, headers)
        return BlobInfo(name, size, self._environment.clock.now(), etag, dict(options.metadata))

    async def _put_parts(
        self, where: Where, key: str, body: Body, headers: Mapping[str, str]
    ) -> tuple[int, str]:
        server = self._settings.server
        plan = upload.plan(
            body.size,
            part_size=self._settings.part_size,
            concurrency=self._settings.upload_concurrency,
            server=server,
        )
        feed = upload.Feed(body, limit=min(plan.reach, server.max_object_size))
        work = multipart.Multipart(self._client, where, key)

        async def parts() -> AsyncIterator[Awaitable[None]]:
            number = 0
            async for data in upload.parts(feed, plan.part_size):
                number += 1
                yield work.send(number, data)
                del data  # the next part must not find this one in memory

        try:
            etag = await multipart.run(work, headers, parts(), concurrency=plan.concurrency)
        finally:
            await feed.close()
        return feed.size, etag.strip('"')

    async def _tags(self, where: Where, key: str) -> Mapping[str, str]:
        answer = await self._client.call(where, "GET", key, query=[("tagging", "")])
        try:
            root = parse(answer.body)
        except XmlError:
            return EMPTY
        return {tag.findtext("Key") or "": tag.findtext("Value") or "" for tag in root.iter("Tag")}

    async def _checked(self, wish: ByteRange, name: str) -> ByteRange:
        """Return a range from a known start: servers disagree about suffixes."""
        if wish.start is not None:
            if wish.start < 0 or (wish.end is not None and wish.end < wish.start):
                wish.resolve(0)
            return wish
        span = wish.resolve((await self.head(name)).size)
        return ByteRange(span.offset, span.end - 1)

    def _of(self, operation: str, name: str) -> tuple[Where, str]:
        key = self._settings.prefix + parse_foreign(name).key
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

    def _check_pin(self, where: Where, etag: str | None) -> None:
        pin = parse_foreign(where.name).pin
        if pin and (etag or "") != pin:
            raise _changed(where)


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
    size = listing.size_of(headers.get("content-length", ""), where)
    return size, Span(0, size)


def _info(name: str, headers: Mapping[str, str]) -> BlobInfo:
    told = {key[len(_META) :]: value for key, value in headers.items() if key.startswith(_META)}
    where = Where("head", "", name)
    return BlobInfo(
        name,
        listing.size_of(headers.get("content-length", ""), where),
        _moment(headers.get("last-modified", "")),
        headers.get("etag", "").strip('"') or None,
        metadata.decode(told),
        headers.get("content-type", ""),
    )


def _moment(text: str) -> int:
    try:
        return int(parsedate_to_datetime(text).timestamp() * 1_000_000)
    except (TypeError, ValueError):
        return 0


async def _chunks(response: aiohttp.ClientResponse, length: int, where: Where) -> AsyncGenerator[bytes, None]:
    from aiohttp import ClientError

    seen = 0
    try:
        async for chunk in response.content.iter_chunked(CHUNK):
            seen += len(chunk)
            yield chunk
    except (ClientError, TimeoutError, OSError) as error:
        raise unreachable(error, where) from error
    if seen != length:
        raise short(f"the store sent {seen} of {length} bytes", where)
