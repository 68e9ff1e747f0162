"""Which objects would be cheaper elsewhere, by how long nobody has asked for them; and what it costs to be wrong. Pure.

What is known of many objects is added up in `Groups`: how many there are and how large, by bucket, store, idle time and
size class. `policy.worth` says what moving one of them gains; inside a size class that is a straight line over the size,
so the mean size stands for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

from holdfast.policy.prices import Price, PriceBook
from holdfast.policy.worth import HORIZON_DAYS, Subject, near, weigh

IDLE: Final = (30, 90, 180, 365)  #: days without a read after which objects are looked at together
_ZERO: Final = Decimal(0)
_MONTH: Final = Decimal(30)


@dataclass(frozen=True, slots=True)
class Place:
    """A store that objects are in, or may go to: the key of its price, and its region."""

    name: str
    key: str
    region: str = ""
    supposed: bool = False  #: there is no such store


@dataclass(slots=True)
class Pile:
    """Objects of one bucket in one store that were left alone for as long, and are of one size class."""

    objects: int = 0
    bytes: int = 0
    reads: int = 0  #: counted ones of the last 30 days or more, of all of them


@dataclass(slots=True)
class Groups:
    """Piles by (bucket, store, idle days, size class). `sizes`: where classes begin, the smallest first, 0 among them."""

    sizes: Sequence[int]
    piles: dict[tuple[str, str, int, int], Pile] = field(default_factory=dict)
    counted: set[str] = field(default_factory=set)  #: buckets whose reads are counted
    objects: int = 0
    busy: int = 0  #: objects that were asked for, or written, in the last 30 days

    def add(self, bucket: str, store: str, idle: int, size: int, reads: int = 0) -> None:
        """Add an object that nobody has asked for since `idle` days."""
        self.objects += 1
        since = max((days for days in IDLE if days <= idle), default=None)
        if since is None:
            self.busy += 1
            return
        least = max(step for step in self.sizes if step <= size)
        pile = self.piles.setdefault((bucket, store, since, least), Pile())
        pile.objects += 1
        pile.bytes += size
        pile.reads += reads


@dataclass(frozen=True, slots=True)
class Advice:
    """What moving the objects of a bucket from `store` to `target` gains, of those left alone for `idle` days or more.

    Amounts are dollars. `gain` is over the horizon, the way there paid for; `monthly` is what a month of storage costs
    less. What being wrong costs: `read_once` if all of it is read once, `removed` if all of it is removed the day after.
    `reads_to_loss`: how often all of it may be read in the horizon before the gain is gone; None: it never is.
    """

    bucket: str
    store: str
    target: str
    supposed: bool
    idle: int
    objects: int
    bytes: int
    gain: Decimal
    monthly: Decimal
    read_once: Decimal
    removed: Decimal
    reads_to_loss: Decimal | None
    counted: bool  #: reads of this bucket are counted; else idle means since it was written


def sizes_of(book: PriceBook, places: Iterable[Place]) -> tuple[int, ...]:
    """Return where size classes begin: at the smallest sizes that the prices bill."""
    rows = (book.find(place.key) for place in places)
    return tuple(sorted({0, *(row.min_size for row in rows if row is not None)}))


def advise(
    groups: Groups, book: PriceBook, places: Mapping[str, Place], *, horizon: int = HORIZON_DAYS
) -> list[Advice]:
    """Return for each bucket and store the move that gains the most, if one gains anything; the best first."""
    found = []
    for bucket, store in sorted({(bucket, store) for bucket, store, _, _ in groups.piles}):
        offers = [
            offer
            for idle in IDLE
            for place in places.values()
            if place.name != store
            and (offer := _offer(groups, book, places, bucket, store, place, idle, horizon)) is not None
            and offer.gain > 0
        ]
        if offers:
            found.append(max(offers, key=lambda offer: (offer.gain, offer.idle, offer.target)))
    return sorted(found, key=lambda offer: (-offer.gain, offer.bucket, offer.store))


def _offer(
    groups: Groups,
    book: PriceBook,
    places: Mapping[str, Place],
    bucket: str,
    store: str,
    place: Place,
    idle: int,
    horizon: int,
) -> Advice | None:
    """Return what one move gains; None when a price is not known, or there is nothing to move."""
    here = places.get(store)
    source, target = book.find(here.key) if here else None, book.find(place.key)
    if here is None or source is None or target is None:
        return None
    close = near(here.key, place.key, (here.region, place.region))
    piles = [
        (since, pile)
        for (owner, held, since, _), pile in groups.piles.items()
        if owner == bucket and held == store and since >= idle
    ]
    sums = _Sums(source, target, close, horizon)
    for since, pile in piles:
        if not sums.add(since, pile):
            return None
    if not sums.objects:
        return None
    reading = sums.gain - sums.read
    return Advice(
        bucket,
        store,
        place.name,
        place.supposed,
        idle,
        sums.objects,
        sums.bytes,
        sums.gain,
        (sums.longer - sums.gain) * _MONTH / horizon,
        max(reading, _ZERO),
        max(-sums.removed, _ZERO),
        sums.gain / reading if reading > 0 else None,
        bucket in groups.counted,
    )


class _Sums:
    """What piles gain together in several turns of events."""

    def __init__(self, source: Price, target: Price, close: bool, horizon: int) -> None:
        self._source, self._target, self._close, self._horizon = source, target, close, horizon
        self.objects = self.bytes = 0
        self.gain = self.longer = self.read = self.removed = _ZERO

    def add(self, since: int, pile: Pile) -> bool:
        """Add a pile; False when a price is not known."""
        reads = Decimal(pile.reads) / pile.objects
        one = Subject(pile.bytes // pile.objects, since, self._horizon, reads)
        once = Decimal(30) / self._horizon  # a read in the whole time, as reads a month
        turns = (
            one,
            replace(one, life=2 * self._horizon),
            replace(one, reads=reads + once),
            replace(one, life=1, reads=_ZERO),
        )
        gains = [weigh(turn, self._source, self._target, near=self._close).gain for turn in turns]
        known = [gain * pile.objects for gain in gains if gain is not None]
        if len(known) < len(turns):
            return False
        self.objects += pile.objects
        self.bytes += pile.bytes
        self.gain += known[0]
        self.longer += known[1]
        self.read += known[2]
        self.removed += known[3]
        return True
