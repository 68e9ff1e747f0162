"""GET and HEAD of an object: the hottest path of the door, so plain and without a framework."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from holdfast.api.conditions import conditions_of, holds_if_range, range_of
from holdfast.api.describe import content_headers, shown_as, version_headers
from holdfast.api.errors import HttpRefusalError
from holdfast.api.exchange import Exchange
from holdfast.api.moments import version_of
from holdfast.api.server.sendfile import SourceError
from holdfast.core.body import FileSlice
from holdfast.core.conditions import Preconditions
from holdfast.core.errors import (
    CorruptedError,
    InvalidRangeError,
    InvalidRequestError,
    PreconditionFailedError,
)
from holdfast.core.types import ByteRange, Version
from holdfast.engine.read import ObjectReader

#: From here on the kernel sends files; below, one write is cheaper.
_FILE: Final = 64 << 10


async def get_object(exchange: Exchange, bucket: str, key: str) -> None:
    """Answer with an object, or the one range of it that was asked for: 200, 206, 304, 404, 412 or 416.

    The bearer of a signed URL may be sent on to the store itself: 307.
    """
    version_id = await version_of(exchange, bucket, key) if exchange.scope["query_string"] else None
    grant = exchange.session.principal.grant
    if grant is not None and (away := await _away(exchange, bucket, key, version_id)):
        headers = [(b"location", away.encode()), (b"cache-control", b"no-store"), (b"content-length", b"0")]
        await exchange.answer(307, headers)
        return
    await send_object(exchange, bucket, key, version_id)


async def head_object(exchange: Exchange, bucket: str, key: str) -> None:
    """Answer with what is known of an object: 200, 304, 404 or 412. Range means nothing here."""
    await describe_object(exchange, bucket, key, await version_of(exchange, bucket, key))


async def _away(exchange: Exchange, bucket: str, key: str, version_id: str | None) -> str | None:
    """Return where to send the reader; None when the object is sent from here, as always when there are conditions."""
    if conditions_of(exchange) or b"if-range" in exchange.headers:
        return None
    inline = _inline(exchange)
    return await exchange.session.location(
        bucket,
        key,
        version_id=version_id,
        describe=lambda version: shown_as(version, inline=inline),
    )


async def send_object(exchange: Exchange, bucket: str, key: str, version_id: str | None) -> None:
    """Answer with the current or a named version of an object, as `get_object` does."""
    conditions = conditions_of(exchange)
    wish = range_of(exchange)
    if wish is not None and b"if-range" in exchange.headers:
        await _get_if_range(exchange, bucket, key, version_id, wish, conditions)
        return
    try:
        await _get(exchange, bucket, key, version_id, wish, conditions)
    except InvalidRangeError as error:
        if wish is None or exchange.begun:
            raise
        version, _ = await exchange.session.head(bucket, key, version_id=version_id)
        total = b"bytes */%d" % version.size
        raise HttpRefusalError(416, error.message, headers=[(b"content-range", total)]) from error


async def describe_object(exchange: Exchange, bucket: str, key: str, version_id: str | None) -> None:
    """Answer with what is known of the current or a named version of an object, as `head_object` does."""
    version, modified = await exchange.session.head(
        bucket, key, version_id=version_id, conditions=conditions_of(exchange)
    )
    if not modified:
        await _not_modified(exchange, version)
        return
    headers = content_headers(version, inline=_inline(exchange))
    await exchange.answer(200, [*headers, (b"content-length", b"%d" % version.size)])
    exchange.sent = 0


async def _get(
    exchange: Exchange,
    bucket: str,
    key: str,
    version_id: str | None,
    wish: ByteRange | None,
    conditions: Preconditions,
) -> None:
    async with exchange.session.get(
        bucket, key, version_id=version_id, range=wish, conditions=conditions
    ) as reader:
        version = reader.version
        if not reader.modified:
            await _not_modified(exchange, version)
            return
        headers = content_headers(version, inline=_inline(exchange))
        headers.append((b"content-length", b"%d" % reader.span.length))
        status = 200
        if wish is not None:
            status = 206
            first, last = reader.span.offset, reader.span.end - 1
            headers.append((b"content-range", b"bytes %d-%d/%d" % (first, last, version.size)))
        await _send(exchange, status, headers, reader)


async def _send(
    exchange: Exchange, status: int, headers: list[tuple[bytes, bytes]], reader: ObjectReader
) -> None:
    """Send the bytes the cheapest way there is: as they are in memory, from the open file, or chunk by chunk."""
    if reader.data is not None:
        await exchange.answer(status, headers, reader.data)
    elif reader.file is not None and exchange.sends_files and reader.file.length >= _FILE:
        await _send_file(exchange, status, headers, reader, reader.file)
    else:
        await _stream(exchange, status, headers, reader)


async def _send_file(
    exchange: Exchange,
    status: int,
    headers: list[tuple[bytes, bytes]],
    reader: ObjectReader,
    file: FileSlice,
) -> None:
    try:
        await exchange.answer_file(status, headers, file)
    except SourceError as error:
        await reader.file_failed()
        raise CorruptedError(f"the copy broke off while it was sent: {error}", operation="get") from error


async def _stream(
    exchange: Exchange, status: int, headers: list[tuple[bytes, bytes]], reader: ObjectReader
) -> None:
    """Send chunk by chunk. The first chunk is had before the status is said, so that a dead store is still a 503."""
    chunks = aiter(reader)
    first = await anext(chunks, b"")
    await exchange.send({"type": "http.response.start", "status": status, "headers": headers})
    await exchange.send({"type": "http.response.body", "body": first, "more_body": True})
    async for chunk in chunks:
        await exchange.send({"type": "http.response.body", "body": chunk, "more_body": True})
    await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})


async def _get_if_range(
    exchange: Exchange,
    bucket: str,
    key: str,
    version_id: str | None,
    wish: ByteRange,
    conditions: Preconditions,
) -> None:
    """Send the range if the object is still the one that If-Range names, else all of it."""
    version, _ = await exchange.session.head(bucket, key, version_id=version_id)
    if not holds_if_range(exchange.header(b"if-range") or "", version):
        await _get(exchange, bucket, key, version_id, None, conditions)
        return
    pinned = conditions if conditions.if_match else replace(conditions, if_match=(version.etag,))
    try:
        await _get(exchange, bucket, key, version_id, wish, pinned)
    except PreconditionFailedError:
        if exchange.begun or pinned is conditions:
            raise
        await _get(exchange, bucket, key, version_id, None, conditions)  # overwritten in between
    except InvalidRangeError as error:
        total = b"bytes */%d" % version.size
        raise HttpRefusalError(416, error.message, headers=[(b"content-range", total)]) from error


async def _not_modified(exchange: Exchange, version: Version) -> None:
    await exchange.answer(304, [*version_headers(version), (b"cache-control", b"private, no-cache")])


def _inline(exchange: Exchange) -> bool:
    if not exchange.scope["query_string"]:
        return False
    wish = exchange.query.get("disposition", "attachment")
    if wish not in ("inline", "attachment"):
        raise InvalidRequestError("disposition is inline or attachment")
    return wish == "inline"
