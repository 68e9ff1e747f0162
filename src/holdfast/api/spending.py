"""What stores were asked and what that costs, over HTTP; for operators. Amounts are US dollars in text; null: not known."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from holdfast.api.body import MAX_JSON, small_body
from holdfast.api.costs import Source, sources
from holdfast.api.exchange import Exchange
from holdfast.api.listing import number
from holdfast.api.models import Name, decode, encode
from holdfast.core.errors import InvalidRequestError
from holdfast.engine.advising import Advised
from holdfast.engine.ledger import LONGEST, LedgerReport
from holdfast.policy.advice import Advice
from holdfast.policy.cost import Billing, money
from holdfast.policy.savings import Savings
from holdfast.policy.usage import date_of
from holdfast.policy.whatif import WhatIf

SINGLE: Final = "aws.s3.standard"
Days = Annotated[int, Meta(ge=1, le=LONGEST)]


# -- in ---------------------------------------------------------------------------------------------------------------
class WhatIfWish(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Stores by name, with the key of the price that is asked about; the use is that of the last `days` days."""

    prices: Annotated[dict[str, Name], Meta(max_length=100)]
    days: Days = 30
    billing: Literal["list", "billed"] = "billed"


# -- out --------------------------------------------------------------------------------------------------------------
class LedgerEntry(Struct, frozen=True, kw_only=True):
    """One store in one month. `calls` by verb; `egress_bytes` came from it, `sent_bytes` went to it."""

    month: str
    store: str
    price: str
    days: int
    calls: dict[str, int]
    failed: int
    sent_bytes: int
    egress_bytes: int
    amount: str | None


class LedgerAnswer(Struct, frozen=True, kw_only=True):
    """What stores were asked from the day `since` to the day `until`, both included."""

    since: str
    until: str
    lines: list[LedgerEntry]
    total: str | None
    currency: str
    provenance: list[Source]
    notes: list[str]


class StoreMonth(Struct, frozen=True, kw_only=True):
    """How a store is used in a month, and the price that is paid for it, or would be."""

    store: str
    price: str
    supposed: str
    bytes: int
    blobs: int
    writes: int
    reads: int
    egress_bytes: int


class WhatIfAnswer(Struct, frozen=True, kw_only=True):
    """A month as it is and as it would be; `once` is the way there, which pays for itself in `months`; null: never."""

    stores: list[StoreMonth]
    billing: str
    before: str | None
    after: str | None
    saving: str | None
    saving_percent: str | None
    once: str | None
    months: str | None
    measured_days: int
    currency: str
    provenance: list[Source]
    notes: list[str]


class SavedMonth(Struct, frozen=True, kw_only=True):
    """What the measured days of a month cost, and would have cost at the one price."""

    month: str
    days: int
    paid: str | None
    single: str | None
    saving: str | None


class SavingsAnswer(Struct, frozen=True, kw_only=True):
    """What was saved so far against having everything at the price `single`."""

    single: str
    months: list[SavedMonth]
    total: str | None
    currency: str
    provenance: list[Source]
    notes: list[str]


class AdviceEntry(Struct, frozen=True, kw_only=True):
    """A move that would pay, and what being wrong costs. See the guide on costs."""

    bucket: str
    store: str
    target: str
    supposed: bool
    idle_days: int
    reads_counted: bool
    objects: int
    bytes: int
    gain: str
    saving_per_month: str
    cost_if_read_once: str
    cost_if_removed_at_once: str
    full_reads_until_loss: str | None


class AdviceAnswer(Struct, frozen=True, kw_only=True):
    """Moves that would pay over `horizon_days`, the best first."""

    advice: list[AdviceEntry]
    objects: int
    objects_in_use: int
    horizon_days: int
    currency: str
    notes: list[str]


# -- handlers ---------------------------------------------------------------------------------------------------------
async def show_ledger(exchange: Exchange) -> None:
    """Answer with what stores were asked."""
    days = number(exchange, "days", 30, least=1, most=LONGEST)
    store = exchange.query.get("store", "")
    found = await exchange.session.admin.spending.ledger(days=days, store=store)
    await exchange.answer_json(200, encode(ledger_answer(found)))


async def show_what_if(exchange: Exchange) -> None:
    """Answer with what the same use would cost at other prices."""
    wish = decode(WhatIfWish, await small_body(exchange, MAX_JSON))
    found = await exchange.session.admin.spending.what_if(
        wish.prices, days=wish.days, billing=Billing(wish.billing)
    )
    await exchange.answer_json(200, encode(what_if_answer(found)))


