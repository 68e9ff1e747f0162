"""How often artifacts were read: counted in memory, so that no read waits, and written down from time to time."""

from __future__ import annotations

from typing import Final

from holdfast.catalog.contract import Catalog, Touch
from holdfast.core.records import Artifact

#: Artifacts whose reads may wait to be written down; reads of further ones are not counted until they are.
MOST: Final = 50_000
_PAGE: Final = 500


class Reads:
    """Reads of artifacts that were not written down yet."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, str, str], tuple[int, int]] = {}

    def count(self, artifact: Artifact, now: int) -> None:
        """Count a read."""
        place = (artifact.tenant, artifact.execution_id, artifact.id)
        held = self._waiting.get(place)
        if held is not None or len(self._waiting) < MOST:
            self._waiting[place] = ((held[0] if held else 0) + 1, now)

    def waiting(self, artifact: Artifact) -> tuple[int, int]:
        """Return how many reads of an artifact wait, and when the last of them was (0: there are none)."""
        return self._waiting.get((artifact.tenant, artifact.execution_id, artifact.id), (0, 0))

    async def write(self, catalog: Catalog) -> None:
        """Write down what waits; what cannot be written now waits on."""
        waiting, self._waiting = self._waiting, {}
        touches = [Touch(*place, count, last) for place, (count, last) in waiting.items()]
        try:
            while touches:
                await catalog.touch_artifacts(touches[:_PAGE])
                del touches[:_PAGE]
        finally:
            for touch in touches:
                place = (touch.tenant, touch.execution_id, touch.artifact_id)
                count, last = self._waiting.get(place, (0, 0))
                self._waiting[place] = (count + touch.count, max(last, touch.last))
