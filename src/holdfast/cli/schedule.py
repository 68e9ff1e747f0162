"""`holdfast schedule`: jobs that are started again and again."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import starting
from holdfast.cli.command import Cli, command
from holdfast.cli.job import spec_of
from holdfast.cli.output import human_time
from holdfast.core.jobs import Schedule

Tenant = Annotated[
    str | None, typer.Option("--tenant", help="whose schedule, for operators; '' is the service's")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="of the schedule")]


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(no_args_is_help=True, help="Jobs that a server starts again and again.")
    app.add_typer(group, name="schedule", rich_help_panel=panel)

    @command(group, "list")
    async def list_(cli: Cli, tenant: Tenant = None) -> None:
        """List schedules by name, when each is due next, and the job that it started last."""
        from holdfast.api.job_models import plain, schedule_form

        async with cli.target.client() as client:
            found = await client.schedules(tenant=tenant)
        rows = [(plain(schedule_form(one)), _cells(one)) for one in found]
        cli.out.table(("NAME", "KIND", "WHEN", "NEXT", "LAST JOB", "TENANT"), rows)

    @command(group, "set")
    async def set_(
        cli: Cli,
        name: Name,
        kind: Annotated[str, typer.Argument(help="of the job; see: holdfast job kinds")],
        cron: Annotated[
            str,
            typer.Option(help="five fields in UTC, as '0 3 * * *' for each night at three; or '@every 3600'"),
        ],
        spec: Annotated[
            str,
            typer.Option(metavar="JSON", help="what the job is about, as JSON; @FILE reads it from a file"),
        ] = "{}",
        objects_per_second: starting.Objects = None,
        bandwidth: starting.Bandwidth = None,
        off: Annotated[bool, typer.Option("--off", help="keep it, but start nothing")] = False,
    ) -> None:
        """Make or replace a schedule. A time that was missed is made up for once."""
        from holdfast.api.job_models import plain, schedule_form

        pace = starting.pace_of(objects_per_second, bandwidth)
        async with cli.target.client() as client:
            made = await client.put_schedule(name, kind, cron, spec_of(spec), pace=pace, enabled=not off)
        due = f"due {human_time(made.next_at)} UTC" if made.enabled else "off"
        cli.out.record(plain(schedule_form(made)), f"{made.name}: {made.kind}, {made.cron}, {due}")

    @command(group, "remove")
    async def remove(cli: Cli, name: Name, tenant: Tenant = None) -> None:
        """Remove a schedule, one's own or the service's; the jobs that it started go on."""
        async with cli.target.client() as client:
            await client.delete_schedule(name, tenant=tenant)
        cli.out.record({"removed": name}, f"removed {name}")


def _cells(one: Schedule) -> tuple[str, ...]:
    due = human_time(one.next_at) if one.enabled else "off"
    return one.name, one.kind, one.cron, due, one.last_job, one.tenant
