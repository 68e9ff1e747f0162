"""What stores were asked and what that costs, what it would cost elsewhere, and what was saved: for operators."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.core.errors import InvalidRequestError
from holdfast.core.names import INLINE
from holdfast.engine import advising, ledger
from holdfast.engine.advising import Advised
from holdfast.engine.context import Context
from holdfast.engine.costs import price_key
from holdfast.engine.ledger import LedgerReport
from holdfast.engine.measuring import measure
from holdfast.engine.permits import Permit
from holdfast.policy.cost import Billing
from holdfast.policy.savings import Savings, savings
from holdfast.policy.whatif import WhatIf, what_if
from holdfast.policy.worth import HORIZON_DAYS


class Spending:
    """Reports over the ledger. `Administration.spending` gives it; costs nothing to make."""

    def __init__(self, context: Context, permit: Permit) -> None:
        self._context = context
        self._permit = permit

    async def ledger(self, *, days: int = 30, store: str = "") -> LedgerReport:
        """Return what stores were asked in the last `days` days (1 to 3,660, today included), and what that costs."""
        await self._allowed()
        return await ledger.ledger_report(self._context, days=days, store=store)

    async def what_if(
        self, supposed: Mapping[str, str], *, days: int = 30, billing: Billing = Billing.BILLED
    ) -> WhatIf:
        """Return what a month as the last `days` days were would cost if the stores of `supposed` were at those prices.

        Raises:
            InvalidRequestError: a store was never measured, or the price book has no such row.
        """
        await self._allowed()
        measured, _ = await self._context.catalog.store_uses()
        if measured is None:
            await measure(self._context)
        uses, span = await ledger.monthly_use(self._context, days)
        keys = {name: price_key(self._context, name) for name in uses}
        return what_if(self._context.settings.prices, uses, keys, supposed, billing=billing, days=span)

    async def savings(self, key: str, *, days: int = 365) -> Savings:
        """Return what was saved in the last `days` days against having everything at the price `key`."""
        await self._allowed()
        book = self._context.settings.prices
        if book.find(key) is None:
            raise InvalidRequestError(f"the price book has no row {key!r:.80}")
        entries, held = await ledger.history(self._context, days)
        names = {row.store for row in held} | {daily.entry.store for daily in entries}
        keys = {name: price_key(self._context, name) for name in names}
        return savings(book, key, keys, entries, held)

    async def advice(
        self, *, supposed: Mapping[str, str] | None = None, tenant: str = "", horizon: int = HORIZON_DAYS
    ) -> Advised:
        """Return where objects that nobody asks for would be cheaper, and what being wrong costs.

        Every version is looked at. `supposed` are stores that are not there yet, by name, with their price keys.
        """
        await self._allowed()
        if INLINE in (supposed or {}):
            raise InvalidRequestError(f"{INLINE} is the catalog itself; suppose a store of another name")
        return await advising.advice(self._context, supposed=supposed or {}, tenant=tenant, horizon=horizon)

    async def _allowed(self) -> None:
        self._permit.allow("costs")
        self._permit.allow("operate")
        await self._context.stores.refresh()
