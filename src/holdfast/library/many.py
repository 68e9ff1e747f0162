"""Verbs over many objects: a few at a time, each failure told, none hiding the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from holdfast.core.errors import HoldfastError

T = TypeVar("T")
_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Failure:
    """One object that failed, and why; `code` is that of the error."""

    bucket: str
    key: str
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Report:
    """How it went with many objects: how many went well, and each that did not."""

    done: int = 0
    failures: Sequence[Failure] = ()

    def __bool__(self) -> bool:
        return not self.failures

    def __add__(self, other: Report) -> Report:
        return Report(self.done + other.done, [*self.failures, *other.failures])


async def each(
    items: Iterable[T], act: Callable[[T], Awaitable[object]], name: Callable[[T], tuple[str, str]]
) -> Report:
    """Do `act` for every item and report; `name` tells the bucket and key of one."""
    todo, done = list(items), 0
    failures: dict[int, Failure] = {}
    places = iter(range(len(todo)))

    async def worker() -> None:
        nonlocal done
        for place in places:
            try:
                await act(todo[place])
                done += 1
            except HoldfastError as error:
                failures[place] = Failure(*name(todo[place]), error.code, error.message)

    workers = [asyncio.ensure_future(worker()) for _ in range(_AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for one in workers:
            one.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return Report(done, [failures[place] for place in sorted(failures)])
