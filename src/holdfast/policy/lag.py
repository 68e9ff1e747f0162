"""Which copies are owed to which store, from what debts say of themselves. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from holdfast.core.names import AS_RULED
from holdfast.core.records import OwedGroup
from holdfast.policy import moving
from holdfast.policy.placement import Placement


@dataclass(frozen=True, slots=True)
class Lag:
    """What a store is behind: copies that it should have and has not, their bytes, and since when the oldest waits."""

    copies: int = 0
    bytes: int = 0
    since: int | None = None

    def __add__(self, other: Lag) -> Lag:
        """Return both together."""
        times = [one.since for one in (self, other) if one.since is not None]
        return Lag(self.copies + other.copies, self.bytes + other.bytes, min(times, default=None))


def lags(placement: Placement, groups: Iterable[OwedGroup]) -> Mapping[str, Lag]:
    """Return what each store is behind; stores that are not are left out."""
    found: dict[str, Lag] = {}
    for group in groups:
        for name in owed_to(placement, group):
            found[name] = found.get(name, Lag()) + Lag(group.versions, group.bytes, group.since)
    return found


def owed_to(placement: Placement, group: OwedGroup) -> tuple[str, ...]:
    """Return the stores in which a copy is missing; where no rule is known, those whose copy is bad."""
    ruled = placement.stores_by(group.rule)
    if group.tier and (ruled is not None or not group.tier.startswith(AS_RULED)):
        wanted = moving.apply(moving.tier_stores(group.tier, ruled or ()), placement.moves)
    elif ruled is not None:
        wanted = ruled
    else:
        wanted = tuple(sorted(group.broken))
    return tuple(name for name in wanted if name not in group.whole)
