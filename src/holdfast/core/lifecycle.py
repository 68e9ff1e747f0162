"""Rules about the life of what is in a bucket: values only; `policy.lifecycle` checks and follows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_NONE: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class Transition:
    """That a version belongs elsewhere once it is old enough. One of `days`, `on` and `idle_days` is given.

    `to` names a store, or as `label:cold` the stores with that label, or as `class:GLACIER` the store in which a new
    object of that storage class would be placed.
    """

    to: str
    days: int | None = None  #: since it was made; of a noncurrent version: since it was replaced
    on: str | None = None  #: from that day on, as 2027-01-31, UTC
    idle_days: int | None = None  #: since it was read last


@dataclass(frozen=True, slots=True)
class LifecycleRule:
    """What happens to objects that match. Sizes in bytes; days count from the next midnight, UTC.

    All of prefix, tags, sizes and types that are given must match; of several types one is enough.
    """

    name: str
    enabled: bool = True
    prefix: str = ""
    tags: Mapping[str, str] = field(default_factory=lambda: _NONE)
    min_size: int | None = None  #: included
    max_size: int | None = None  #: excluded
    content_types: tuple[str, ...] = ()
    expire_days: int | None = None  #: of the current version, since it was made
    expire_on: str | None = None  #: from that day on, as 2027-01-31, UTC
    noncurrent_days: int | None = None  #: since it was replaced
    noncurrent_keep: int = 0  #: so many of the newest noncurrent versions of a key stay, whatever their age
    expired_markers: bool = False  #: remove a delete marker that hides nothing any more
    abort_uploads_days: int | None = None  #: since the upload was opened
    transitions: tuple[Transition, ...] = ()
    noncurrent_transitions: tuple[Transition, ...] = ()
    even_if_dearer: bool = False  #: move also where moving costs more than it saves

    @property
    def counts_reads(self) -> bool:
        """Whether it asks when a version was read last."""
        both = (*self.transitions, *self.noncurrent_transitions)
        return self.enabled and any(step.idle_days is not None for step in both)
