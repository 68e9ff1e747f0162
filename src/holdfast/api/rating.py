"""Rate limits at the door: requests are refused, bodies are slowed down.

Two layers. `RateAddress` stands before authentication, so that guessing costs the guesser; `RatePrincipal` after it. A
limit that is not set costs nothing. Answers tell what is left in `RateLimit` and `RateLimit-Policy`.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Final

from holdfast.api.exchange import Exchange, Message
from holdfast.api.server.gate import group
from holdfast.config.settings import RateLimits, RateSettings
from holdfast.core.clock import Clock
from holdfast.core.errors import RateLimitedError, UnauthenticatedError
from holdfast.core.types import Rate
from holdfast.engine.limiter import Gauge, Limiter
from holdfast.engine.signing import ForgedError
from holdfast.policy.rate import Limit, limit_of

Next = Callable[[Exchange], Awaitable[None]]
_NONE: Final = Rate()
_FAR: Final = 1.0  #: seconds that flows may be behind before a new request is refused
_LONGEST: Final = 30.0  #: seconds of one pause
_HEALTH: Final = frozenset({b"/health", b"/health/live", b"/health/ready"})
_REQUESTS, _IN, _OUT = "requests", "bytes_in", "bytes_out"


class Rating:
    """What both layers share: the gauges, and how they are asked."""

    def __init__(self, limiter: Limiter, settings: RateSettings, clock: Clock) -> None:
        self._limiter = limiter
        self._clock = clock
        self._burst = settings.burst

    def limit(self, rate: float | None) -> Limit | None:
        """Return the limit of a rate, with the burst of the settings."""
        return limit_of(rate, self._burst)

    def gauge(self, kind: str, name: str, what: str, rate: float | None) -> Gauge | None:
        """Return the gauge of somebody's limit; None where there is no limit."""
        limit = self.limit(rate)
        if limit is None:
            return None
        told = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return self._limiter.gauge(f"{kind}:{what}:{told}", limit)

    async def enter(self, exchange: Exchange, kind: str, name: str, rate: Rate) -> None:
        """Take one request of `rate`, and hold the bodies of the exchange to it.

        Raises:
            RateLimitedError: too many requests, or the bodies are too far behind.
        """
        if (gauge := self.gauge(kind, name, _REQUESTS, rate.requests)) is not None:
            verdict = await gauge.take()
            exchange.added += _fields(kind, gauge.limit, verdict.left, verdict.wait)
            if not verdict.allowed:
                raise self._refusal(kind, verdict.wait, "requests")
        coming = self.gauge(kind, name, _IN, rate.bytes_in)
        going = self.gauge(kind, name, _OUT, rate.bytes_out)
        for flow in (coming, going):
            if flow is not None and (behind := flow.behind()) > _FAR:
                raise self._refusal(kind, behind, "bytes")
        if coming is not None:
            self._slow_coming(exchange, coming)
        if going is not None:
            self._slow_going(exchange, going)

    def _slow_coming(self, exchange: Exchange, gauge: Gauge) -> None:
        receive = exchange.receive

        async def slowed() -> Message:
            message = await receive()
            if body := message.get("body"):
                await self._pause(await gauge.charge(len(body)))
            return message

        exchange.receive = slowed

    def _slow_going(self, exchange: Exchange, gauge: Gauge) -> None:
        before = exchange.pace

        async def pace(count: int) -> None:
            if before is not None:
                await before(count)
            await self._pause(await gauge.charge(count))

        exchange.pace = pace

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            await self._clock.sleep(min(seconds, _LONGEST))

    def _refusal(self, kind: str, wait: float, what: str) -> RateLimitedError:
        return RateLimitedError(
            f"too many {what} of this {kind}; go on in {max(1, math.ceil(wait))} s", retry_after=wait
        )


#: What says that a credential was made up.
GUESSES: Final = (UnauthenticatedError, ForgedError)


