"""Many objects in one command: a few at a time, each failure told, none hiding the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from typing import TypeVar

from holdfast.cli.command import Cli, fail
from holdfast.core.errors import HoldfastError, InvalidRequestError

T = TypeVar("T")

#: Called with one item; raises a `HoldfastError` when it fails.
Work = Callable[[T], Awaitable[None]]


async def each(cli: Cli, items: AsyncIterable[T] | Iterable[T], work: Work[T], *, jobs: int) -> int:
    """Do `work` for every item, `jobs` at a time, and return the exit status: that of the first failure, or 0.

    Items are taken as there is room for them, so a listing of any length costs a page of memory.
    """
    status = done = failed = 0
    source = _Stream(items)

    async def worker() -> None:
        nonlocal status, done, failed
        async for item in source:
            try:
                await work(item)
                done += 1
            except HoldfastError as error:
                failed += 1
                ending = fail(cli.out, error)
                status = status or ending

    await together(worker() for _ in range(jobs))
    if failed and done + failed > 1:
        cli.out.note(f"{failed} of {done + failed} failed")
    return status


async def together(coroutines: Iterable[Awaitable[None]]) -> None:
    """Run all at once; the first error cancels the others and is raised as it is."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Stream(AsyncIterator[T]):
    """One iterator that several workers take from in turn."""

    def __init__(self, items: AsyncIterable[T] | Iterable[T]) -> None:
        self._source = items.__aiter__() if isinstance(items, AsyncIterable) else _from(items)
        self._turn = asyncio.Lock()

    async def __anext__(self) -> T:
        async with self._turn:
            return await self._source.__anext__()


async def _from(items: Iterable[T]) -> AsyncIterator[T]:
    for item in items:
        yield item


def pairs(texts: Iterable[str], what: str) -> dict[str, str]:
    """Return `NAME=VALUE` texts as a mapping; `what` names the option in the error."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise InvalidRequestError(f"{what} {text!r} must be NAME=VALUE")
        found[name] = value
    return found
