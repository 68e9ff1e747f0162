"""What was asked of stores, written down, and read again with what it costs by the price book."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from holdfast.catalog.ledger import DAY
from holdfast.core.errors import InvalidRequestError
from holdfast.core.ledger import Daily, Holding
from holdfast.engine.context import Context
from holdfast.engine.costs import price_key
from holdfast.policy.cost import Estimate, Use, month_cost
from holdfast.policy.usage import average, month_of, scaled, used

LONGEST: Final = 3660  #: days that one report is about
MONTH: Final = 30


async def write_ledger(context: Context) -> None:
    """Add what this process asked of stores to the catalog's ledger; what cannot be written now is kept for the next time."""
    entries = context.ledger.take()
    if not entries:
        return
    try:
        await context.catalog.add_to_ledger(entries)
    except BaseException:
        context.ledger.give_back(entries)
        raise


@dataclass(frozen=True, slots=True)
class LedgerLine:
    """What was asked of one store in one month (`2026-11`), and what that costs without storage; `key` is its price."""

    month: str
    store: str
    key: str
    days: int  #: with at least one call
    use: Use  #: `bytes` and `objects`: what it held, on average over its measured days
    calls: dict[str, int]
    failed: int
    sent: int
    amount: Decimal | None


@dataclass(frozen=True, slots=True)
class LedgerReport:
    """Lines by month and store, and what their amounts rest on. `since`: the first day, `until`: the day after the last."""

    since: int
    until: int
    lines: tuple[LedgerLine, ...]
    estimate: Estimate

    @property
    def total(self) -> Decimal | None:
        """The sum of all lines; None when one is not known."""
        amounts = [line.amount for line in self.lines]
        return None if None in amounts else sum((amount or Decimal(0) for amount in amounts), Decimal(0))


async def ledger_report(context: Context, *, days: int = MONTH, store: str = "") -> LedgerReport:
    """Return what was asked of stores in the last `days` days, today included.

    Amounts are of requests, egress and retrieval; allowances of a price are counted for each store and month.

    Raises:
        InvalidRequestError: `days` is no number of days from 1 to 3,660.
    """
    since, until, entries, held = await _last(context, days)
    lines: list[LedgerLine] = []
    estimate = Estimate()
    names = sorted({(month_of(daily.day), daily.entry.store) for daily in entries})
    for month, name in names:
        if store and name != store:
            continue
        mine = [daily for daily in entries if daily.entry.store == name and month_of(daily.day) == month]
        there = [row for row in held if row.store == name and month_of(row.day) == month]
        line, priced = _line(context, month, name, mine, there)
        lines.append(line)
        estimate += priced
    return LedgerReport(since, until, tuple(lines), estimate)


async def monthly_use(context: Context, days: int) -> tuple[dict[str, Use], int]:
    """Return what each store is used for in a month, by the last `days` days, and how many days were measured.

    What is stored is what the last measurement found; calls and egress are scaled to a month of 30 days.
    """
    _, until, entries, held = await _last(context, days)
    seen = {daily.day for daily in entries} | {row.day for row in held}
    first = min(seen, default=until - 1)
    span = max(1, until - first)
    found: dict[str, Use] = {}
    for name in sorted({daily.entry.store for daily in entries} | {row.store for row in held}):
        mine = [daily.entry for daily in entries if daily.entry.store == name]
        last = [row for row in held if row.store == name]
        now = last[-1] if last else Holding(name, 0, 0, 0)
        found[name] = scaled(used(mine), MONTH, span) + Use(bytes=now.bytes, objects=now.blobs)
    return found, span


async def history(context: Context, days: int) -> tuple[Sequence[Daily], Sequence[Holding]]:
    """Return the calls and the holdings of the last `days` days."""
    _, _, entries, held = await _last(context, days)
    return entries, held


async def _last(context: Context, days: int) -> tuple[int, int, Sequence[Daily], Sequence[Holding]]:
    if not 1 <= days <= LONGEST:
        raise InvalidRequestError(f"days is a number from 1 to {LONGEST}")
    await write_ledger(context)  # what this process counted is told at once
    until = await context.catalog.now() // DAY + 1
    entries, held = await context.catalog.store_days(until - days, until)
    return until - days, until, entries, held


def _line(
    context: Context, month: str, name: str, mine: Sequence[Daily], there: Sequence[Holding]
) -> tuple[LedgerLine, Estimate]:
    entries = [daily.entry for daily in mine]
    use = used(entries) + average(there)
    key = price_key(context, name)
    priced = month_cost(
        context.settings.prices,
        key,
        use.bytes,
        use.writes,
        use.reads,
        use.egress,
        objects=use.objects,
        retrieved=use.retrieved,
    )
    running = tuple(line for line in priced.lines if line.what not in ("storage", "fee"))
    estimate = Estimate(running, priced.provenance, priced.notes)
    calls: dict[str, int] = {}
    for entry in entries:
        calls[entry.verb] = calls.get(entry.verb, 0) + entry.calls
    line = LedgerLine(
        month,
        name,
        key,
        len({daily.day for daily in mine}),
        use,
        calls,
        sum(entry.failed for entry in entries),
        sum(entry.sent for entry in entries),
        estimate.total,
    )
    return line, estimate
