"""Which buckets follow a store: few rows, looked up at most once a second, whatever is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from holdfast.catalog.contract import Catalog
from holdfast.core.adopted import Upstream
from holdfast.core.clock import Clock

_FRESH: Final = 1.0  #: seconds


class Following:
    """The upstreams of all buckets as they were at most a second ago.

    What must hold exactly is looked up again by the transaction that takes something over.
    """

    def __init__(self, catalog: Catalog, clock: Clock) -> None:
        self._catalog = catalog
        self._clock = clock
        self._known: Mapping[tuple[str, str], Upstream] = {}
        self._due = float("-inf")

    async def of(self, tenant: str, bucket: str) -> Upstream | None:
        """Return what a bucket follows; None when it follows nothing."""
        if self._clock.monotonic() >= self._due:
            found = await self._catalog.upstreams()
            self._known = {(one.tenant, one.bucket): one for one in found}
            self._due = self._clock.monotonic() + _FRESH
        return self._known.get((tenant, bucket))

    def forget(self) -> None:
        """Look them up when one is asked for next."""
        self._due = float("-inf")
