"""`multipart/form-data`, parsed while it arrives: nothing is spooled, and memory stays flat."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from holdfast.api.body import body_length, stream_of
from holdfast.api.digests import refuse_digests
from holdfast.api.errors import HttpRefusalError
from holdfast.api.exchange import Exchange, text_of
from holdfast.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_PARTS: Final = 1000
MAX_FIELD: Final = 64 << 10  #: bytes of a field that is not a file
_MAX_HEADER: Final = 8 << 10
_MAX_HEADER_LINES: Final = 16


class FormError(InvalidRequestError):
    """The form itself is broken, so that nothing more can be read of it."""


@dataclass(frozen=True, slots=True)
class FormPart:
    """One part of a form. Read its `chunks` before asking for the next part."""

    name: str
    filename: str | None
    content_type: str | None
    chunks: AsyncIterator[bytes]

    async def text(self) -> str:
        """Return a field's value; `InvalidRequestError` when it is too long or not UTF-8."""
        held = bytearray()
        async for chunk in self.chunks:
            held += chunk
            if len(held) > MAX_FIELD:
                raise InvalidRequestError(
                    f"the form field {self.name[:40]!r} is longer than {MAX_FIELD} bytes"
                )
        return _text(bytes(held), f"the form field {self.name[:40]!r}")


def is_form(exchange: Exchange) -> bool:
    """Tell whether the request's body is a multipart form."""
    kind = exchange.headers.get(b"content-type", b"")
    return kind.partition(b";")[0].strip().lower() == b"multipart/form-data"


async def parts_of(exchange: Exchange, *, most: int = MAX_PARTS) -> AsyncIterator[FormPart]:
    """Yield the parts of the request's form, at most `most`; what the caller leaves unread of a part is skipped.

    Raises:
        HttpRefusalError: 415, the body is not a form.
        InvalidRequestError: the form is malformed, cut short, or has too many or too large parts; or its headers
            announce digests, which could only be of the form.
    """
    if not is_form(exchange):
        raise HttpRefusalError(415, "send multipart/form-data, with the fields before the file")
    body_length(exchange)
    refuse_digests(exchange)
    events = _Events(exchange, _boundary(exchange))
    count = 0
    while (headers := await events.next_part()) is not None:
        count += 1
        if count > most:
            raise FormError(f"the form has more than {most} parts")
        part = _part(headers, events.data())
        yield part


def _boundary(exchange: Exchange) -> bytes:
    _, options = parse_options_header(exchange.headers[b"content-type"])
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise InvalidRequestError("the form's boundary has 1 to 70 characters")
    return boundary


def _part(headers: dict[bytes, bytes], chunks: AsyncIterator[bytes]) -> FormPart:
    _, options = parse_options_header(headers.get(b"content-disposition", b""))
    name = options.get(b"name")
    if name is None:
        raise InvalidRequestError("a part of the form has no name")
    filename = options.get(b"filename")
    kind = headers.get(b"content-type")
    return FormPart(
        _text(name, "a part's name"),
        None if filename is None else text_of(filename, "a file's name"),
        None if kind is None else text_of(kind, "a part's content type"),
        chunks,
    )


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidRequestError(f"{what} is not valid UTF-8") from None


class _Events:
    """What the parser found, as far as the body has arrived."""

    def __init__(self, exchange: Exchange, boundary: bytes) -> None:
        self._source = stream_of(exchange)
        self._found: deque[dict[bytes, bytes] | bytes | None] = deque()
        self._data = bytearray()
        self._name = bytearray()
        self._value = bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._ended = False
        self._inside = False  # in a part whose data have not all been read
        callbacks: MultipartCallbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_done,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }
        self._parser = MultipartParser(
            boundary, callbacks, max_header_count=_MAX_HEADER_LINES, max_header_size=_MAX_HEADER
        )

    async def next_part(self) -> dict[bytes, bytes] | None:
        """Return the headers of the next part, None at the end of the form."""
        while self._inside:
            await self._next_piece()
        while not self._found:
            if self._ended:
                async for _ in self._source:  # what follows the last boundary means nothing
                    pass
                return None
            await self._more()
        headers = self._found.popleft()
        if not isinstance(headers, dict):
            raise FormError("the form is malformed")
        self._inside = True
        return headers

    async def data(self) -> AsyncIterator[bytes]:
        """Yield the data of the part whose headers were returned last."""
        while self._inside:
            if piece := await self._next_piece():
                yield piece

    async def _next_piece(self) -> bytes:
        """Return some data of the part, b"" at its end."""
        while not self._found:
            await self._more()
        found = self._found.popleft()
        if isinstance(found, bytes):
            return found
        self._inside = False
        return b""

    async def _more(self) -> None:
        chunk = await anext(self._source, None)
        if chunk is None:
            raise FormError("the form ends before its last boundary")
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise FormError(f"the form is malformed: {error}") from None
        self._flush()

    # -- the parser's callbacks -----------------------------------------------------------------------------------
    def _begin(self) -> None:
        self._headers = {}

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _headers_done(self) -> None:
        self._found.append(self._headers)

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if start == 0 and end == len(data) and not self._data:
            self._found.append(data)
        else:
            self._data += memoryview(data)[start:end]

    def _part_end(self) -> None:
        self._flush()
        self._found.append(None)

    def _end(self) -> None:
        self._ended = True

    def _flush(self) -> None:
        if self._data:
            self._found.append(bytes(self._data))
            self._data.clear()
