"""`holdfast cost ledger | what-if | savings | advice`: what stores were asked, and what that costs, here or elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.admin import administration
from holdfast.cli.command import Cli, command
from holdfast.cli.cost import decimal_size, dollars, explain
from holdfast.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from holdfast.engine.advising import Advised
    from holdfast.engine.ledger import LedgerReport
    from holdfast.policy.savings import Savings
    from holdfast.policy.whatif import WhatIf

Days = Annotated[int, typer.Option(min=1, max=3660, help="the last so many days, today included")]
Row = tuple[dict[str, Any], tuple[str, ...]]


def register(group: typer.Typer) -> None:
    """Add the commands to the group `cost`."""

    @command(group, "ledger", beside="/api/v1/cost/ledger")
    async def ledger(
        cli: Cli,
        days: Days = 30,
        store: Annotated[str, typer.Option(help="only of this store")] = "",
    ) -> None:
        """Show what stores were asked, counted as their providers bill it: each try, each part, each page."""
        async with administration(cli) as admin:
            found = await admin.spending.ledger(days=days, store=store)
        _show_ledger(cli, found)

    @command(group, "what-if", beside="/api/v1/cost/what-if")
    async def what_if(
        cli: Cli,
        price: Annotated[
            list[str],
            typer.Option(metavar="STORE=PRICE", help="a store and the price to suppose; repeatable"),
        ],
        days: Days = 30,
        list_prices: Annotated[
            bool, typer.Option("--list", help="use × price, without allowances, minima and rounding")
        ] = False,
    ) -> None:
        """Show what the same use would cost at other prices, and when the way there has paid for itself."""
        from holdfast.policy.cost import Billing

        billing = Billing.LIST if list_prices else Billing.BILLED
        async with administration(cli) as admin:
            found = await admin.spending.what_if(pairs(price, "--price"), days=days, billing=billing)
        _show_what_if(cli, found)

    @command(group, "savings", beside="/api/v1/cost/savings")
    async def savings(
        cli: Cli,
        single: Annotated[
            str, typer.Option(metavar="PRICE", help="the one price that is compared with")
        ] = "aws.s3.standard",
        days: Days = 365,
    ) -> None:
        """Show what was saved so far against having everything at one price."""
        async with administration(cli) as admin:
            found = await admin.spending.savings(single, days=days)
        _show_savings(cli, found)

    @command(group, "advice", beside="/api/v1/cost/advice")
    async def advice(
        cli: Cli,
        suppose: Annotated[
            list[str] | None,
            typer.Option(
                metavar="NAME=PRICE", help="a store that is not there yet, and its price; repeatable"
            ),
        ] = None,
        tenant: Annotated[str, typer.Option(help="only the buckets of this tenant")] = "",
        horizon: Annotated[
            int, typer.Option(min=30, max=3650, help="days over which a move has to pay")
        ] = 365,
    ) -> None:
        """Show where objects that nobody asks for would be cheaper, and what being wrong would cost."""
        supposed = pairs(suppose or [], "--suppose")
        async with administration(cli) as admin:
            found = await admin.spending.advice(supposed=supposed, tenant=tenant, horizon=horizon)
        _show_advice(cli, found)


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """Return NAME=KEY texts as a mapping; `InvalidRequestError` for what is none."""
    found = {}
    for text in texts:
        name, equals, key = text.partition("=")
        if not name or not equals or not key:
            raise InvalidRequestError(f"{option} {text!r:.80}: write NAME=PRICE, as in archive=backblaze.b2")
        found[name] = key
    return found


def _show_ledger(cli: Cli, found: LedgerReport) -> None:
    import msgspec

    from holdfast.api.spending import ledger_answer

    if cli.out.as_json:
        cli.out.record(msgspec.to_builtins(ledger_answer(found)), "")
        return
    rows: list[Row] = []
    for line in found.lines:
        numbers = (str(line.calls.get(verb, 0)) for verb in ("write", "read", "list", "copy", "delete"))
        moved = (decimal_size(line.sent), decimal_size(line.use.egress))
        rows.append(({}, (line.month, line.store, *numbers, str(line.failed), *moved, dollars(line.amount))))
    headings = ("MONTH", "STORE", ">WRITES", ">READS", ">LISTS", ">COPIES", ">DELETES", ">FAILED")
    cli.out.table((*headings, ">SENT", ">EGRESS", ">COST"), rows)
    cli.out.note(f"together: {dollars(found.total)}, without storage (that is `holdfast cost report`)")
    explain(cli, dict.fromkeys(found.estimate.provenance), dict.fromkeys(found.estimate.notes))


def _show_what_if(cli: Cli, found: WhatIf) -> None:
    import msgspec

    from holdfast.api.spending import what_if_answer

    if cli.out.as_json:
        cli.out.record(msgspec.to_builtins(what_if_answer(found)), "")
        return
    rows: list[Row] = []
    for name, use in found.uses.items():
        now, then = found.keys.get(name, ""), found.supposed.get(name, "")
        asked = (str(use.writes), str(use.reads), decimal_size(use.egress))
        rows.append(({}, (name, decimal_size(use.bytes), *asked, now or "unknown", then or "as it is")))
    cli.out.table(("STORE", ">STORED", ">WRITES", ">READS", ">EGRESS", "PRICE NOW", "SUPPOSED"), rows)
    cli.out.note(f"calls and egress of {found.days} day(s), scaled to a month of 30")
    cli.out.note(f"a month now: {dollars(found.before.total)}; as supposed: {dollars(found.after.total)}")
    if found.saving is not None:
        word = "less" if found.saving >= 0 else "more"
        share = "" if found.percent is None else f" ({abs(found.percent):.1f} %)"
        cli.out.note(f"{dollars(abs(found.saving))} {word} a month{share}")
    cli.out.note(f"the way there, once: {dollars(found.once.total)}{_paid_after(found.months)}")
    both = found.before + found.after + found.once
    explain(cli, both.provenance, both.notes)


def _paid_after(months: Decimal | None) -> str:
    return "" if months is None else f", paid for after {months:.1f} months"


def _show_savings(cli: Cli, found: Savings) -> None:
    import msgspec

    from holdfast.api.spending import savings_answer

    if cli.out.as_json:
        cli.out.record(msgspec.to_builtins(savings_answer(found)), "")
        return
    rows: list[Row] = [
        (
            {},
            (month.month, str(month.days), dollars(month.single), dollars(month.paid), dollars(month.saving)),
        )
        for month in found.months
    ]
    cli.out.table(("MONTH", ">DAYS", f">ALL AT {found.key}", ">PAID", ">SAVED"), rows)
    cli.out.note(f"saved so far: {dollars(found.total)}")
    explain(cli, found.provenance, found.notes)


def _show_advice(cli: Cli, found: Advised) -> None:
    import msgspec

    from holdfast.api.spending import advice_answer

    if cli.out.as_json:
        cli.out.record(msgspec.to_builtins(advice_answer(found)), "")
        return
    rows: list[Row] = []
    for one in found.advice:
        target = f"{one.target} (supposed)" if one.supposed else one.target
        loss = "never" if one.reads_to_loss is None else f"{one.reads_to_loss:.1f}"
        cells = (one.bucket, one.store, target, f"{one.idle} days", str(one.objects), decimal_size(one.bytes))
        money = (dollars(one.monthly), dollars(one.gain), dollars(one.read_once), dollars(one.removed), loss)
        rows.append(({}, (*cells, *money)))
    headings = ("BUCKET", "FROM", "TO", ">IDLE", ">OBJECTS", ">SIZE", ">A MONTH LESS", ">GAIN")
    cli.out.table((*headings, ">IF READ ONCE", ">IF REMOVED", ">READS TO LOSS"), rows)
    cli.out.note(
        f"{len(found.advice)} moves would pay within {found.horizon} days;"
        f" {found.busy} of {found.objects} objects are in use"
    )
    explain(cli, (), found.notes)
