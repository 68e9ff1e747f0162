"""Bytes on their way out: exactly those that were promised, or an error."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import TracebackType
from typing import Final

from holdfast.backends._http import read_bounded
from holdfast.backends.google_drive.client import Answer, Client
from holdfast.backends.google_drive.errors import Where, failure
from holdfast.backends.google_drive.files import ALL_DRIVES
from holdfast.backends.google_drive.index import Live
from holdfast.core.body import CHUNK, Reader
from holdfast.core.errors import (
    CorruptedError,
    HoldfastError,
    InvalidRangeError,
    NotFoundError,
    UnavailableError,
)
from holdfast.core.types import ByteRange, Span

_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})")
Find = Callable[[Where, str], Awaitable[Live]]
Check = Callable[[Where, Live], Awaitable[None]]


class Opening:
    """The context manager that `get` returns. `find` gives the file of a name, `missing` looks why it is not there."""

    def __init__(
        self, client: Client, where: Where, wish: ByteRange | None, find: Find, missing: Check
    ) -> None:
        self._client, self._where, self._wish = client, where, wish
        self._find, self._missing = find, missing
        self._chunks: AsyncGenerator[bytes, None] | None = None

    async def __aenter__(self) -> Reader:
        where = self._where
        live = await self._find(where, where.name)
        span = Span(0, live.size) if self._wish is None else self._resolved(self._wish, live.size)
        self._chunks = await self._client.patiently(lambda: self._opened(live, span))
        return Reader(live.info(where.name), span, self._chunks)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._chunks is not None:
            await self._chunks.aclose()

    def _resolved(self, wish: ByteRange, size: int) -> Span:
        try:
            return wish.resolve(size)
        except InvalidRangeError as error:
            raise failure(InvalidRangeError, error.message, self._where) from None

    async def _opened(self, live: Live, span: Span) -> AsyncGenerator[bytes, None]:
        """Return the stream, already open, so that what is wrong at its beginning is an error of opening."""
        chunks = _stream(self._client, self._where, live, span)
        try:
            await anext(chunks)
        except NotFoundError:
            await self._missing(self._where, live)
            raise
        return chunks


async def _stream(client: Client, where: Where, live: Live, span: Span) -> AsyncGenerator[bytes, None]:
    """Yield nothing once the stream is open, then its bytes; what breaks it is translated where the exchange is."""
    params = {"alt": "media", **ALL_DRIVES}
    if client.settings.acknowledge_abuse:
        params["acknowledgeAbuse"] = "true"
    part = span.length != live.size
    headers = {"Range": f"bytes={span.offset}-{span.end - 1}"} if part else {}
    url = f"{client.settings.api_base}/files/{live.id}"
    async with client.exchange(where, "GET", url, headers=headers, params=params) as response:
        if response.status not in (200, 206):
            answer = Answer(response.status, dict(response.headers), await read_bounded(response))
            raise _refusal(client, where, answer)
        _check(where, response.status, dict(response.headers), live, span, part)
        yield b""
        seen = 0
        async for chunk in response.content.iter_chunked(CHUNK):
            seen += len(chunk)
            if seen > span.length:
                break
            yield chunk
        if seen != span.length:
            raise failure(UnavailableError, f"Google sent {seen} of {span.length} bytes", where)


def _refusal(client: Client, where: Where, answer: Answer) -> HoldfastError:
    if answer.status == 416:
        return failure(CorruptedError, "the file is not as long as it was when it was written", where)
    return client.judge(where, answer)


def _check(where: Where, status: int, headers: dict[str, str], live: Live, span: Span, part: bool) -> None:
    """Raise when the answer is about another part, or another content, than was asked for."""
    if part:
        match = _RANGE.fullmatch(headers.get("Content-Range", "").strip())
        if status != 206 or match is None:
            raise failure(UnavailableError, "Google did not answer with the part that was asked for", where)
        first, last, size = (int(one) for one in match.groups())
        if (first, last) != (span.offset, span.end - 1) or size != live.size:
            raise failure(CorruptedError, "the file is not as long as it was when it was written", where)
    length = headers.get("Content-Length", "")
    if length.isdigit() and int(length) != span.length:
        raise failure(CorruptedError, "the file is not as long as it was when it was written", where)