class Failures:
    """Counts by address the requests whose credential does not hold, or that lack one; without a rate, none."""

    def __init__(self, rating: Rating, rate: float | None) -> None:
        self._rating = rating
        self._rate = rate

    def behind(self, exchange: Exchange) -> float:
        """Return for how many seconds the address must wait, 0 when it may try."""
        gauge = self._gauge(exchange)
        return 0.0 if gauge is None else gauge.behind()

    async def count(self, exchange: Exchange) -> None:
        """Count one failure."""
        if (gauge := self._gauge(exchange)) is not None:
            await gauge.charge(1)

    def _gauge(self, exchange: Exchange) -> Gauge | None:
        return self._rating.gauge("address", group(exchange.address), "failures", self._rate)


class RateAddress:
    """Limits of the client's address, counted before anybody knows who asks; failures to say so count again."""

    def __init__(self, rating: Rating, rate: RateLimits, failures: Failures) -> None:
        self._rating = rating
        self._rate = rate_of(rate)
        self._failures = failures

    async def __call__(self, exchange: Exchange, next: Next) -> None:
        """Pass on, or refuse. Whoever looks after the service may always ask how it is."""
        if exchange.raw_path in _HEALTH:
            await next(exchange)
            return
        if self._rate != _NONE:
            await self._rating.enter(exchange, "address", group(exchange.address), self._rate)
        if (behind := self._failures.behind(exchange)) > 0:
            raise RateLimitedError(
                "too many failed authentications from this address; wait and try again", retry_after=behind
            )
        try:
            await next(exchange)
        except GUESSES:
            await self._failures.count(exchange)
            raise


class RatePrincipal:
    """Limits of who asks, together with all tokens and URLs made with the same credential, and of the tenant."""

    def __init__(self, rating: Rating, settings: RateSettings) -> None:
        self._rating = rating
        self._principal = rate_of(settings.principal)
        self._tenant = rate_of(settings.tenant)
        self._free = self._principal == _NONE and self._tenant == _NONE

    async def __call__(self, exchange: Exchange, next: Next) -> None:
        """Pass on, or refuse."""
        principal = getattr(exchange, "principal", None)
        if principal is None or (self._free and principal.rate == _NONE and principal.tenant_rate == _NONE):
            await next(exchange)
            return
        whole, own = self._tenant, self._principal
        if principal.rate != _NONE:
            own = over(principal.rate, own)
        if principal.tenant_rate != _NONE:
            whole = over(principal.tenant_rate, whole)
        if own != _NONE:
            name = f"{principal.tenant}\0{principal.root or principal.id}"
            await self._rating.enter(exchange, "principal", name, own)
        if whole != _NONE:
            await self._rating.enter(exchange, "tenant", principal.tenant, whole)
        await next(exchange)


def rate_of(limits: RateLimits) -> Rate:
    """Return limits of the settings as a rate."""
    return Rate(limits.requests, limits.bytes_in, limits.bytes_out)


def over(own: Rate, default: Rate) -> Rate:
    """Return `own`, with `default` for what it leaves open."""
    return Rate(
        default.requests if own.requests is None else own.requests,
        default.bytes_in if own.bytes_in is None else own.bytes_in,
        default.bytes_out if own.bytes_out is None else own.bytes_out,
    )


def _fields(kind: str, limit: Limit, left: int, wait: float) -> Sequence[tuple[bytes, bytes]]:
    """Return the fields of draft-ietf-httpapi-ratelimit-headers: the quota of a window, and what is left of it."""
    window = max(1, math.ceil(limit.burst / limit.rate))
    reset = max(1, math.ceil(wait)) if wait else max(0, math.ceil((limit.burst - left) / limit.rate))
    return (
        (b"ratelimit-policy", f'"{kind}";q={int(limit.burst)};w={window}'.encode()),
        (b"ratelimit", f'"{kind}";r={max(0, left)};t={reset}'.encode()),
    )
