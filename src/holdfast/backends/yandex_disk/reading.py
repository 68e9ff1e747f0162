"""Bytes on their way out: what the service says that it has, or an error; never a page that was sent instead."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from hashlib import md5
from types import TracebackType
from typing import TYPE_CHECKING, Final

from holdfast.backends._http import Http, read_bounded, retry_after
from holdfast.backends.yandex_disk.api import Api, json_of, passing
from holdfast.backends.yandex_disk.errors import StaleLinkError, Where, code_of, from_answer
from holdfast.backends.yandex_disk.resources import look
from holdfast.core.body import Reader
from holdfast.core.errors import CorruptedError, HoldfastError, InvalidRangeError, UnavailableError
from holdfast.core.types import ByteRange, Span

if TYPE_CHECKING:
    import aiohttp

_LINKS: Final = 3
_HOPS: Final = 5
_PART: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True)
class Source:
    """Where bytes come from: the interface for links, another session for the bytes themselves."""

    api: Api
    http: Http


class Opening:
    """The context manager that `get` returns."""

    def __init__(self, source: Source, where: Where, path: str, range: ByteRange | None) -> None:
        self._source, self._where, self._path, self._range = source, where, path, range
        self._stack = AsyncExitStack()
        self._chunks: AsyncGenerator[bytes, None] | None = None

    async def __aenter__(self) -> Reader:
        try:
            return await self._open()
        except BaseException:
            await self._stack.aclose()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._chunks is not None:
            await self._chunks.aclose()
        await self._stack.aclose()

    async def _open(self) -> Reader:
        """Open with a fresh link; a link that has ended, or that leads to other content, is taken anew."""
        api = self._source.api
        tries, links = 0, 0
        while True:
            try:
                found = await look(api, self._where, self._path)
                span = self._span(found.size)
                response = await self._answer(span, found.size)
                break
            except StaleLinkError:
                await self._stack.aclose()
                links += 1
                if links >= _LINKS:
                    raise
            except HoldfastError as error:
                await self._stack.aclose()
                tries += 1
                if tries > min(api.settings.retries, 2) or not passing(error):
                    raise
                await api.pause(tries, error.retry_after)
        whole = found.md5 if span.length == found.size else ""
        self._chunks = _chunks(response, span, self._where, whole)
        return Reader(found.info(self._where.name), span, self._chunks)

    def _span(self, size: int) -> Span:
        if self._range is None:
            return Span(0, size)
        try:
            return self._range.resolve(size)
        except InvalidRangeError as error:
            raise self._where.error(InvalidRangeError, error.message) from None

    async def _answer(self, span: Span, size: int) -> aiohttp.ClientResponse:
        """Return the answer whose body is the span."""
        api, where = self._source.api, self._where
        link = await api.call(where, "GET", "/resources/download", {"path": self._path})
        href = api.link(where, link)
        headers = {"Accept-Encoding": "identity"}
        if self._range is not None and span.length < size:
            headers["Range"] = f"bytes={span.offset}-{span.end - 1}"
        for _ in range(_HOPS):
            # Without a token: the link is the permission, and where it leads is not ours to trust.
            exchange = self._source.http.exchange(
                where.operation, where.name, "GET", href, headers=headers, encoded=True
            )
            settings = api.settings
            try:
                async with asyncio.timeout(2 * (settings.connect_timeout + settings.request_timeout)):
                    response = await self._stack.enter_async_context(exchange)
            except TimeoutError as error:
                raise where.error(UnavailableError, "the service did not answer in time") from error
            if response.status not in _REDIRECTS:
                await self._judge(response, span, size)
                return response
            href = api.allowed(where, response.headers.get("Location", ""), base=href)
            await self._stack.aclose()
        raise where.error(UnavailableError, "the service redirects without an end")

    async def _judge(self, response: aiohttp.ClientResponse, span: Span, size: int) -> None:
        """Return when the body is the span; raise what the answer means otherwise."""
        status, where = response.status, self._where
        if status == 206 and (part := _PART.fullmatch(response.headers.get("Content-Range", ""))):
            first, last, whole = int(part[1]), int(part[2]), part[3]
            if (first, last) == (span.offset, span.end - 1) and whole in ("*", str(size)):
                return
            raise where.error(StaleLinkError, "the link leads to other content")
        if status == 200 and span.length == size:
            if response.content_length in (None, size):
                return
            raise where.error(StaleLinkError, "the link leads to other content")
        if status in (200, 206):
            raise where.error(UnavailableError, "the service sent another part than was asked for")
        raw = await read_bounded(response, 1 << 20)
        said = json_of(response.content_type, raw)
        # A link that has ended is answered with a page, as 410 or 500; 404 and 416 mean that it leads elsewhere.
        if status in (404, 410, 416) or (status >= 500 and said is None):
            raise where.error(StaleLinkError, f"the link for the bytes has ended ({status})")
        wait = retry_after(response.headers, self._source.api.environment.clock.now())
        raise from_answer(status, code_of((said or {}).get("error")), where, retry_after=wait)


async def _chunks(
    response: aiohttp.ClientResponse, span: Span, where: Where, whole: str
) -> AsyncGenerator[bytes, None]:
    """Yield the bytes; of a whole file their MD5 is compared with what the service said."""
    seen = 0
    digest = md5(usedforsecurity=False)
    async for chunk in _pieces(response, where):
        seen += len(chunk)
        if seen > span.length:
            break
        if whole:
            digest.update(chunk)
        yield chunk
    if seen != span.length:
        raise where.error(UnavailableError, f"the service sent {seen} of {span.length} bytes")
    if whole and digest.hexdigest() != whole:
        raise where.error(CorruptedError, "the service sent other bytes than it says to have")


async def _pieces(response: aiohttp.ClientResponse, where: Where) -> AsyncIterator[bytes]:
    import aiohttp

    try:
        async for chunk in response.content.iter_any():
            if chunk:
                yield chunk
    except TimeoutError as error:
        raise where.error(UnavailableError, "the service fell silent") from error
    except (aiohttp.ClientError, OSError, EOFError) as error:
        raise where.error(UnavailableError, f"the service broke off ({type(error).__name__})") from error
