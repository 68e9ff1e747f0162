"""Whether moving one version to another store saves money while it lives, and if not, why. Pure, in decimal numbers.

Both storage prices count as the first tier of the price list, with the smallest billed size and the shortest billed time
of each store; leaving costs a read, retrieval, egress and what is left of the shortest time; arriving costs a write. Reads
that go on cost what they cost there. A price that is not known makes the answer unknown, which refuses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from holdfast.policy.prices import Price, Tier

HORIZON_DAYS: Final = 365  #: a version that nothing removes is taken to live so long
_ZERO: Final = Decimal(0)
_MONTH: Final = Decimal(30)
_THOUSAND: Final = Decimal(1000)

#: Why a move is refused, in words for people.
REASONS: Final = {
    "minimum size": "smaller than the size that the store bills at least",
    "minimum duration": "removed before the time that the store bills at least",
    "early removal": "the store that it leaves still bills the rest of its shortest time",
    "egress": "bringing the bytes out costs more than is saved",
    "requests": "the requests of the move cost more than is saved",
    "reads": "reading it there costs more than is saved",
    "dearer": "storing it there is not cheaper",
}


@dataclass(frozen=True, slots=True)
class Subject:
    """One version: `age` in the store where it is, `life` that is left, both in days; `reads` a month, as counted."""

    size: int
    age: int
    life: int
    reads: Decimal = _ZERO


@dataclass(frozen=True, slots=True)
class Worth:
    """`gain` over the version's life in dollars, below 0: a loss; None: not known. `reason` is a key of `REASONS`."""

    gain: Decimal | None
    reason: str = ""

    @property
    def loss(self) -> bool:
        """Whether moving is known to cost more than it saves."""
        return self.gain is not None and self.gain < 0


def weigh(subject: Subject, source: Price | None, target: Price | None, *, near: bool = False) -> Worth:
    """Return what moving a version gains; `near`: the bytes stay inside one provider, so no egress is paid."""
    if source is None or target is None:
        return Worth(None)
    gain = _gain(subject, source, target, near)
    if gain is None or gain >= 0:
        return Worth(gain)
    return Worth(gain, _reason(subject, source, target, near))


def near(source: str, target: str, regions: tuple[str, str]) -> bool:
    """Return whether two price keys are of one provider, and both stores in one region as far as they say."""
    family, other = source.rpartition(".")[0], target.rpartition(".")[0]
    return source == target or (bool(family) and family == other and regions[0] == regions[1])


def _gain(subject: Subject, source: Price, target: Price, near: bool) -> Decimal | None:
    stays = _storage(source, subject.size, subject.life)
    there = _storage(target, subject.size, max(subject.life, target.min_days))
    early = _storage(source, subject.size, max(source.min_days - subject.age, 0))
    out = _ZERO if near else _egress(source, subject.size)
    retrieval = _times(source.retrieval, subject.size, source)
    reading = _reading(subject, source, target)
    known = (stays, there, early, out, retrieval, reading, source.read, target.write)
    if any(one is None for one in known):
        return None
    costs = (there, early, out, retrieval, reading, _each(source.read), _each(target.write))
    return (stays or _ZERO) - sum((one or _ZERO for one in costs), _ZERO)


def _reason(subject: Subject, source: Price, target: Price, near: bool) -> str:
    """Return what costs the most: that without which the move would gain the most."""
    free = (Tier(None, _ZERO),)
    if (_storage(target, 1 << 30, 30) or _ZERO) >= (_storage(source, 1 << 30, 30) or _ZERO):
        return "dearer"
    without = (
        ("minimum size", replace(target, min_size=0), source, near, subject),
        ("minimum duration", replace(target, min_days=0), source, near, subject),
        ("early removal", target, replace(source, min_days=0), near, subject),
        ("egress", target, replace(source, egress=free, retrieval=_ZERO), near, subject),
        ("requests", replace(target, write=_ZERO), replace(source, read=_ZERO), near, subject),
        ("reads", target, source, near, replace(subject, reads=_ZERO)),
    )
    gains = {reason: _gain(what, here, there, close) or _ZERO for reason, there, here, close, what in without}
    return max(gains, key=lambda reason: gains[reason])


def _reading(subject: Subject, source: Price, target: Price) -> Decimal | None:
    """Return how much more the reads of the version's life cost there."""
    if not subject.reads:
        return _ZERO
    here = (
        _each_or_none(source.read),
        _times(source.retrieval, subject.size, source),
        _egress(source, subject.size),
    )
    there = (
        _each_or_none(target.read),
        _times(target.retrieval, subject.size, target),
        _egress(target, subject.size),
    )
    if None in here or None in there:
        return None
    more = sum((one or _ZERO for one in there), _ZERO) - sum((one or _ZERO for one in here), _ZERO)
    return more * subject.reads * subject.life / _MONTH


def _storage(row: Price, size: int, days: int) -> Decimal | None:
    if row.storage is None:
        return None
    return Decimal(max(size, row.min_size)) / row.unit * row.storage[0].price * days / _MONTH


def _egress(row: Price, size: int) -> Decimal | None:
    return None if row.egress is None else Decimal(size) / row.unit * row.egress[0].price


def _times(price: Decimal | None, size: int, row: Price) -> Decimal | None:
    return None if price is None else Decimal(size) / row.unit * price


def _each(price: Decimal | None) -> Decimal:
    return (price or _ZERO) / _THOUSAND


def _each_or_none(price: Decimal | None) -> Decimal | None:
    return None if price is None else price / _THOUSAND
