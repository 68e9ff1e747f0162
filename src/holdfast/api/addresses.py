"""Where a request comes from: the peer of its connection, or whom a trusted proxy says that it speaks for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from typing import Final

from holdfast.api.exchange import Exchange
from holdfast.policy.addresses import client_of, forwarded, is_trusted, parse_address, parse_network

Next = Callable[[Exchange], Awaitable[None]]
UNKNOWN: Final = "unknown"  #: of a connection without an address; no rule lets it in
_SCHEMES: Final = ("http", "https")


@lru_cache(4096)
def _plain(text: str) -> str:
    """Return an address in the one spelling that is compared and kept."""
    address = parse_address(text)
    return UNKNOWN if address is None else str(address)


class ClientAddress:
    """Settles address and scheme of a request, before anything is decided by them.

    What `header` says counts only when the peer is one of the proxies, and of its hops the last one that is not: all
    further left could have been written by the client itself.
    """

    def __init__(self, proxies: Sequence[str], header: str) -> None:
        self._proxies = tuple(parse_network(text) for text in proxies)
        self._header = header.lower().encode()

    async def __call__(self, exchange: Exchange, next: Next) -> None:
        """Go on with the address known."""
        if self._proxies and is_trusted(exchange.address, self._proxies):
            self._believe(exchange)
        else:
            exchange.address = _plain(exchange.address)
        await next(exchange)

    def _believe(self, exchange: Exchange) -> None:
        said = exchange.headers.get(self._header, b"").decode("latin-1")
        if self._header == b"forwarded":
            pairs = forwarded(said) if said else []
            hops, scheme = [hop for hop, _ in pairs], pairs[-1][1] if pairs else ""
        else:
            hops = said.split(",") if said else []
            proto = exchange.headers.get(b"x-forwarded-proto", b"").decode("latin-1")
            scheme = proto.rpartition(",")[2].strip().lower()
        exchange.address = client_of(exchange.address, hops, self._proxies)
        if scheme in _SCHEMES:
            exchange.scheme = scheme
