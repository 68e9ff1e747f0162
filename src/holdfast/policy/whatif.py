"""What the same use would cost elsewhere: stores as they are used, paid for at other prices, and the way there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from holdfast.core.errors import InvalidRequestError
from holdfast.policy.cost import Billing, Estimate, Use, monthly, move_cost, total
from holdfast.policy.prices import PriceBook


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A month as it is (`before`), as it would be (`after`), and what going there costs `once`.

    `uses` are of a month, by store; `keys` the prices now, `supposed` those that are asked about.
    """

    uses: Mapping[str, Use]
    keys: Mapping[str, str]
    supposed: Mapping[str, str]
    billing: Billing
    before: Estimate
    after: Estimate
    once: Estimate
    days: int = 30  #: that were measured, and scaled to a month

    @property
    def saving(self) -> Decimal | None:
        """What a month costs less; negative: more. None when an amount is not known."""
        before, after = self.before.total, self.after.total
        return None if before is None or after is None else before - after

    @property
    def percent(self) -> Decimal | None:
        """The saving in hundredths of what it costs now."""
        before, saved = self.before.total, self.saving
        return None if not before or saved is None else 100 * saved / before

    @property
    def months(self) -> Decimal | None:
        """After how many months the way there has paid for itself; None: never, or not known."""
        saved, once = self.saving, self.once.total
        return None if saved is None or once is None or saved <= 0 else once / saved


def what_if(
    book: PriceBook,
    uses: Mapping[str, Use],
    keys: Mapping[str, str],
    supposed: Mapping[str, str],
    *,
    billing: Billing = Billing.BILLED,
    days: int = 30,
) -> WhatIf:
    """Return what `uses` cost by `keys`, and what they would if the stores of `supposed` were at those prices.

    A move reads every object once where it is and writes it once where it goes.

    Raises:
        InvalidRequestError: a store of `supposed` is not used, or the book has no such price.
    """
    for store, key in supposed.items():
        if store not in uses:
            known = ", ".join(sorted(uses)) or "none"
            raise InvalidRequestError(f"nothing is known of a store {store!r:.80}; measured are: {known}")
        if book.find(key) is None:
            raise InvalidRequestError(f"the price book has no row {key!r:.80}")
    then = {name: supposed.get(name, keys.get(name, "")) for name in uses}
    once = [
        move_cost(book, keys.get(name, ""), key, uses[name].objects, uses[name].bytes)
        for name, key in supposed.items()
        if key != keys.get(name, "")
    ]
    return WhatIf(
        dict(uses),
        dict(keys),
        dict(supposed),
        billing,
        total(monthly(book, _by_key(uses, keys), billing=billing).values()),
        total(monthly(book, _by_key(uses, then), billing=billing).values()),
        total(once),
        days,
    )


def _by_key(uses: Mapping[str, Use], keys: Mapping[str, str]) -> dict[str, Use]:
    """Return the uses by price key: allowances and tiers count once for each."""
    found: dict[str, Use] = {}
    for name, use in uses.items():
        key = keys.get(name, "")
        found[key] = found.get(key, Use()) + use
    return found
