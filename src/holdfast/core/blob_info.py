"""What a listing tells: apart from `core.blobs`, where it is found too, for what lists alone and is quick to start."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, Protocol

EMPTY: Final[Mapping[str, str]] = {}


class BlobInfo(NamedTuple):  # made for every blob of a listing: a tuple is made in a third of the time
    """What a backend knows of a blob."""

    name: str
    size: int
    modified: int  #: microseconds since the epoch
    etag: str | None = None  #: the store's own, opaque
    metadata: Mapping[str, str] = EMPTY
    content_type: str = ""  #: of blobs that others wrote, where the store says it
    tags: Mapping[str, str] = EMPTY  #: the same


class Seen(Protocol):
    """What an earlier listing of the same objects saw: a hint for the next, which may hold or not."""

    by_key: bool  #: its pages went on by key; the next listing says anew how it goes

    def every(self, count: int) -> Iterable[str]:
        """Yield every `count`th name, without the prefix that was listed, in byte order."""
        ...
