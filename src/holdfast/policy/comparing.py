"""The same use paid for in two ways: all of it at one price, against each part at its own. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from holdfast.policy.cost import Billing, Estimate, Use, month_cost, monthly, shares, total
from holdfast.policy.prices import FREE, PriceBook

_GB: Final = 10**9


@dataclass(frozen=True, slots=True)
class Portion:
    """A part of the use, as a bucket, and the price key of where it lies in the second way."""

    name: str
    use: Use
    key: str


@dataclass(frozen=True, slots=True)
class Compared:
    """One portion: its amount at the single price and at its own; None: not known."""

    portion: Portion
    single: Decimal | None
    split: Decimal | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both ways per month."""

    key: str  #: the price of the first way
    billing: Billing
    portions: tuple[Compared, ...]
    single: Estimate
    split: Estimate

    @property
    def saving(self) -> Decimal | None:
        """What the second way saves; None when one of them is not known."""
        before, after = self.single.total, self.split.total
        return None if before is None or after is None else before - after

    @property
    def percent(self) -> Decimal | None:
        """The saving in hundredths of the first way."""
        before, saved = self.single.total, self.saving
        return None if not before or saved is None else 100 * saved / before


#: Data sets far away, the small and busy things on a machine that is paid for already.
TYPICAL: Final = (
    Portion("training-datasets", Use(bytes=100 * _GB), "cloudflare.r2.standard"),
    Portion("model-weights", Use(bytes=10 * _GB), FREE),
    Portion("training-checkpoints", Use(bytes=50 * _GB), FREE),
    Portion("config-schemas", Use(bytes=10**6), FREE),
)
TYPICAL_KEY: Final = "cloudflare.r2.standard"


def compare(
    book: PriceBook, key: str, portions: Sequence[Portion], *, billing: Billing = Billing.LIST
) -> Comparison:
    """Return what `portions` cost all at the price `key`, and each at its own.

    With `Billing.BILLED`, allowances and tiers count once for all portions of a price, which share the amount by their
    bytes.
    """
    alone = [Portion(portion.name, portion.use, key) for portion in portions]
    single, first = _priced(book, alone, billing)
    split, second = _priced(book, portions, billing)
    rows = zip(portions, first, second, strict=True)
    return Comparison(key, billing, tuple(Compared(*row) for row in rows), single, split)


def _priced(
    book: PriceBook, portions: Sequence[Portion], billing: Billing
) -> tuple[Estimate, list[Decimal | None]]:
    """Return the whole, and the amount of each portion."""
    uses: dict[str, Use] = {}
    for portion in portions:
        uses[portion.key] = uses.get(portion.key, Use()) + portion.use
    whole = monthly(book, uses, billing=billing)
    if billing is Billing.LIST:
        return total(whole.values()), [_alone(book, portion) for portion in portions]
    amounts: dict[int, Decimal | None] = {}
    for key, estimate in whole.items():
        places = [number for number, portion in enumerate(portions) if portion.key == key]
        weights = [portions[number].use.bytes for number in places]
        amounts |= dict(zip(places, shares(estimate.total, weights), strict=True))
    return total(whole.values()), [amounts[number] for number in range(len(portions))]


def _alone(book: PriceBook, portion: Portion) -> Decimal | None:
    use = portion.use
    return month_cost(
        book,
        portion.key,
        use.bytes,
        use.writes,
        use.reads,
        use.egress,
        objects=use.objects,
        retrieved=use.retrieved,
        billing=Billing.LIST,
    ).total
