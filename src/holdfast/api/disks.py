"""How much room is left: on the disks under local stores and the catalog's file, and at stores that know it."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from holdfast.api.rooms import Rooms
from holdfast.config.settings import Settings
from holdfast.core.clock import Clock
from holdfast.engine.stores import Stores

_LOW: Final = (0.10, 10 << 30)  #: less than this share, and less than these bytes: degraded
_OUT: Final = (0.05, 1 << 30)  #: unhealthy
_SQLITE: Final = "sqlite:///"


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes that we may still write, and all."""

    free: int
    total: int

    @property
    def status(self) -> str:
        """`healthy`, or worse when little is left, both as a share and in bytes."""
        for (share, size), status in ((_OUT, "unhealthy"), (_LOW, "degraded")):
            if self.free < self.total * share and self.free < size:
                return status
        return "healthy"


class Disks:
    """The disks that the settings name: one for each local store, and `catalog`; and the stores that say it themselves."""

    def __init__(self, settings: Settings, stores: Stores, clock: Clock) -> None:
        self._paths = {
            name: Path(str(store.driver_settings.get("path", "")))
            for name, store in settings.all_stores.items()
            if store.driver == "local"
        }
        if settings.catalog_url.startswith(_SQLITE):
            self._paths["catalog"] = Path(settings.catalog_url.removeprefix(_SQLITE)).parent
        self._rooms = Rooms(stores, clock, besides=self._paths)

    async def look(self) -> dict[str, Disk]:
        """Return what is left, by store; a folder that is not there, and a store that does not say it, is left out."""
        rooms = await self._rooms.look()
        told = {name: Disk(room.free, room.total) for name, room in rooms.items()}
        return {**told, **await asyncio.to_thread(self._look)}

    def _look(self) -> dict[str, Disk]:
        found = {}
        for name, path in self._paths.items():
            try:
                facts = os.statvfs(path)
            except OSError:
                continue
            found[name] = Disk(facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize)
        return found
