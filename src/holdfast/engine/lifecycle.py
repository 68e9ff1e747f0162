"""The rules of a bucket applied to its versions, one at a time: what is due, where to, whether it pays; and doing it.

Facts are gathered here, `policy.lifecycle` says what is due and `policy.worth` whether a move pays. What is removed goes
by the transaction that removes any version, which looks once more whether the version and the rules are as they were
judged. A move only says where a version belongs (its tier) and owes it; `reconcile` brings it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from holdfast.catalog.contract import Actor, Aged, Grown, Seen, TierChange
from holdfast.core.backend import Store, StoreState
from holdfast.core.names import INLINE
from holdfast.core.types import Bucket, ObjectRef
from holdfast.engine.context import Context
from holdfast.engine.costs import price_key
from holdfast.engine.facts import Asking, asking
from holdfast.policy import lifecycle, worth
from holdfast.policy.lifecycle import DAY, Action, Item, Planned, Verdict
from holdfast.policy.moving import store_of
from holdfast.policy.worth import HORIZON_DAYS, Subject, Worth

ACTOR: Final = Actor("lifecycle")  #: who it was, in the audit
_LABEL: Final = "label:"
_CLASS: Final = "class:"
#: Why nothing is done about what is due, beside `worth.REASONS`.
NO_STORE: Final = "no store"
IN_CATALOG: Final = "in the catalog"
HELD: Final = "held"
REASONS: Final = {
    **worth.REASONS,
    NO_STORE: "no store that takes objects is called so, or has that label",
    IN_CATALOG: "contents that live in the catalog stay there",
    HELD: "a hold or a lock keeps them",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the walk over a key's versions stands: what lies between the newest and the next one that is looked at."""

    key: str = ""
    seq: int = 1 << 62  #: the next ones are numbered below it
    since: int | None = None  #: when the next one was replaced; None: it is the newest
    newer: int = 0  #: contents between the newest and it

    def item(self, aged: Aged, below: Aged | None, counting: int | None) -> Item:
        """Return what is known of `aged`, which comes next; `below` is the one after it, None: unknown."""
        version = aged.version
        first = version.ref.key != self.key or self.since is None
        return Item(
            version.ref.key,
            version.size,
            version.created,
            version.content_type,
            version.tags,
            since=None if first else self.since,
            newer=0 if first else self.newer,
            marker=version.delete_marker,
            hiding=below is not None and below.version.ref.key == version.ref.key,
            read=_read(aged, counting),
            keeping=aged.keeping,
        )

    def after(self, aged: Aged) -> Place:
        """Return where the walk stands behind `aged`."""
        version, first = aged.version, aged.version.ref.key != self.key or self.since is None
        counted = 0 if first else self.newer + (0 if version.delete_marker else 1)
        return Place(version.ref.key, version.seq, version.created, counted)


@dataclass(frozen=True, slots=True)
class Judged:
    """What is to be done with a version: `wish`, None for nothing. A move goes `to`; `refused` says why it does not.

    `money` is what a move gains while the version lives (below 0: a loss; None: not known).
    """

    aged: Aged
    newest: bool
    wish: Planned | None = None
    to: str = ""
    refused: str = ""
    money: Decimal | None = None

    @property
    def ref(self) -> ObjectRef:
        """The object that it is a version of."""
        return self.aged.version.ref


