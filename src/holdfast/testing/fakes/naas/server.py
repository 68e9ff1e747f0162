"""Both servers of the fake, in the running loop or in a thread of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, Final, Protocol, Self

from aiohttp import web

from holdfast.testing.fakes.naas.api import Api
from holdfast.testing.fakes.naas.gate import Gate
from holdfast.testing.fakes.naas.ledger import Ledger

API_KEY: Final = "naas-api-key-of-the-fake"
WORKSPACE: Final = "96ce7ee7-e5f5-4bca-acf9-9d5d41317f81"
STORAGE: Final = "abi"
_START: Final = 10.0


class Upstream(Protocol):
    """The S3 server behind: `holdfast.testing.servers.S3Server` is one."""

    @property
    def endpoint(self) -> str: ...
    @property
    def region(self) -> str: ...
    @property
    def bucket(self) -> str: ...
    @property
    def access_key(self) -> str: ...
    @property
    def secret_key(self) -> str: ...


class NaasFake:
    """Naas and its S3, as an async context manager in the running loop. See the package for what it promises."""

    def __init__(
        self,
        upstream: Upstream,
        *,
        api_key: str = API_KEY,
        storages: Mapping[str, Sequence[str]] | None = None,
        lifetime: float = 3600.0,
    ) -> None:
        known = {name: list(names) for name, names in (storages or {WORKSPACE: [STORAGE]}).items()}
        self.ledger = Ledger(lifetime)
        self.api = Api(api_key, known, self.ledger, upstream.bucket, upstream.region)
        self.gate = Gate(self.ledger, upstream)
        self.workspace_id = next(iter(known))
        self.storage_name = known[self.workspace_id][0]
        self.api_url = self.s3_url = ""
        self._stack = AsyncExitStack()

    @property
    def api_key(self) -> str:
        """The key that the API takes."""
        return self.api.api_key

    def advance(self, seconds: float) -> None:
        """Move the clock by which keys end."""
        self.ledger.advance(seconds)

    def settings(self, **more: Any) -> dict[str, Any]:
        """Return settings of the driver `naas` that reach the fake."""
        return {
            "api_base": self.api_url,
            "api_key": self.api_key,
            "workspace_id": self.workspace_id,
            "storage_name": self.storage_name,
            "s3_endpoint": self.s3_url,
            "allow_http": True,
            **more,
        }

    async def __aenter__(self) -> Self:
        await self.gate.open()
        self._stack.push_async_callback(self.gate.close)
        self.api_url = await self._stack.enter_async_context(_served(self.api.application()))
        self.s3_url = await self._stack.enter_async_context(_served(self.gate.application()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()


@contextmanager
def running(upstream: Upstream, **how: Any) -> Iterator[NaasFake]:
    """Yield a fake that is served by a thread of its own, for tests without a loop or with many."""
    fake = NaasFake(upstream, **how)
    loop = asyncio.new_event_loop()
    ready, ending = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with fake:
            ready.set()
            await ending.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), name="naas-fake", daemon=True)
    thread.start()
    try:
        if not ready.wait(_START):
            raise RuntimeError("the fake did not start")
        yield fake
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(_START)
        loop.close()


@asynccontextmanager
async def _served(application: web.Application) -> AsyncIterator[str]:
    """Serve on a free port of loopback and give the URL."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
