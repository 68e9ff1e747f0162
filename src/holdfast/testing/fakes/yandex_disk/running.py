"""A fake that runs: in a thread of its own, as `with FakeYandexDisk() as fake`."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web

from holdfast.core.clock import Clock, SystemClock
from holdfast.testing.fakes.yandex_disk.disk import Disk
from holdfast.testing.fakes.yandex_disk.faults import Faults
from holdfast.testing.fakes.yandex_disk.oauth import YEAR, Accounts
from holdfast.testing.fakes.yandex_disk.server import API, Server
from holdfast.testing.fakes.yandex_disk.things import Rules

_START: Final = 20.0


class FakeYandexDisk:
    """One account with its Disk, on a free port of loopback.

    `disk` is what it holds, `faults` what goes wrong, `accounts` who may come in, `server.requests` what was asked.
    """

    def __init__(
        self, *, clock: Clock | None = None, rules: Rules | None = None, lifetime: int = YEAR, port: int = 0
    ) -> None:
        self.clock = clock or SystemClock()
        self._home = tempfile.TemporaryDirectory(prefix="fake-yandex-", ignore_cleanup_errors=True)
        self.disk = Disk(self.clock, rules or Rules(), Path(self._home.name))
        self.faults = Faults()
        self.accounts = Accounts(self.clock, lifetime=lifetime)
        self.server = Server(self.disk, self.accounts, self.faults)
        self._port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="fake-yandex-disk", daemon=True)
        self._up = threading.Event()

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.server.base

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Return settings for the driver `yandex_disk` that lead here, with a token that can be renewed."""
        return {
            "root": "disk:/holdfast",
            "token": self.accounts.access,
            "refresh_token": self.accounts.refresh,
            "client_id": self.accounts.client_id,
            "client_secret": self.accounts.client_secret,
            "api_url": self.url + API,
            "oauth_url": self.url,
            "allow_http": True,
            **changes,
        }

    def start(self) -> Self:
        """Listen."""
        self._thread.start()
        if not self._up.wait(_START) or not self.url:
            raise RuntimeError("the fake did not come up")
        return self

    def stop(self) -> None:
        """End, and forget everything."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_START)
        self._home.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        runner = web.AppRunner(self.server.application(), access_log=None, shutdown_timeout=0.1)
        try:
            self._loop.run_until_complete(self._listen(runner))
            self._up.set()
            self._loop.run_forever()
        finally:
            self._up.set()
            self._loop.run_until_complete(runner.cleanup())
            self._loop.close()

    async def _listen(self, runner: web.AppRunner) -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self._port)
        await site.start()
        self.server.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
