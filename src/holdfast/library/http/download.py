"""An object being read over HTTP; where the connection breaks, another one goes on from there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Self

import aiohttp

from holdfast.core.conditions import Preconditions
from holdfast.core.errors import (
    InternalError,
    NotFoundError,
    PreconditionFailedError,
    UnavailableError,
    UnsupportedError,
)
from holdfast.core.types import ByteRange, Span, Version
from holdfast.library.http import wire
from holdfast.library.http.transport import Transport

_PATIENCE: Final = 4  #: connections in a row that may break without one byte of progress


class HttpDownload:
    """A `Download`, opened on entering. The same version from the first byte to the last, or an error."""

    def __init__(
        self,
        http: Transport,
        path: str,
        bucket: str,
        key: str,
        *,
        version_id: str | None,
        wish: ByteRange | None,
        conditions: Preconditions,
    ) -> None:
        self._http = http
        self._path = path
        self._name = (bucket, key)
        self._query = {"version_id": version_id}
        self._wish = wish
        self._conditions = conditions
        self._answer: aiohttp.ClientResponse | None = None
        self._version: Version | None = None
        self._span = Span(0, 0)
        self._modified = True

    @property
    def version(self) -> Version:
        """What is being read."""
        if self._version is None:
            raise InternalError("a download must be entered before it is used")
        return self._version

    @property
    def span(self) -> Span:
        """The part of it that is sent."""
        return self._span

    @property
    def modified(self) -> bool:
        """False when the conditions say that the caller has it already."""
        return self._modified

    async def __aenter__(self) -> Self:
        headers = wire.condition_headers(self._conditions)
        if self._wish is not None:
            wire.check_range(self._wish)
            headers["Range"] = wire.range_header(self._wish)
        answer = await self._http.send("GET", self._path, query=self._query, headers=headers)
        self._answer = answer
        self._version = wire.version_from_headers(*self._name, answer.headers)
        self._query = {"version_id": self._version.id or self._query["version_id"]}
        self._modified = answer.status != 304
        if self._modified:
            self._span = _span_of(answer, self._version)
            if self._wish is not None and self._wish.resolve(self._version.size) != self._span:
                self._close()
                raise UnsupportedError("the server does not send ranges")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._close()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks()

    async def read(self) -> bytes:
        """Return all bytes of the span."""
        return b"".join([chunk async for chunk in self])

    async def _chunks(self) -> AsyncIterator[bytes]:
        offset, vain = self._span.offset, 0
        while offset < self._span.end:
            started = offset
            try:
                async for chunk in self._from(offset):
                    offset += len(chunk)
                    yield chunk
                if offset < self._span.end:
                    raise UnavailableError(f"the answer ended {self._span.end - offset} bytes early")
            except UnavailableError:
                self._close()
                vain = 0 if offset > started else vain + 1
                if vain >= _PATIENCE:
                    raise
                await self._http.pause(vain)

    async def _from(self, offset: int) -> AsyncIterator[bytes]:
        """Yield the bytes from `offset` on, of the answer that is open or else of another one."""
        answer = self._answer or await self._resume(offset)
        self._answer = answer
        try:
            async for chunk in answer.content.iter_any():
                yield chunk
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise UnavailableError(f"the download broke off: {str(error) or type(error).__name__}") from error

    async def _resume(self, offset: int) -> aiohttp.ClientResponse:
        version = self.version
        headers = {
            "Range": wire.range_header(ByteRange(offset, self._span.end - 1)),
            "If-Match": f'"{version.etag}"',
        }
        try:
            answer = await self._http.send("GET", self._path, query=self._query, headers=headers)
        except (PreconditionFailedError, NotFoundError) as error:
            raise PreconditionFailedError(
                f"{version.ref} was replaced or removed during the download; read it anew"
            ) from error
        if answer.status != 206 or _span_of(answer, version).offset != offset:
            answer.close()
            raise UnsupportedError(f"the server cannot go on with {version.ref} at byte {offset}")
        return answer

    def _close(self) -> None:
        """Drop the answer that is open; what was not read is not waited for."""
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.close() if not answer.content.at_eof() else answer.release()


def _span_of(answer: aiohttp.ClientResponse, version: Version) -> Span:
    if answer.status == 206:
        return wire.content_range(answer.headers.get("Content-Range", ""))
    return Span(0, version.size)
