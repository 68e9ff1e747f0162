"""The client behind a facade: opened when it is first needed, closed with the facade if that opened it."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from holdfast.core.errors import (
    AlreadyExistsError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
)
from holdfast.library.client import AsyncClient
from holdfast.library.opening import Opener
from holdfast.library.portal import Portal
from holdfast.library.sync import Client

T = TypeVar("T")

#: Gives the opener when a client is needed, not before: it may read the environment.
Finder = Callable[[], Opener]


class Held:
    """A client for coroutines: one that was given, or one that `find` says how to open."""

    def __init__(self, client: AsyncClient | None, find: Finder) -> None:
        self._given = client
        self._find = find
        self._opened: AsyncClient | None = None
        self._turn = asyncio.Lock()

    async def __call__(self) -> AsyncClient:
        """Return the client."""
        if self._given is not None:
            return self._given
        async with self._turn:
            if self._opened is None:
                self._opened = await self._find()()
            return self._opened

    async def close(self) -> None:
        """Close the client if it was opened here; the next call opens another one."""
        async with self._turn:
            opened, self._opened = self._opened, None
            if opened is not None:
                await opened.close()
        self._turn = asyncio.Lock()  # the next call may come from another loop


class Runner:
    """Runs coroutines for callers without an event loop: on the loop of a client that was given, or one of its own.

    Its own begins with the first call and ends with `close`, or when this is collected; `closing` is awaited then.
    With `once` nothing runs after `close`.
    """

    def __init__(
        self, client: Client | None, closing: Callable[[], Awaitable[None]], *, once: bool = False
    ) -> None:
        self._client = client
        self._closing = closing
        self._once = once
        self._closed = False
        self._portal: Portal | None = None
        self._turn = threading.Lock()

    def __call__(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` returns; `InvalidRequestError` after `close`, with `once`."""
        if self._closed:
            work.close()
            raise InvalidRequestError("it was closed; make another one")
        return self._begun().call(work) if self._client is None else self._client.run(work)

    def close(self) -> None:
        """End the loop if it is its own; the next call begins another one, or is refused with `once`."""
        with self._turn:
            self._closed = self._once
            portal, self._portal = self._portal, None
        if portal is not None:
            portal.close()

    def _begun(self) -> Portal:
        with self._turn:
            if self._portal is None:
                self._portal = Portal()
                self._portal.on_close(self._closing)
                weakref.finalize(self, Portal.shut, self._portal).atexit = False
            return self._portal


class Places:
    """Buckets that are there, or are made when something is first put into them."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()

    async def ensure(self, client: AsyncClient, bucket: str, tenant: str = "") -> None:
        """Return when the bucket is there. Whoever may not look at it is taken to know."""
        if (tenant, bucket) in self._seen:
            return
        try:
            await client.bucket(bucket)
        except PermissionDeniedError:
            pass
        except NotFoundError:
            try:
                await client.create_bucket(bucket)
            except AlreadyExistsError:
                pass
        self._seen.add((tenant, bucket))
