"""What other rules would do with everything that is there: objects, bytes, calls and money, before a change is made.

Every version of every tenant is asked about, page by page, and what it costs to know is a page in memory. What is found is
what `reconcile` would then do: copies that are missing are made from one that is there, and what no rule wants any more
is removed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from holdfast.core.records import Fragment, HeldVersion
from holdfast.engine.context import Context
from holdfast.engine.facts import facts_held
from holdfast.policy.cost import Estimate, Use, month_cost, move_cost, total
from holdfast.policy.placement import INLINE, Placement, Plan
from holdfast.policy.prices import PriceBook

K = TypeVar("K", bound=Hashable)
#: Says how a version is to be seen; None: it is left out.
Seen = Callable[[HeldVersion], HeldVersion | None]
_PAGE = 1000


@dataclass(slots=True)
class Count:
    """Objects (versions, each with its content), the blobs that they are made of, and their bytes."""

    objects: int = 0
    blobs: int = 0
    bytes: int = 0

    def add(self, version: HeldVersion) -> None:
        """Count one more version."""
        self.objects += 1
        self.blobs += version.parts
        self.bytes += version.size

    def add_some(self, blobs: int, size: int) -> None:
        """Count some blobs of one more version."""
        self.objects += 1
        self.blobs += blobs
        self.bytes += size


@dataclass(slots=True)
class StoreLoad:
    """What one store holds before and after, and the calls that bring it there.

    `writes` and `reads` are of the bytes that move, `deletes` of what is removed; a copy inside a store counts as none.
    """

    before: Count = field(default_factory=Count)
    after: Count = field(default_factory=Count)
    writes: int = 0
    written: int = 0  #: bytes
    reads: int = 0
    read: int = 0  #: bytes
    deletes: int = 0
    price: str = ""  #: the key of its prices; "": unknown


@dataclass(slots=True)
class Simulation:
    """What other rules would do. `moves` are by the stores with a whole and sound copy now and the stores of the plan."""

    every: Count = field(default_factory=Count)
    moving: Count = field(default_factory=Count)
    lost: Count = field(default_factory=Count)  #: no copy can be read, so nothing can be moved
    moves: dict[tuple[tuple[str, ...], tuple[str, ...]], Count] = field(default_factory=dict)
    rules: dict[str, Count] = field(default_factory=dict)  #: by the rule that decides
    stores: dict[str, StoreLoad] = field(default_factory=dict)
    flows: dict[tuple[str, str], Count] = field(
        default_factory=dict
    )  #: copies made, by store read and store written
    generation: int = 0  #: of the rules of the catalog when it was asked


@dataclass(frozen=True, slots=True)
class Priced:
    """What a simulation costs: once, and per month before and after. Amounts that are not known are None, never 0."""

    once: Estimate
    before: Estimate
    after: Estimate


async def simulate(
    context: Context,
    placement: Placement,
    *,
    supposed: Mapping[str, str],
    seen: Seen | None = None,
    page: int = _PAGE,
) -> Simulation:
    """Return what `placement` would do. `supposed` are stores that are not there yet, with the keys of their prices.

    `seen` says how each version is to be seen, and leaves out those that are not asked about.
    """
    near = {name: _distance(context, name) for name in context.stores}
    tally = Tally(placement, near, {name for name, store in context.stores.items() if store.encrypt})
    generation = (await context.catalog.rules()).generation
    async for versions in _pages(context, page):
        tally.take(versions if seen is None else [one for one in map(seen, versions) if one is not None])
    made = tally.made
    made.generation = generation
    for name, load in made.stores.items():
        store = context.stores.get(name)
        load.price = supposed.get(name, "") if store is None else store.price
    return made


async def _pages(context: Context, limit: int) -> AsyncIterator[Sequence[HeldVersion]]:
    """Yield all versions of all tenants, page by page; the next one is fetched meanwhile."""
    ahead = asyncio.ensure_future(context.catalog.held_versions(limit=limit))
    try:
        while True:
            page = await ahead
            if page.after is not None:
                ahead = asyncio.ensure_future(context.catalog.held_versions(after=page.after, limit=limit))
            yield page.versions
            if page.after is None:
                return
            await asyncio.sleep(0)  # others have their turn too
    finally:
        ahead.cancel()


def _distance(context: Context, name: str) -> int:
    """Return how far a store is to read from: the catalog, those inside, those outside."""
    if name == INLINE:
        return 0
    store = context.stores.get(name)
    return 2 if store is not None and "external" in store.labels else 1


class Tally:
    """Counts versions one after the other. `near` says which of several copies is read: the one with the least number.

    In the stores `encrypting`, as in those of plans that encrypt, a plain copy is replaced by an encrypted one.
    """

    def __init__(
        self, placement: Placement, near: Mapping[str, int], encrypting: Collection[str] = ()
    ) -> None:
        self._plan = placement.plan
        self._near = near
        self._encrypting = encrypting
        self.made = Simulation()

    def take(self, versions: Iterable[HeldVersion]) -> None:
        """Count these versions."""
        made = self.made
        for version in versions:
            plan = self._plan(facts_held(version))
            made.every.add(version)
            _of(made.rules, plan.rule).add(version)
            held, wanted = version.stores, plan.stores
            for name in held:
                self._load(name).before.add(version)
            for some in version.broken:
                self._load(some.store).before.add_some(some.blobs, some.bytes)
            if not held and not version.broken:
                made.lost.add(version)
                continue
            for name in wanted:
                self._load(name).after.add(version)
            plain: Sequence[str] = ()
            if plan.encrypt or self._encrypting:
                plain = [name for name in held if name in wanted and self._plain(version, plan, name)]
            home = len(held) == len(wanted) and all(name in wanted for name in held)
            if home and not version.broken and not plain:
                continue
            self._move(version, wanted, plain)

    def _plain(self, version: HeldVersion, plan: Plan, name: str) -> bool:
        return (plan.encrypt or name in self._encrypting) and name not in version.sealed

    def _move(self, version: HeldVersion, wanted: Sequence[str], plain: Sequence[str]) -> None:
        held, made = version.stores, self.made
        made.moving.add(version)
        _of(made.moves, (held, tuple(sorted(wanted)))).add(version)
        there = {some.store: some for some in version.broken}
        found = held or tuple(there)
        source = found[0] if len(found) == 1 else min(found, key=lambda name: (self._near.get(name, 3), name))
        for name in wanted:
            if name not in held:
                self._copy(version, source, name, there.get(name))
        for name in plain:
            self._copy(version, source, name, None)
            self._load(name).deletes += version.parts
        for name in held:
            if name not in wanted:
                self._load(name).deletes += version.parts
        for some in version.broken:
            self._load(some.store).deletes += some.blobs - (some.sound if some.store in wanted else 0)

    def _copy(self, version: HeldVersion, source: str, target: str, some: Fragment | None) -> None:
        blobs = version.parts - (some.sound if some else 0)
        size = version.size - (some.sound_bytes if some else 0)
        if not blobs:
            return
        _of(self.made.flows, (source, target)).add_some(blobs, size)
        taking, giving = self._load(target), self._load(source)
        taking.writes += blobs
        taking.written += size
        giving.reads += blobs
        giving.read += size

    def _load(self, name: str) -> StoreLoad:
        found = self.made.stores.get(name)
        if found is None:
            found = self.made.stores[name] = StoreLoad()
        return found


def _of(table: dict[K, Count], key: K) -> Count:
    found = table.get(key)
    if found is None:
        found = table[key] = Count()
    return found


def priced(made: Simulation, book: PriceBook) -> Priced:
    """Return what a simulation costs by the prices of its stores."""
    keys = {name: book.key_of(name, load.price) for name, load in made.stores.items()}
    once = [
        move_cost(
            book,
            keys[source],
            keys[target],
            count.blobs,
            count.bytes,
            writes=count.blobs,
        )
        for (source, target), count in made.flows.items()
    ]
    return Priced(
        total(once),
        _month(book, [(keys[name], load.before) for name, load in made.stores.items()]),
        _month(book, [(keys[name], load.after) for name, load in made.stores.items()]),
    )


def _month(book: PriceBook, held: Sequence[tuple[str, Count]]) -> Estimate:
    """Return what storing costs in a month; allowances and tiers count once for each price."""
    uses: dict[str, Use] = {}
    for key, count in held:
        if count.objects:
            uses[key] = uses.get(key, Use()) + Use(bytes=count.bytes, objects=count.blobs)
    return total(month_cost(book, key, use.bytes, objects=use.objects) for key, use in uses.items())
