"""`holdfast sweep`: delete bytes whose time is over."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.admin import when
from holdfast.cli.command import Cli, command


def register(app: typer.Typer, panel: str) -> None:
    """Add the command to `app`."""

    @command(app, "sweep", panel=panel, beside="/api/v1/storage/cleanup")
    async def sweep(
        cli: Cli,
        limit: Annotated[int | None, typer.Option(min=1, help="delete at most so many blobs")] = None,
        dry_run: Annotated[
            bool, typer.Option("--dry-run", "-n", help="count what is due (up to 1,000), delete nothing")
        ] = False,
    ) -> int | None:
        """Delete bytes that were replaced or removed and whose grace is over, and deleted tenants that are due.

        A server does this by itself.
        """
        async with cli.target.engine() as engine:
            tenants = [] if dry_run else await engine.remove_tenants()
            report = await engine.sweep(limit=limit, dry_run=dry_run)
            left = await engine.backlog()
        failed = dict(report.failed)
        facts = {
            "expired": report.expired,
            "deleted": report.deleted,
            "released": report.released,
            "failed": failed,
            "reasons": report.reasons,
            "dry_run": dry_run,
            "removed_tenants": tenants,
            "waiting": left.doomed,
            "waiting_until": when(left.due),
        }
        deletes, gives_up = ("would delete", "would give up") if dry_run else ("deleted", "gave up")
        lines = [f"{deletes} {report.deleted} blobs, {gives_up} {report.expired} unfinished writes"]
        lines += [
            f"{count} could not be deleted from {store}: {report.reasons.get(store, '')}"
            for store, count in failed.items()
        ]
        if left.doomed and left.due is not None and not dry_run:
            lines.append(
                f"{left.doomed} blobs wait, the first until {when(left.due)}: for the end of their grace, or for a store"
                " that could not delete them"
            )
        lines += [f"removed tenant {name}" for name in tenants]
        cli.out.record(facts, "\n".join(lines))
        return 15 if failed else None
