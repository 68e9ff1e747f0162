"""How often things were read: counted in memory, so that no read waits, and written down from time to time.

Artifacts are counted always, versions in buckets whose rules ask when they were read last. What is counted and not yet
written down is lost with a process that is killed: for a few seconds, something counts as unread.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Generic, TypeVar

from holdfast.catalog.contract import Catalog, Touch
from holdfast.core.records import Artifact
from holdfast.core.types import Located

#: Things whose reads may wait to be written down; reads of further ones are not counted until they are.
MOST: Final = 50_000
_PAGE: Final = 500
_DAY: Final = 86_400_000_000
K = TypeVar("K")


class Tally(Generic[K]):
    """Reads of one kind of thing that were not written down yet."""

    def __init__(self) -> None:
        self._waiting: dict[K, tuple[int, int]] = {}

    def count(self, thing: K, now: int) -> None:
        """Count a read."""
        held = self._waiting.get(thing)
        if held is not None or len(self._waiting) < MOST:
            self._waiting[thing] = ((held[0] if held else 0) + 1, now)

    def waiting(self, thing: K) -> tuple[int, int]:
        """Return how many reads of a thing wait, and when the last of them was (0: there are none)."""
        return self._waiting.get(thing, (0, 0))

    async def write(self, put: Callable[[Mapping[K, tuple[int, int]]], Awaitable[None]]) -> None:
        """Write down what waits, page by page; what cannot be written now waits on."""
        waiting, self._waiting = self._waiting, {}
        left = list(waiting.items())
        try:
            while left:
                await put(dict(left[:_PAGE]))
                del left[:_PAGE]
        finally:
            for thing, (more, then) in left:
                count, last = self._waiting.get(thing, (0, 0))
                self._waiting[thing] = (count + more, max(last, then))


class Reads:
    """Reads of artifacts, and of versions, that were not written down yet."""

    def __init__(self) -> None:
        self._artifacts = Tally[tuple[str, str, str]]()
        self._versions = Tally[str]()

    def count(self, artifact: Artifact, now: int) -> None:
        """Count a read of an artifact."""
        self._artifacts.count((artifact.tenant, artifact.execution_id, artifact.id), now)

    def waiting(self, artifact: Artifact) -> tuple[int, int]:
        """Return how many reads of an artifact wait, and when the last of them was (0: there are none)."""
        return self._artifacts.waiting((artifact.tenant, artifact.execution_id, artifact.id))

    def of_version(self, located: Located, now: int) -> None:
        """Count a read of a version, if its bucket has a rule that asks for it."""
        if located.settings is not None and located.settings.counts_reads:
            self._versions.count(located.version.id, now)

    async def write(self, catalog: Catalog) -> None:
        """Write down what waits; what cannot be written now waits on."""

        async def artifacts(reads: Mapping[tuple[str, str, str], tuple[int, int]]) -> None:
            await catalog.touch_artifacts([Touch(*place, *read) for place, read in reads.items()])

        async def versions(reads: Mapping[str, tuple[int, int]]) -> None:
            days = {version_id: (last // _DAY, count) for version_id, (count, last) in reads.items()}
            await catalog.touch_versions(days)

        try:
            await self._artifacts.write(artifacts)
        finally:
            await self._versions.write(versions)
