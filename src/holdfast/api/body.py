"""The body of a request as the engine's `Body`: bounded, checked, and broken cleanly when the client goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from holdfast.api.errors import HttpRefusalError
from holdfast.api.exchange import Exchange
from holdfast.core.body import Body
from holdfast.core.errors import InvalidRequestError

_SMALL: Final = 64 << 10  #: bodies announced up to this size are read before the engine is asked

MAX_JSON: Final = 1 << 20  #: bytes of a JSON body
MAX_RULES_JSON: Final = 4 << 20  #: of one with placement rules: as many as may be made fit in it


class ClientLeftError(InvalidRequestError):
    """The client went away, or was cut off, before its body had arrived whole."""


async def body_of(exchange: Exchange) -> Body:
    """Return the request's body; a small one is read at once, unless the client waits for permission to send it.

    Raises:
        HttpRefusalError: 415, the body is encoded.
        ClientLeftError: while it is read.
    """
    length = body_length(exchange)
    if length is not None and length <= _SMALL and b"expect" not in exchange.headers:
        return Body.of_bytes(await _all(exchange))
    return Body.of_stream(stream_of(exchange), size=length)


def body_length(exchange: Exchange) -> int | None:
    """Return the announced length, None when unknown; refuse an encoded body (415): nothing is inflated here."""
    encoding = exchange.headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"identity", b""):
        raise HttpRefusalError(
            415,
            "send the bytes themselves: Content-Encoding is not taken",
            headers=[(b"accept-encoding", b"identity")],
        )
    return exchange.length


async def stream_of(exchange: Exchange) -> AsyncIterator[bytes]:
    """Yield the body as it arrives.

    Raises:
        ClientLeftError: the client went before the end.
    """
    more = True
    while more:
        message = await exchange.receive()
        if message["type"] == "http.disconnect":
            raise ClientLeftError("the client went away before its body had arrived")
        more = message.get("more_body", False)
        if data := message.get("body", b""):
            yield data


async def small_body(exchange: Exchange, limit: int) -> bytes:
    """Return the whole body; `InvalidRequestError` when it is larger than `limit`."""
    body_length(exchange)
    return await Body.of_stream(stream_of(exchange)).read(limit)


async def _all(exchange: Exchange) -> bytes:
    message = await exchange.receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        data: bytes = message.get("body", b"")
        return data
    if message["type"] == "http.disconnect":
        raise ClientLeftError("the client went away before its body had arrived")
    return b"".join([message.get("body", b""), *[chunk async for chunk in stream_of(exchange)]])
