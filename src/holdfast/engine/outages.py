"""Which stores failed a writer lately, as this process saw it, and what was done about it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

_PENALTY: Final = 30.0  #: seconds that a store which failed is passed over where a rule names another
_BAD: Final = 1000  #: copies that are remembered to have come damaged once


class Outages:
    """Remembers failures of stores for a while, and counts writes that went elsewhere: plain numbers, for a process."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self.returns = 0  #: how often a store was used again that had been passed over
        self._bad: OrderedDict[str, None] = OrderedDict()
        self.fallbacks: dict[
            tuple[str, str], int
        ] = {}  #: by (store that was passed over, store that took it)

    def failed(self, store: str, now: float) -> None:
        """Pass `store` over for a while; `now` is of the monotonic clock."""
        self._until[store] = now + _PENALTY

    def well(self, store: str) -> None:
        """Forget that `store` failed: it took something."""
        if self._until:
            self._until.pop(store, None)

    def failing(self, store: str, now: float) -> bool:
        """Tell whether `store` failed lately."""
        return bool(self._until) and self._until.get(store, 0.0) > now

    def bad_again(self, replica_id: str) -> bool:
        """Note that a copy came damaged, and tell whether it did so before: once may be its way."""
        if replica_id in self._bad:
            del self._bad[replica_id]
            return True
        self._bad[replica_id] = None
        if len(self._bad) > _BAD:
            self._bad.popitem(last=False)
        return False

    def fell_back(self, store: str, taker: str) -> None:
        """Count a version that was accepted in `taker` since `store` took nothing."""
        self.fallbacks[store, taker] = self.fallbacks.get((store, taker), 0) + 1