async def show_savings(exchange: Exchange) -> None:
    """Answer with what was saved."""
    single = exchange.query.get("single") or SINGLE
    days = number(exchange, "days", 365, least=1, most=LONGEST)
    found = await exchange.session.admin.spending.savings(single, days=days)
    await exchange.answer_json(200, encode(savings_answer(found)))


async def show_advice(exchange: Exchange) -> None:
    """Answer with moves that would pay."""
    query = exchange.query
    supposed = {}
    for text in query.get("suppose", "").split(",") if query.get("suppose") else ():
        name, equals, key = text.partition("=")
        if not name or not equals or not key:
            raise InvalidRequestError("suppose is NAME=PRICE, several of them with commas between")
        supposed[name] = key
    horizon = number(exchange, "horizon", 365, least=30, most=3650)
    tenant = query.get("tenant", "")
    found = await exchange.session.admin.spending.advice(supposed=supposed, tenant=tenant, horizon=horizon)
    await exchange.answer_json(200, encode(advice_answer(found)))


# -- as they travel ---------------------------------------------------------------------------------------------------
def ledger_answer(report: LedgerReport) -> LedgerAnswer:
    """Return a report as it travels."""
    return LedgerAnswer(
        since=f"{date_of(report.since):%Y-%m-%d}",
        until=f"{date_of(report.until - 1):%Y-%m-%d}",
        lines=[
            LedgerEntry(
                month=line.month,
                store=line.store,
                price=line.key,
                days=line.days,
                calls=line.calls,
                failed=line.failed,
                sent_bytes=line.sent,
                egress_bytes=line.use.egress,
                amount=money(line.amount),
            )
            for line in report.lines
        ],
        total=money(report.total),
        currency="USD",
        provenance=sources(dict.fromkeys(report.estimate.provenance)),
        notes=list(dict.fromkeys(report.estimate.notes)),
    )


def what_if_answer(found: WhatIf) -> WhatIfAnswer:
    """Return an answer as it travels."""
    every = found.before + found.after + found.once
    stores = [
        StoreMonth(
            store=name,
            price=found.keys.get(name, ""),
            supposed=found.supposed.get(name, found.keys.get(name, "")),
            bytes=use.bytes,
            blobs=use.objects,
            writes=use.writes,
            reads=use.reads,
            egress_bytes=use.egress,
        )
        for name, use in found.uses.items()
    ]
    return WhatIfAnswer(
        stores=stores,
        billing=found.billing.value,
        before=money(found.before.total),
        after=money(found.after.total),
        saving=money(found.saving),
        saving_percent=_short(found.percent),
        once=money(found.once.total),
        months=_short(found.months),
        measured_days=found.days,
        currency="USD",
        provenance=sources(every.provenance),
        notes=list(every.notes),
    )


def savings_answer(found: Savings) -> SavingsAnswer:
    """Return savings as they travel."""
    return SavingsAnswer(
        single=found.key,
        months=[
            SavedMonth(
                month=month.month,
                days=month.days,
                paid=money(month.paid),
                single=money(month.single),
                saving=money(month.saving),
            )
            for month in found.months
        ],
        total=money(found.total),
        currency="USD",
        provenance=sources(found.provenance),
        notes=list(found.notes),
    )


def advice_answer(found: Advised) -> AdviceAnswer:
    """Return advice as it travels."""
    return AdviceAnswer(
        advice=[advice_entry(one) for one in found.advice],
        objects=found.objects,
        objects_in_use=found.busy,
        horizon_days=found.horizon,
        currency="USD",
        notes=list(found.notes),
    )


def advice_entry(one: Advice) -> AdviceEntry:
    """Return one piece of advice as it travels."""
    return AdviceEntry(
        bucket=one.bucket,
        store=one.store,
        target=one.target,
        supposed=one.supposed,
        idle_days=one.idle,
        reads_counted=one.counted,
        objects=one.objects,
        bytes=one.bytes,
        gain=money(one.gain) or "0",
        saving_per_month=money(one.monthly) or "0",
        cost_if_read_once=money(one.read_once) or "0",
        cost_if_removed_at_once=money(one.removed) or "0",
        full_reads_until_loss=_short(one.reads_to_loss),
    )


def _short(number: Decimal | None) -> str | None:
    return None if number is None else f"{number:.1f}"
