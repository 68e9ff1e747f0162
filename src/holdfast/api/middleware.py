"""What every request passes through, outermost first. The order is in `LAYERS` of `application`, with its reasons."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from itertools import count
from typing import Final
from urllib.parse import urlsplit

from holdfast.api import logs
from holdfast.api.body import ClientLeftError
from holdfast.api.errors import code_of, render, status_of
from holdfast.api.exchange import Exchange
from holdfast.api.metrics import DoorMetrics
from holdfast.api.server.cycle import ClientGone
from holdfast.core.clock import Clock, Environment
from holdfast.core.errors import PermissionDeniedError, UnavailableError

Next = Callable[[Exchange], Awaitable[None]]
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_GONE: Final = 499  #: logged for a client that left; nobody is there to read it


class RequestIds:
    """Names requests: by the client's own id when it is harmless, else by one of this process and a number."""

    def __init__(self, environment: Environment) -> None:
        self._process = environment.new_id().replace("-", "")
        self._numbers = count(1)

    def of(self, given: bytes | None) -> str:
        """Return the id of a request."""
        if given is not None and _REQUEST_ID.fullmatch(given):
            return given.decode()
        return f"{self._process}-{next(self._numbers):x}"


class Observe:
    """Counts, records and logs each request when it is over; logged are failed ones always, all of them when asked to."""

    def __init__(
        self, clock: Clock, metrics: DoorMetrics, record: Callable[[Exchange], None], *, every: bool
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._record = record
        self._every = every

    async def __call__(self, exchange: Exchange, next: Next) -> None:
        """Pass on, then observe."""
        began = self._clock.monotonic()
        self._metrics.in_flight += 1
        try:
            await next(exchange)
        except ClientGone:
            exchange.status = _GONE
            raise
        finally:
            self._metrics.in_flight -= 1
            passed = self._clock.monotonic() - began
            self._metrics.count(exchange, passed)
            self._record(exchange)
            if self._every or exchange.status >= 400 or exchange.status == 0:
                logs.request(exchange, passed)


class ShapeErrors:
    """Turns every exception into one shape of answer; what nobody foresaw is logged with its traceback."""

    async def __call__(self, exchange: Exchange, next: Next) -> None:
        """Pass on, and answer for what fails."""
        try:
            await next(exchange)
        except ClientGone:
            raise
        except ClientLeftError as error:
            exchange.status = _GONE
            exchange.error = error.code
            raise ClientGone(str(error)) from error
        except Exception as error:
            exchange.error = code_of(error)
            if status_of(error) == 500:
                logs.failure(exchange, error)
            if exchange.begun:  # the answer has begun: breaking it off is the only way to say so
                if status_of(error) != 500:
                    logs.failure(exchange, error)
                raise ClientGone("the answer broke off") from error
            path = exchange.path
            status, headers, body = render(
                error, request_id=exchange.request_id, instance=path, more=exchange.more
            )
            await exchange.answer(status, headers, body)


class Bound:
    """Takes only so many requests at a time; `/health` is always answered.

    Our server refuses earlier and cheaper; this is for requests sent ahead on a connection, and for other servers.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._now = 0

    async def __call__(self, exchange: Exchange, next: Next) -> None:
        """Pass on, or refuse."""
        if self._now >= self._most and not exchange.raw_path.startswith(b"/health"):
            raise UnavailableError("this server has as many requests as it takes; try again", retry_after=1)
        self._now += 1
        try:
            await next(exchange)
        finally:
            self._now -= 1


class SameSite:
    """Keeps web pages out of a server that asks for no token: the host must be this machine, the origin too."""

    async def __call__(self, exchange: Exchange, next: Next) -> None:
        """Pass on, or refuse."""
        host = exchange.headers.get(b"host", b"localhost")
        origin = exchange.headers.get(b"origin")
        if not _is_local(b"http://" + host) or (origin is not None and not _is_local(origin)):
            raise PermissionDeniedError("without tokens, this server answers only to its own machine by name")
        await next(exchange)


@lru_cache(256)
def _is_local(url: bytes) -> bool:
    try:
        host = urlsplit(url.decode("ascii")).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
