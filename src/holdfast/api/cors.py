"""Web pages of other origins: which may use the service from a browser, and what they may see of its answers."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Final

from holdfast.api.exchange import Exchange
from holdfast.api.tus_headers import ANSWERED
from holdfast.config.exposure import CorsSettings
from holdfast.core.errors import PermissionDeniedError

#: What a page may read of an answer. `*` stands for all that is left, metadata too; browsers heed it without cookies.
EXPOSED: Final = (
    *(
        "Accept-Ranges",
        "Content-Disposition",
        "Content-Length",
        "Content-Range",
        "ETag",
        "Last-Modified",
        "Location",
    ),
    *("RateLimit", "RateLimit-Limit", "RateLimit-Policy", "RateLimit-Remaining", "RateLimit-Reset"),
    *("Repr-Digest", "Retry-After", "X-Request-Id"),
    *(
        "x-holdfast-delete-marker",
        "x-holdfast-error-code",
        "x-holdfast-owed",
        "x-holdfast-tagging",
        "x-holdfast-version-id",
    ),
    *(name for name in ANSWERED if name.startswith(("Tus-", "Upload-"))),
)
_NAMES: Final = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]+(?:\s*,\s*[A-Za-z0-9!#$%&'*+.^_`|~-]+)*")
_MOST: Final = 4096  #: bytes of a list of headers that a page asks for


class Cors:
    """Answers a browser's question before it sends a page's request, and marks the answers that the page may read."""

    def __init__(self, settings: CorsSettings) -> None:
        self._settings = settings
        self._everybody = "*" in settings.origins
        shown = ", ".join((*EXPOSED, *(() if settings.credentials else ("*",))))
        self._exposed = (b"access-control-expose-headers", shown.encode())
        self._allows = lru_cache(1024)(self._look)

    async def __call__(self, exchange: Exchange, next: Callable[[Exchange], Awaitable[None]]) -> None:
        """Answer a question, or pass on."""
        origin = exchange.headers.get(b"origin")
        if not self._everybody:
            exchange.added.append((b"vary", b"Origin"))
        asked = exchange.headers.get(b"access-control-request-method")
        if origin is None:
            await next(exchange)
        elif exchange.method == "OPTIONS" and asked is not None:
            await self._answer(exchange, origin, asked)
        else:
            if self._allows(origin):
                exchange.added += [*self._granted(origin), self._exposed]
            await next(exchange)

    async def _answer(self, exchange: Exchange, origin: bytes, method: bytes) -> None:
        exchange.route = "preflight"
        if not self._allows(origin):
            raise PermissionDeniedError(
                "web pages of this origin may not use this service; see the setting cors.origins"
            )
        if method.decode("ascii", "replace") not in self._settings.methods:
            raise PermissionDeniedError("web pages may not use this method; see the setting cors.methods")
        wanted = exchange.headers.get(b"access-control-request-headers", b"")
        headers = [
            *self._granted(origin),
            (b"access-control-allow-methods", ", ".join(self._settings.methods).encode()),
            (b"access-control-max-age", b"%d" % self._settings.max_age),
        ]
        if allowed := self._headers(wanted):
            headers.append((b"access-control-allow-headers", allowed))
        await exchange.answer(204, headers)

    def _headers(self, wanted: bytes) -> bytes:
        """Return the headers that a page may send: what is set, or what it asks for."""
        if "*" not in self._settings.headers:
            return ", ".join(self._settings.headers).encode()
        wanted = wanted.strip()
        return wanted if len(wanted) <= _MOST and _NAMES.fullmatch(wanted) else b""

    def _granted(self, origin: bytes) -> list[tuple[bytes, bytes]]:
        found = [(b"access-control-allow-origin", b"*" if self._everybody else origin)]
        if self._settings.credentials:
            found.append((b"access-control-allow-credentials", b"true"))
        return found

    def _look(self, origin: bytes) -> bool:
        """Tell whether pages of `origin` may use the service: the same scheme, host and port, or a subdomain of `*.`"""
        if self._everybody:
            return True
        given = origin.decode("ascii", "replace").lower()
        return any(_same(pattern.lower(), given) for pattern in self._settings.origins)


def _same(pattern: str, origin: str) -> bool:
    if "://*." not in pattern:
        return origin == pattern
    scheme, _, rest = pattern.partition("://*")
    if not origin.startswith(scheme + "://") or not origin.endswith(rest):
        return False
    level = origin[len(scheme) + 3 : -len(rest)]
    return bool(re.fullmatch(r"[a-z0-9-]+", level))