class Ageing:
    """The rules of one bucket, with the stores and prices of now. Made by `ageing`, used for a page."""

    def __init__(
        self, context: Context, ask: Asking, bucket: Bucket, counting: int | None, horizon: int
    ) -> None:
        self.bucket = bucket
        self.counting = counting
        self._context = context
        self._ask = ask
        self._horizon = horizon
        self._targets: dict[str, tuple[str, ...]] = {}

    def judge(self, aged: Aged, item: Item, now: int) -> Judged:
        """Return what is to be done with a version now."""
        verdict = lifecycle.judge(self.bucket.settings.lifecycle, item, now)
        judged = Judged(aged, item.since is None)
        if verdict.removal is not None:
            if not verdict.held or self._hides(verdict.removal):
                return replace(judged, wish=verdict.removal)
            judged = replace(judged, wish=verdict.removal, refused=HELD)
        if aged.recalled:
            return judged  # it was asked for; that counts more than its age, while it lasts
        return self._move(judged, item, verdict, now)

    def stores(self, to: str, aged: Aged) -> tuple[str, ...]:
        """Return the stores that a rule's `to` means for a version, the cheapest first; those that take objects."""
        if to.startswith(_CLASS):
            version = replace(aged.version, storage_class=to.removeprefix(_CLASS))
            return tuple(name for name in self._ask.of_version(version).stores if name != INLINE)[:1]
        if to not in self._targets:
            self._targets[to] = self._named(to)
        return self._targets[to]

    def worth(self, aged: Aged, item: Item, target: str, now: int) -> Worth:
        """Return what it gains to bring a version to a store."""
        source = aged.stores[0] if aged.stores else ""
        book, mine, theirs = (
            self._context.settings.prices,
            price_key(self._context, source),
            price_key(self._context, target),
        )
        ends = lifecycle.leaves(self.bucket.settings.lifecycle, item, self.bucket.versioning)
        if (days := self.bucket.settings.retention_days) is not None:
            ends = min(ends or 1 << 62, item.created + days * DAY)
        life = self._horizon if ends is None else min(self._horizon, max(0, -(-(ends - now) // DAY)))
        age = max(0, (now - item.created) // DAY)
        subject = Subject(item.size, age, life, self._reads(aged, item, now))
        regions = (self._region(source), self._region(target))
        return worth.weigh(
            subject, book.find(mine), book.find(theirs), near=worth.near(mine, theirs, regions)
        )

    # -----------------------------------------------------------------------------------------------------------
    def _hides(self, wish: Planned) -> bool:
        """Whether a removal only puts a delete marker in front of the version."""
        return wish.action is Action.EXPIRE and self.bucket.versioning

    def _move(self, judged: Judged, item: Item, verdict: Verdict, now: int) -> Judged:
        for wish in verdict.moves:
            stores = self.stores(wish.to, judged.aged)
            if not stores:
                judged = replace(judged, wish=wish, to=wish.to, refused=NO_STORE)
                continue  # the step before may have a place
            if _is_in(judged.aged, stores):
                return judged
            if INLINE in judged.aged.stores:
                return replace(judged, wish=wish, to=stores[0], refused=IN_CATALOG)
            value = self.worth(judged.aged, item, stores[0], now)
            refused = value.reason if value.loss and not wish.even_if_dearer else ""
            return replace(judged, wish=wish, to=stores[0], refused=refused, money=value.gain)
        return judged

    def _named(self, to: str) -> tuple[str, ...]:
        stores = self._context.stores
        if not to.startswith(_LABEL):
            named = stores.get(to)
            return (to,) if named is not None and _takes(named) else ()
        label = to.removeprefix(_LABEL)
        found = [name for name, store in stores.items() if label in store.labels and _takes(store)]
        return tuple(sorted(found, key=lambda name: (self._storage_price(name), name)))

    def _storage_price(self, name: str) -> Decimal:
        row = self._context.settings.prices.find(price_key(self._context, name))
        return Decimal("Infinity") if row is None or row.storage is None else row.storage[0].price

    def _region(self, name: str) -> str:
        store = self._context.stores.get(name)
        return "" if store is None else store.region

    def _reads(self, aged: Aged, item: Item, now: int) -> Decimal:
        """Return the reads a month, as far as they were counted."""
        if self.counting is None or not aged.reads:
            return Decimal(0)
        days = max(1, (now - max(self.counting, item.created)) // DAY)
        return Decimal(aged.reads) * 30 / days


def stretch(
    ageing: Ageing, grown: Grown, place: Place, now: int, before: str = ""
) -> tuple[list[Judged], Place, bool]:
    """Judge a page of versions that begins at `place`, those of keys before `before` ("": all of them).

    Returns them, where the next page begins, and whether there is more.
    """
    found: list[Judged] = []
    for number, aged in enumerate(grown.versions):
        if before and aged.version.ref.key >= before:
            return found, place, False
        below = grown.versions[number + 1] if number + 1 < len(grown.versions) else None
        found.append(ageing.judge(aged, place.item(aged, below, ageing.counting), now))
        place = place.after(aged)
    return found, place, grown.more


async def ageing(
    context: Context, bucket: Bucket, counting: int | None, *, horizon: int = HORIZON_DAYS
) -> Ageing:
    """Return the rules of `bucket` with the placement, stores and prices of now; `horizon` in days."""
    return Ageing(context, await asking(context, bucket), bucket, counting, horizon)


async def remove(context: Context, bucket: Bucket, judged: Judged) -> bool:
    """Remove what is to be removed, if it still is as it was judged; return whether that was so.

    Raises:
        ConflictError: it was held or locked meanwhile.
    """
    assert judged.wish is not None
    version = replace(judged.aged.version, current=judged.newest)
    seen = Seen(version, bucket.settings.lifecycle, judged.wish.keep)
    deleted = await context.catalog.delete_object(
        version.ref,
        version_id=None if judged.wish.action is Action.EXPIRE else version.id,
        marker_id=context.environment.new_id(),
        grace=context.grace,
        actor=ACTOR,
        if_as=seen,
    )
    return deleted.version_id is not None


async def move(context: Context, moved: Sequence[Judged]) -> set[str]:
    """Say of versions where they belong now, and owe it; return the ids of those that belonged elsewhere."""
    changes = [
        TierChange(one.ref, one.aged.version.id, one.to, rule=one.wish.rule if one.wish else "")
        for one in moved
    ]
    if not changes:
        return set()
    return set(await context.catalog.set_tiers(changes, reason="lifecycle", actor=ACTOR))


def _is_in(aged: Aged, stores: Sequence[str]) -> bool:
    """Whether a version belongs in one of `stores` alone already."""
    if aged.version.tier:
        return store_of(aged.version.tier) in stores
    return len(aged.stores) == 1 and aged.stores[0] in stores


def _takes(store: Store) -> bool:
    return store.name != INLINE and store.state is StoreState.ACTIVE and not store.reason


def _read(aged: Aged, counting: int | None) -> int | None:
    """Return when a version was read last, at the latest; where no read was counted, when counting began."""
    if counting is None:
        return None
    return counting if aged.day is None else max(counting, (aged.day + 1) * DAY - 1)
