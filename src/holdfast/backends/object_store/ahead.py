"""Pages asked for before their turn, where it is known from an earlier time what the bucket held.

A listing that goes on by key asks, each time, for what comes after the last key of the page before. Whoever has listed
the bucket some time ago can tell where its pages end if nothing has changed since, and asks for some of them at once (for
the first ones only if that listing, too, went on by key: what follows a token is asked for by it). An answer that came so
is used for the very request that is due, and for no other: what is listed is the same, however much has changed. From the
first page on that ends elsewhere, nothing is asked for early.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, Final

from holdfast.backends.object_store.control import Answer

Query = Sequence[tuple[str, str]]
_AT_ONCE: Final = 3  #: requests on their way
_AFTER: Final = "start-after"


class Ahead:
    """Asks for the pages of one listing. `ends`: the keys, in order, with which pages are expected to end."""

    def __init__(self, ask: Callable[[Query], Coroutine[Any, Any, Answer]], ends: Iterable[str]) -> None:
        self._ask, self._ends, self._last = ask, iter(ends), ""
        self._sent: dict[str, asyncio.Task[Answer]] = {}
        self._dropped: list[asyncio.Task[Answer]] = []

    async def answer(self, query: Query) -> Answer:
        """Return the answer to a request, which may be on its way already."""
        names = [name for name, _ in query]
        task = self._sent.pop(query[0][1], None) if names == [_AFTER] else None
        return await (self._ask(query) if task is None else task)

    def begin(self) -> None:
        """Ask for the second page and those after it before the first has come."""
        self._fill(_AT_ONCE - 1)

    def expect(self, last: str) -> None:
        """Ask for the pages after the key `last`, with which one has ended; "" when it does not go on by key."""
        known = last in self._sent
        if not known and not self._sent and last:
            end = next((end for end in self._ends if end >= last), "")
            if known := end == last:
                self._send(end)
        if not known:
            self._drop()
            return
        self._fill(_AT_ONCE)

    async def close(self) -> None:
        """Give up what is on its way."""
        self._drop()
        await asyncio.gather(*self._dropped, return_exceptions=True)

    def _fill(self, count: int) -> None:
        while len(self._sent) < count and (end := next(self._ends, "")) > self._last:
            self._send(end)

    def _send(self, end: str) -> None:
        self._last = end
        self._sent[end] = asyncio.ensure_future(self._ask([(_AFTER, end)]))

    def _drop(self) -> None:
        self._ends = iter(())
        for task in self._sent.values():
            task.cancel()
            self._dropped.append(task)
        self._sent = {}
