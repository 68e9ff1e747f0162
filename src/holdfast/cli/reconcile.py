"""`holdfast reconcile`: bring versions where the rules want them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli.command import Cli, command
from holdfast.cli.output import human_size
from holdfast.core.errors import InvalidRequestError

if TYPE_CHECKING:
    from holdfast.engine.engine import Engine
    from holdfast.jobs.reconcile import ReconcileReport


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    @command(app, "reconcile", panel=panel, beside="/api/v1/reconcile")
    async def reconcile(
        cli: Cli,
        bucket: Annotated[str | None, typer.Option(help="only the versions of this bucket")] = None,
        tenant: Annotated[str | None, typer.Option(help="whose bucket that is")] = None,
        debts: Annotated[
            bool,
            typer.Option("--debts", help="only what is owed, as after a store was down; all of it, at once"),
        ] = False,
        after: Annotated[
            str, typer.Option(help="go on where an earlier run stopped: the `after` that it told")
        ] = "",
        limit: Annotated[int | None, typer.Option(min=1, help="look at so many versions, about")] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", "-n", help="count what would be moved, move nothing")
        ] = False,
    ) -> int | None:
        """Bring versions where the placement rules want them: after a rule was changed, or a store was down.

        What is owed since a store was down a server brings home by itself.
        """
        if tenant and not bucket:
            raise InvalidRequestError("--tenant goes with --bucket")
        if debts and bucket and not dry_run:
            raise InvalidRequestError("debts are paid for all buckets; leave out --bucket, or --debts")
        async with cli.target.engine() as engine:
            home = (tenant or cli.target.settings().tenant) if bucket else ""
            report = await _run(engine, home, bucket or "", after, limit, debts=debts, dry_run=dry_run)
        cli.out.record(_facts(report), "\n".join(_lines(report)))
        return 15 if report.failed else None


async def _run(
    engine: Engine, tenant: str, bucket: str, after: str, limit: int | None, *, debts: bool, dry_run: bool
) -> ReconcileReport:
    from holdfast.jobs.reconcile import owed, pay, walk

    if debts:
        return await (owed(engine, tenant=tenant, bucket=bucket) if dry_run else pay(engine, hurry=True))
    return await walk(engine, tenant=tenant, bucket=bucket, after=after, limit=limit, dry_run=dry_run)


def _facts(report: ReconcileReport) -> dict[str, Any]:
    return {
        "dry_run": report.dry_run,
        "examined": report.examined,
        "moved": report.moved,
        "copied_blobs": report.copied,
        "copied_bytes": report.bytes,
        "doomed_copies": report.doomed,
        "failed": report.failed,
        "gone": report.gone,
        "moves": [
            {"now": now, "wanted": wanted, "versions": count}
            for (now, wanted), count in report.moves.most_common()
        ],
        "troubles": dict(report.troubles),
        "after": report.after,
    }


def _lines(report: ReconcileReport) -> list[str]:
    moves = "would move" if report.dry_run else "moved"
    lines = [
        f"looked at {report.examined} versions, {moves} {report.moved}"
        f" ({report.copied} copies, {human_size(report.bytes)})"
    ]
    lines += [f"  {count} from {now} to {wanted}" for (now, wanted), count in report.moves.most_common()]
    if report.failed:
        lines.append(f"{report.failed} are not where they belong yet:")
        lines += [f"  {count}: {trouble}" for trouble, count in report.troubles.most_common(20)]
    if report.after:
        lines.append(f"go on with --after {report.after}")
    return lines
