"""How much room stores have that know it themselves: a person's drive, a disk that an operator added later."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Final

from holdfast.core.backend import Room, Roomy, StoreState
from holdfast.core.clock import Clock
from holdfast.core.errors import HoldfastError
from holdfast.engine.stores import Stores

EVERY: Final = 60.0  #: seconds for which what a store said is shown
PATIENCE: Final = 2.0  #: seconds that a store may take to say it


class Rooms:
    """Asks the open stores, at most once a minute however many ask, and none of `besides`.

    Only the first to ask waits for the answers; later ones get what is known, and newer answers are fetched meanwhile.
    """

    def __init__(self, stores: Stores, clock: Clock, *, besides: Collection[str] = ()) -> None:
        self._stores, self._clock, self._besides = stores, clock, frozenset(besides)
        self._known: Mapping[str, Room] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._due = 0.0

    async def look(self) -> Mapping[str, Room]:
        """Return what is known, by store; one that does not answer, or has no bound, is left out."""
        asks = self._asking is not None and not self._asking.done()
        if not asks and (self._known is None or self._clock.monotonic() >= self._due):
            self._asking = asyncio.create_task(self._ask())
        if self._known is None and self._asking is not None:
            await asyncio.shield(self._asking)
        return self._known or {}

    async def _ask(self) -> None:
        names = [name for name in self._stores if name not in self._besides]
        rooms = await asyncio.gather(*(self._of(name) for name in names))
        self._known = {name: room for name, room in zip(names, rooms, strict=True) if room is not None}
        self._due = self._clock.monotonic() + EVERY

    async def _of(self, name: str) -> Room | None:
        store = self._stores.open_now(name)
        if store is None or store.state is StoreState.DOWN or not isinstance(store.backend, Roomy):
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                return await store.backend.room()
        except (HoldfastError, TimeoutError):  # whether it answers at all is said elsewhere
            return None
