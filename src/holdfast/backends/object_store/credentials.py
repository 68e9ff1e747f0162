"""Where keys come from: given once, read from the environment, or fetched again before they expire."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from holdfast.core.clock import Clock
from holdfast.core.errors import ConfigError

AHEAD_SECONDS = 300  #: keys are fetched again when they hold for less than this
_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Credentials:
    """A key pair, perhaps with a session token and an end (microseconds since the epoch). Only the key id is shown."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires: int | None = None


class CredentialSource(Protocol):
    """Anything that knows the current keys."""

    async def current(self) -> Credentials:
        """Return keys that hold now; raise `UnauthenticatedError` or `UnavailableError` when there are none."""
        ...


class StaticCredentials:
    """The same keys for ever."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def current(self) -> Credentials:
        return self._credentials


class EnvironmentCredentials:
    """The keys that `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` hold at the moment of asking."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    async def current(self) -> Credentials:
        key, secret = self._environ.get("AWS_ACCESS_KEY_ID"), self._environ.get("AWS_SECRET_ACCESS_KEY")
        if not key or not secret:
            raise ConfigError(
                "credentials = 'environment' needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to be set"
            )
        return Credentials(key, secret, self._environ.get("AWS_SESSION_TOKEN") or None)


class RefreshingCredentials:
    """Keys that `fetch` makes anew: ahead of their end, once for all who wait, and never twice at a time.

    While the old keys still hold, a fetch that fails is not noticed by callers; it is tried again at the next call
    after `pause` seconds.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Credentials]],
        *,
        clock: Clock,
        ahead: float = AHEAD_SECONDS,
        pause: float = 5.0,
    ) -> None:
        self._fetch = fetch
        self._clock = clock
        self._ahead = int(ahead * _SECOND)
        self._pause = int(pause * _SECOND)
        self._held: Credentials | None = None
        self._not_before = 0
        self._running: asyncio.Task[Credentials] | None = None

    async def current(self) -> Credentials:
        """Return keys that hold; a failing fetch raises its own error once nothing holds any more."""
        now, held = self._clock.now(), self._held
        if held is not None and _holds(held, now + self._ahead):
            return held
        if held is not None and _holds(held, now):
            if self._running is None and now >= self._not_before:
                self._not_before = now + self._pause
                self._start().add_done_callback(_noticed)
            return held
        # Shielded: one impatient caller must not take the keys from the others.
        return await asyncio.shield(self._running or self._start())

    def _start(self) -> asyncio.Task[Credentials]:
        self._running = asyncio.ensure_future(self._renew())
        return self._running

    async def _renew(self) -> Credentials:
        try:
            self._held = await self._fetch()
            return self._held
        finally:
            self._running = None


def _holds(credentials: Credentials, at: int) -> bool:
    return credentials.expires is None or credentials.expires > at


def _noticed(task: asyncio.Task[Credentials]) -> None:
    """Take the outcome of a background renewal, so that asyncio does not report it as forgotten."""
    if not task.cancelled():
        task.exception()
