"""Small contents that were read lately, in memory. Contents never change, so nothing here can be out of date.

Which version is current is still asked of the catalog for every read; only the bytes come from here, and they were
proved when they came in.
"""

from __future__ import annotations

from collections import OrderedDict


class Hot:
    """Contents by segment id, at most `limit` bytes of them; the one that was not asked for longest goes first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held: OrderedDict[str, bytes] = OrderedDict()
        self._size = 0

    def get(self, segment_id: str) -> bytes | None:
        """Return the whole content of a segment, if it is here."""
        data = self._held.get(segment_id)
        if data is not None:
            self._held.move_to_end(segment_id)
        return data

    def put(self, segment_id: str, data: bytes) -> None:
        """Keep the whole content of a segment, which was proved."""
        if segment_id in self._held or len(data) > self._limit:
            return
        self._held[segment_id] = data
        self._size += len(data)
        while self._size > self._limit:
            _, gone = self._held.popitem(last=False)
            self._size -= len(gone)
