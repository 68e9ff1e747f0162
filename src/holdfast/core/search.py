"""What a search asks of objects: a pure question, so that every room means the same by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from holdfast.core.types import EMPTY, Version


@dataclass(frozen=True, slots=True)
class Search:
    """Conditions that must all hold; what is left out holds for everything."""

    prefix: str = ""  #: of the key
    suffix: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: EMPTY)  #: each must be there with this value
    metadata: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    content_type: str = ""  #: a type, or a pattern such as `image/*`; parameters are not looked at
    min_size: int | None = None  #: bytes
    max_size: int | None = None
    since: int | None = None  #: stored at or after this time, microseconds
    until: int | None = None  #: stored before this time

    def matches(self, version: Version) -> bool:
        """Tell whether `version` is what is looked for."""
        key = version.ref.key
        return (
            key.startswith(self.prefix)
            and key.endswith(self.suffix)
            and (self.min_size is None or version.size >= self.min_size)
            and (self.max_size is None or version.size <= self.max_size)
            and (self.since is None or version.created >= self.since)
            and (self.until is None or version.created < self.until)
            and self._is_of_type(version.content_type)
            and self.tags.items() <= version.tags.items()
            and self.metadata.items() <= version.metadata.items()
        )

    def _is_of_type(self, content_type: str) -> bool:
        kind = content_type.partition(";")[0].strip().lower()
        return not self.content_type or fnmatchcase(kind, self.content_type.lower())


@dataclass(frozen=True, slots=True)
class Found:
    """One page of a search, by bucket then key in byte order.

    A page may be short, or empty, and still not be the last: a search looks at so many objects at a time.
    """

    items: Sequence[Version]
    cursor: str = ""  #: where the next page begins; "" when this is the last

    @property
    def truncated(self) -> bool:
        """Whether there may be more."""
        return bool(self.cursor)
