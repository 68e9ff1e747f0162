"""An event loop in a thread of its own, for callers that have none.

One per synchronous client. The thread is a daemon and every wait on it is bounded, so that neither a forgotten
`close`, nor garbage collection (which may run in any thread, this one included), nor the end of the program can hang.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import os
import sys
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

from holdfast.core.errors import InvalidRequestError

T = TypeVar("T")

_PATIENCE: Final = 5.0  #: seconds that closing may take before the rest is left to the operating system
_open: weakref.WeakSet[Portal] = weakref.WeakSet()


class Portal:
    """Runs coroutines of this thread's callers on its own loop. Closed once; then every call is refused."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._loop = _new_loop()
        self._closing: Callable[[], Awaitable[None]] | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="holdfast", daemon=True)
        self._thread.start()
        _open.add(self)
        _close_at_exit()

    def on_close(self, closing: Callable[[], Awaitable[None]]) -> None:
        """Await `closing` on the loop before it stops."""
        self._closing = closing

    @property
    def closed(self) -> bool:
        """Whether `close` or `shut` was called."""
        return self._closed

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what `coroutine` returns; Ctrl-C cancels it and waits until it has cleaned up.

        Raises:
            InvalidRequestError: after `close`, after a fork, or from the loop's own thread.
        """
        if reason := self._refusal():
            coroutine.close()
            raise InvalidRequestError(reason)
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise InvalidRequestError("the client was closed while the call was under way") from None
        except KeyboardInterrupt:
            future.cancel()
            concurrent.futures.wait([future], _PATIENCE)
            raise

    def close(self) -> None:
        """Cancel what is under way, close what `on_close` named, end the thread; returns within a few seconds."""
        if os.getpid() != self._pid:
            return  # a forked child: the loop and its sockets belong to the parent
        self.shut()
        if threading.get_ident() != self._thread.ident:
            self._thread.join(_PATIENCE)

    def shut(self) -> None:
        """Begin to close, without waiting. Safe from any thread."""
        if self._closed or os.getpid() != self._pid:
            return
        self._closed = True
        with suppress(RuntimeError):  # the loop ended by itself
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _refusal(self) -> str:
        if os.getpid() != self._pid:
            return "this client was opened before a fork; open another one in the child"
        if self._closed:
            return "the client is closed"
        if threading.get_ident() == self._thread.ident:
            return "a synchronous client cannot be called from its own event loop"
        return ""

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        try:
            with suppress(Exception):  # closing is best effort: nobody is left to tell
                self._loop.run_until_complete(self._wind_down())
        finally:
            self._loop.close()

    async def _wind_down(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        async with asyncio.timeout(_PATIENCE):
            await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(_PATIENCE):
            if self._closing is not None:
                await self._closing()
            await self._loop.shutdown_asyncgens()


def _new_loop() -> asyncio.AbstractEventLoop:
    """Return a uvloop where there is one: object stores answer up to 1.8 times as fast on it."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


_registered = False


def _close_at_exit() -> None:
    """Register `_at_exit` once.

    It must run before the interpreter joins worker threads and refuses new ones: plain `atexit` comes after that.
    The executors of the standard library use the same hook; where it is missing, `atexit` is better than nothing.
    """
    global _registered
    if not _registered:
        _registered = True
        getattr(threading, "_register_atexit", atexit.register)(_at_exit)


def _at_exit() -> None:
    for portal in list(_open):
        portal.close()
    if "obstore" in sys.modules:
        # Its threads may still be handing over a result, and would abort an interpreter that is half gone.
        time.sleep(0.05)
