"""How often contents of each bucket were stored and fetched, in this process: plain numbers, for whoever shows them."""

from __future__ import annotations

from collections import Counter
from typing import Final

#: Buckets that are told apart; what happens in further ones is counted together, so that figures stay few.
MOST: Final = 500
OTHER: Final = ("other", "other")


class Activity:
    """Uploads and downloads by (tenant, bucket) since the process began."""

    def __init__(self) -> None:
        self.uploads: dict[tuple[str, str], int] = {}
        self.downloads: dict[tuple[str, str], int] = {}
        self.job_items: Counter[tuple[str, str]] = Counter()  #: of jobs, by kind and outcome

    def uploaded(self, tenant: str, bucket: str) -> None:
        """Count a new version."""
        _count(self.uploads, (tenant, bucket))

    def downloaded(self, tenant: str, bucket: str) -> None:
        """Count a content that was opened for reading."""
        _count(self.downloads, (tenant, bucket))


def _count(counts: dict[tuple[str, str], int], place: tuple[str, str]) -> None:
    if place not in counts and len(counts) >= MOST:
        place = OTHER
    counts[place] = counts.get(place, 0) + 1
