"""Folders that are there: made one by one, remembered for a while, and only when the service has said so."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

from holdfast.backends.yandex_disk.api import Api
from holdfast.backends.yandex_disk.errors import A_FOLDER, NO_PARENT, Where, from_answer
from holdfast.backends.yandex_disk.paths import parent
from holdfast.core.clock import Clock
from holdfast.core.errors import UnavailableError

_RACES: Final = 5


class Seen:
    """Paths of folders that were there a moment ago: at most `size`, the least used forgotten first, each for `ttl` seconds."""

    def __init__(self, clock: Clock, *, size: int, ttl: float) -> None:
        self._clock, self._size, self._ttl = clock, size, ttl
        self._ends: OrderedDict[str, float] = OrderedDict()

    def __contains__(self, path: str) -> bool:
        ends = self._ends.get(path)
        if ends is None:
            return False
        if ends <= self._clock.monotonic():
            del self._ends[path]
            return False
        self._ends.move_to_end(path)
        return True

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, path: str) -> None:
        """Remember what the service has said to be there."""
        self._ends[path] = self._clock.monotonic() + self._ttl
        self._ends.move_to_end(path)
        while len(self._ends) > self._size:
            self._ends.popitem(last=False)

    def forget(self, path: str) -> None:
        """Forget a folder that turned out to be gone, what was in it, and those above it: how many went is not known."""
        below = path.rstrip("/") + "/"
        for other in [
            one for one in self._ends if one.startswith(below) or below.startswith(one.rstrip("/") + "/")
        ]:
            del self._ends[other]


class Folders:
    """Makes folders below the root of a store, the root too."""

    def __init__(self, api: Api, seen: Seen) -> None:
        self._api, self._seen = api, seen
        self._lock = asyncio.Lock()

    async def make(self, where: Where, path: str, *, missing: bool = False) -> bool:
        """Return when the folder `path` is there: True when it was made by this call.

        With `missing` the service has just said that it is not there, whatever is remembered.

        Raises:
            ConflictError: a file is in the way.
        """
        if missing:
            self._seen.forget(path)
        async with self._lock:
            if path in self._seen:
                return False
            for _ in range(_RACES):
                made = await self._step(where, path)
                if made is None:
                    await self._from_above(where, parent(path))
                    made = await self._step(where, path)
                if made is not None:
                    return made
                self._seen.forget(path)
        raise where.error(UnavailableError, "the folder keeps vanishing")

    async def _from_above(self, where: Where, path: str) -> None:
        """Make `path` and those above it that are not known to be there, the uppermost first."""
        missing = []
        while path not in self._seen and path.partition("/")[2]:
            missing.append(path)
            path = parent(path)
        for one in reversed(missing):
            if await self._step(where, one) is None:
                return  # somebody takes them away: the caller begins anew

    async def _step(self, where: Where, path: str) -> bool | None:
        """Make one folder: True when made, False when it was there, None when the one above it is missing."""
        answer = await self._api.call(where, "PUT", "/resources", {"path": path}, bear=(409,))
        if answer.status == 409 and answer.code == NO_PARENT:
            return None
        if answer.status == 409 and answer.code != A_FOLDER:
            # Of a code that is not known nothing may be concluded, least of all that the folder is there.
            raise from_answer(409, answer.code, where)
        self._seen.add(path)
        return answer.status != 409
