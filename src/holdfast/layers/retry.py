"""Trying again what may succeed later."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from types import TracebackType
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field

from holdfast.core.backend import NO_OPTIONS, Backend, PutOptions, SignedUrl
from holdfast.core.body import Body, Reader
from holdfast.core.clock import Environment
from holdfast.core.errors import AlreadyExistsError, HoldfastError, RateLimitedError
from holdfast.core.fetching import fetched
from holdfast.core.types import BlobInfo, ByteRange
from holdfast.layers.base import ALL, Layer, closed_after

T = TypeVar("T")


class RetrySettings(BaseModel):
    """How often and how patiently."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attempts: int = Field(default=3, ge=1, le=20, description="How often a call is made at most.")
    base: float = Field(
        default=0.1, ge=0, description="Seconds that the first pause may last; each next one twice that."
    )
    longest: float = Field(default=5.0, ge=0, description="Seconds that no pause exceeds.")
    patience: float = Field(
        default=30.0,
        ge=0,
        description="Seconds that a store may ask us to wait; asked for more, we give up at once.",
    )
    budget: float = Field(
        default=15.0, ge=0, description="Seconds after which a call that failed is not made again."
    )


class Retry(Layer):
    """Makes a call again when its error is `retryable`, after a pause of random length (full jitter).

    A store's own `retry_after` is waited for in full, or, when it is longer than our patience, handed on at once with
    the error. A body that can be read only once is sent again only if nothing was taken from it yet. A read is tried
    again until it is open; a stream that breaks later is the engine's to resume. A listing goes on after the last name.
    """

    preserves = ALL

    def __init__(
        self,
        inner: Backend,
        *,
        environment: Environment,
        settings: RetrySettings | None = None,
        observe: Callable[[str, HoldfastError], None] | None = None,
    ) -> None:
        super().__init__(inner)
        self._environment = environment
        self._settings = settings or RetrySettings()
        self._observe = observe

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        """Put, again if need be.

        With `if_absent`, a try that failed may have succeeded unseen (unless it was turned away: `RateLimitedError`).
        That the name is taken then proves nothing, so the failure is raised and not `AlreadyExistsError`.
        """
        watched = _Watched(body)
        failed: HoldfastError | None = None
        began = self._environment.clock.monotonic()
        for attempt in range(1, self._settings.attempts + 1):
            try:
                return await super().put(name, watched.body, options=options, if_absent=if_absent)
            except AlreadyExistsError as error:
                if failed is None:
                    raise
                raise failed from error
            except HoldfastError as error:
                if not watched.again or not await self._pause("put", error, attempt, began):
                    raise
                failed = failed if isinstance(error, RateLimitedError) else error
        raise AssertionError("the last attempt returns or raises")

    def get(self, name: str, *, range: ByteRange | None = None) -> AbstractAsyncContextManager[Reader]:
        """Open, again if need be."""
        return _Reopening(self, name, range)

    async def open(
        self, name: str, wish: ByteRange | None
    ) -> tuple[AbstractAsyncContextManager[Reader], Reader]:
        """Return an inner read that is entered, and its reader; tried again if need be."""

        async def enter() -> tuple[AbstractAsyncContextManager[Reader], Reader]:
            opening = super(Retry, self).get(name, range=wish)
            return opening, await opening.__aenter__()

        return await self._again("get", enter)

    async def fetch(self, name: str, size: int) -> bytes:
        """Read, again if need be."""
        return await self._again("get", lambda: fetched(self.inner, name, size))

    async def head(self, name: str) -> BlobInfo:
        """Look, again if need be."""
        return await self._again("head", lambda: self.inner.head(name))

    async def delete(self, name: str) -> None:
        """Delete, again if need be: what is gone already is a success."""
        await self._again("delete", lambda: self.inner.delete(name))

    async def copy(self, source: str, target: str) -> BlobInfo:
        """Copy, again if need be."""
        return await self._again("copy", lambda: super(Retry, self).copy(source, target))

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        """Copy from another store, again if need be."""
        return await self._again("copy", lambda: super(Retry, self).copy_from(other, source, target))

    async def presign(
        self,
        method: str,
        name: str,
        *,
        expires_in: float,
        content_type: str | None = None,
        content_disposition: str | None = None,
    ) -> SignedUrl:
        """Sign, again if need be: fetching a credential may fail."""
        return await self._again(
            "presign",
            lambda: super(Retry, self).presign(
                method,
                name,
                expires_in=expires_in,
                content_type=content_type,
                content_disposition=content_disposition,
            ),
        )

    async def list(self, prefix: str = "", *, after: str = "") -> AsyncGenerator[BlobInfo, None]:
        """List; after a failure go on behind the last name that was yielded."""
        attempt = 1
        while True:
            try:
                async with closed_after(self.inner.list(prefix, after=after)) as items:
                    async for info in items:
                        after, attempt = info.name, 1
                        yield info
                return
            except HoldfastError as error:
                if not await self._pause("list", error, attempt, self._environment.clock.monotonic()):
                    raise
                attempt += 1

    async def _again(self, operation: str, call: Callable[[], Awaitable[T]]) -> T:
        began = self._environment.clock.monotonic()
        for attempt in range(1, self._settings.attempts + 1):
            try:
                return await call()
            except HoldfastError as error:
                if not await self._pause(operation, error, attempt, began):
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def _pause(self, operation: str, error: HoldfastError, attempt: int, began: float) -> bool:
        """Return True after the pause before the next attempt, False at once when there should be none."""
        settings = self._settings
        if not error.retryable or attempt >= settings.attempts:
            return False
        if self._environment.clock.monotonic() - began > settings.budget:
            return False  # it failed slowly, as a store does that does not answer at all
        asked = error.retry_after or 0.0
        if asked > settings.patience:
            return False
        if self._observe is not None:
            self._observe(operation, error)
        widest = min(settings.longest, settings.base * 2 ** (attempt - 1))
        await self._environment.clock.sleep(asked + self._environment.random.uniform(0, widest))
        return True


class _Watched:
    """A body that remembers whether it was touched."""

    def __init__(self, body: Body) -> None:
        self._inner = body
        self._touched = False
        self.body = body if body.replayable else replace(body, opener=self._open, data=None)

    @property
    def again(self) -> bool:
        """Whether the body can be sent (once more)."""
        return self._inner.replayable or not self._touched

    async def _open(self) -> AsyncIterator[bytes]:
        self._touched = True
        async for chunk in self._inner.chunks():
            yield chunk


class _Reopening(AbstractAsyncContextManager[Reader]):
    """A read whose opening is tried again."""

    __slots__ = ("_layer", "_name", "_opening", "_wish")

    def __init__(self, layer: Retry, name: str, wish: ByteRange | None) -> None:
        self._layer, self._name, self._wish = layer, name, wish

    async def __aenter__(self) -> Reader:
        self._opening, reader = await self._layer.open(self._name, self._wish)
        return reader

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._opening.__aexit__(kind, error, trace)
