"""How much room is left on the disks under local stores and under the catalog's file."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from holdfast.config.settings import Settings

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
    """The disks that the settings name: one for each local store, and `catalog`."""

    def __init__(self, settings: Settings) -> None:
        self._paths = {
            name: Path(str(store.driver_settings.get("path", "")))
            for name, store in settings.all_stores.items()
            if store.driver == "local"
        }
        if settings.catalog_url.startswith(_SQLITE):
            self._paths["catalog"] = Path(settings.catalog_url.removeprefix(_SQLITE)).parent

    async def look(self) -> dict[str, Disk]:
        """Return what is left, by store; a folder that is not there is left out."""
        return await asyncio.to_thread(self._look)

    def _look(self) -> dict[str, Disk]:
        found = {}
        for name, path in self._paths.items():
            try:
                facts = os.statvfs(path)
            except OSError:
                continue
            found[name] = Disk(facts.f_bavail * facts.f_frsize, facts.f_blocks * facts.f_frsize)
        return found
