"""`holdfast cost`: what storing costs, by the price book."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.admin import administration
from holdfast.cli.command import Cli, beside_catalog, command
from holdfast.cli.output import human_size, human_time
from holdfast.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from holdfast.engine.costs import CostReport
    from holdfast.policy.comparing import Comparison, Portion
    from holdfast.policy.cost import Provenance
    from holdfast.policy.prices import Price, PriceBook, Tier

UNKNOWN = "unknown"


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(no_args_is_help=True, help="What storing costs, in US dollars a month.")
    app.add_typer(group, name="cost", rich_help_panel=panel)
    beside_catalog(group, "/api/v1/cost")

    from holdfast.cli import spending

    spending.register(group)

    @command(group, "report")
    async def report(
        cli: Cli,
        by: Annotated[
            str, typer.Option(help="store, tenant, bucket or class (hot, cold, archive)")
        ] = "store",
        tenant: Annotated[str | None, typer.Option(help="only of this tenant")] = None,
        measure: Annotated[
            bool, typer.Option("--measure", help="look at every copy first, not at the last measurement")
        ] = False,
    ) -> None:
        """Show what is stored costs a month, from what each bucket holds in each store and the price book."""
        from holdfast.engine.costs import By

        if by not in list(By):
            raise InvalidRequestError(f"--by is one of {', '.join(By)}")
        async with administration(cli) as admin:
            found = await admin.costs(By(by), tenant=tenant, fresh=measure)
        _show_report(cli, found)

    @command(group, "prices")
    async def prices(cli: Cli) -> None:
        """Show the price book: where each price is from, and which should be checked before relying on it."""
        rows = []
        for row in _book(cli).rows.values():
            cells = (
                row.key,
                _tiers(row.storage),
                _price(row.write),
                _price(row.read),
                _tiers(row.egress),
                _price(row.retrieval),
                str(row.min_days or ""),
                row.as_of,
                "check" if row.unsure else "",
                row.source,
            )
            rows.append((_facts(row) if cli.out.as_json else {}, cells))
        headings = ("PRICE KEY", ">GB-MONTH", ">1K WRITES", ">1K READS", ">GB OUT", ">GB READ", ">MIN DAYS")
        cli.out.table((*headings, "AS OF", "", "SOURCE"), rows)

    @command(group, "compare")
    async def compare(
        cli: Cli,
        single: Annotated[
            str, typer.Option(metavar="PRICE", help="the one price that all is compared with")
        ] = "cloudflare.r2.standard",
        portion: Annotated[
            list[str] | None,
            typer.Option(
                metavar="NAME=SIZE@PRICE", help="a part and its own price; repeatable; 1GB is 10^9 bytes"
            ),
        ] = None,
        from_catalog: Annotated[
            bool,
            typer.Option("--from-catalog", help="the parts are what each bucket really holds in each store"),
        ] = False,
        billed: Annotated[
            bool, typer.Option("--billed", help="with allowances, minima and rounding, as on a bill")
        ] = False,
    ) -> None:
        """Compare one price for all with a price for each part. Without parts: a typical example.

        The example is 100 GB of data sets kept with a provider, and 60 GB of weights and checkpoints on a machine
        that is paid for already (price key `free`).
        """
        from holdfast.policy import comparing
        from holdfast.policy.cost import Billing

        if from_catalog and portion:
            raise InvalidRequestError("choose --portion or --from-catalog")
        billing = Billing.BILLED if billed else Billing.LIST
        if from_catalog:
            async with administration(cli) as admin:
                found = await admin.compare_costs(single, None, billing=billing)
        else:
            parts: Sequence[Portion] = [_portion(text) for text in portion or ()] or comparing.TYPICAL
            found = comparing.compare(_book(cli), single, parts, billing=billing)
        _show_comparison(cli, found)


def _book(cli: Cli) -> PriceBook:
    from holdfast.config.prices import price_rows
    from holdfast.policy.prices import parse

    return parse(*price_rows(cli.target.settings().price_book))


def _show_report(cli: Cli, found: CostReport) -> None:
    from holdfast.policy.cost import money

    sources = {source.key: source for source in found.provenance}
    rows = []
    for line in found.lines:
        facts = {
            found.by.value: line.name,
            "bytes": line.bytes,
            "blobs": line.blobs,
            "logical_bytes": line.logical,
            "amount": money(line.amount),
            "prices": [_source(sources[key]) for key in line.keys if key in sources],
        }
        held = "" if line.logical is None else human_size(line.logical)
        cells = (
            line.name,
            human_size(line.bytes),
            held,
            str(line.blobs),
            dollars(line.amount),
            _keys(line.keys),
        )
        rows.append((facts, cells))
    heading = found.by.value.upper()
    cli.out.table((heading, ">STORED", ">OBJECTS' OWN", ">BLOBS", ">A MONTH", "PRICE KEY"), rows)
    cli.out.note(f"together: {_together(found.total, found.known)}")
    if found.measured is not None:
        cli.out.note(
            f"stores measured {human_time(found.measured)} UTC; the objects' own bytes are of this moment"
        )
    explain(cli, found.provenance, found.notes)


def _show_comparison(cli: Cli, found: Comparison) -> None:
    both = found.single + found.split
    if cli.out.as_json:
        import msgspec

        from holdfast.api.costs import compare_answer

        cli.out.record(msgspec.to_builtins(compare_answer(found)), "")
        return
    rows: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        (
            {},
            (
                row.portion.name,
                decimal_size(row.portion.use.bytes),
                dollars(row.single),
                dollars(row.split),
                row.portion.key or UNKNOWN,
            ),
        )
        for row in found.portions
    ]
    rows.append(
        ({}, ("together", "", dollars(found.single.total), dollars(found.split.total), _saved(found)))
    )
    cli.out.table(("PART", ">SIZE", f">ALL AT {found.key}", ">EACH AT ITS OWN", "PRICE KEY"), rows)
    explain(cli, both.provenance, both.notes)


def _saved(found: Comparison) -> str:
    if found.saving is None or found.percent is None:
        return ""
    word = "saved" if found.saving >= 0 else "more"
    return f"{dollars(abs(found.saving))} {word} ({abs(found.percent):.1f} %)"


def explain(cli: Cli, sources: Iterable[Provenance], notes: Iterable[str]) -> None:
    """Say what amounts rest on."""
    for source in sources:
        if source.known:
            doubt = "; check it before relying on it" if source.unsure else ""
            cli.out.note(f"{source.key}: as of {source.as_of or '(no date)'}, {source.source}{doubt}")
    for note in notes:
        cli.out.note(f"note: {note}")


def _portion(text: str) -> Portion:
    from holdfast.policy.comparing import Portion
    from holdfast.policy.cost import Use, priced_size

    name, equals, rest = text.partition("=")
    size, at, key = rest.rpartition("@")
    if not name or not equals or not at or not key:
        raise InvalidRequestError(
            f"{text!r} is no part; write for example datasets=100GB@cloudflare.r2.standard"
        )
    return Portion(name, Use(bytes=priced_size(size)), key)


def dollars(amount: Decimal | None) -> str:
    """Return an amount as people read it: cents, and more places where it would look like nothing."""
    if amount is None:
        return UNKNOWN
    return f"${amount:.2f}" if amount == 0 or abs(amount) >= Decimal("0.01") else f"${amount:.6f}"


def _together(total: Decimal | None, known: Decimal) -> str:
    return f"{UNKNOWN} (what is known: {dollars(known)})" if total is None else dollars(total)


def _keys(keys: Iterable[str]) -> str:
    return " ".join(key or UNKNOWN for key in keys)


def _source(source: Provenance) -> dict[str, Any]:
    return {
        "price": source.key,
        "as_of": source.as_of,
        "source": source.source,
        "unsure": source.unsure,
        "known": source.known,
    }


def _tiers(tiers: tuple[Tier, ...] | None) -> str:
    if tiers is None:
        return UNKNOWN
    return _plain(tiers[0].price) + (" …" if len(tiers) > 1 else "")


def _plain(value: Decimal) -> str:
    from holdfast.policy.cost import plain

    return plain(value)


def _price(value: Decimal | None) -> str:
    return UNKNOWN if value is None else _plain(value)


def _facts(row: Price) -> dict[str, Any]:
    """Return a row as programs read it, the same as over REST."""
    import msgspec

    from holdfast.api.costs import price_row

    found: dict[str, Any] = msgspec.to_builtins(price_row(row))
    return found


def decimal_size(size: int) -> str:
    """Return bytes as price lists write them, in steps of 1,000."""
    value, unit = float(size), 0
    while value >= 1000 and unit < 5:
        value, unit = value / 1000, unit + 1
    return f"{value:g} {('B', 'KB', 'MB', 'GB', 'TB', 'PB')[unit]}"
