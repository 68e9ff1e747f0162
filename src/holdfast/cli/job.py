"""`holdfast job`: jobs that go on by themselves, on this machine or on a server."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdfast.cli import job_text, starting
from holdfast.cli.command import Cli, command
from holdfast.cli.output import human_size, human_time, visible
from holdfast.core.errors import InvalidRequestError
from holdfast.core.jobs import Job, Pace

if TYPE_CHECKING:
    from holdfast.library.client import AsyncClient

Id = Annotated[str, typer.Argument(metavar="ID", help="of the job")]


def register(app: typer.Typer, panel: str) -> None:
    """Add the commands to `app`."""
    group = typer.Typer(no_args_is_help=True, help="Jobs: long work that survives its process.")
    app.add_typer(group, name="job", rich_help_panel=panel)
    _register_start(group)
    _register_looking(group)
    _register_telling(group)


def _register_start(group: typer.Typer) -> None:
    @command(group, "start")
    async def start(
        cli: Cli,
        kind: Annotated[str, typer.Argument(help="what it does; see: holdfast job kinds")],
        spec: Annotated[
            str, typer.Option(metavar="JSON", help="what it is about, as JSON; @FILE reads it from a file")
        ] = "{}",
        run: starting.Run = starting.PLAIN,
    ) -> int | None:
        """Start a job of any kind and see it to its end."""
        return await starting.start(cli, kind, spec_of(spec), run)

    @command(group, "run")
    async def run(cli: Cli, job_id: Id) -> int | None:
        """See a job to its end; without a server, this process works at it. Any number of processes may."""
        async with cli.target.client() as client:
            return await starting.see_through(cli, client, await client.job(job_id))


def _register_looking(group: typer.Typer) -> None:
    @command(group, "list")
    async def list_(
        cli: Cli,
        state: Annotated[
            str, typer.Option(help="only queued, running, paused, done, failed or cancelled ones")
        ] = "",
        kind: Annotated[str, typer.Option(help="only of this kind")] = "",
        limit: Annotated[int, typer.Option(min=1, help="so many at most")] = 100,
    ) -> None:
        """List jobs, the newest first."""
        wanted = job_text.state_of(state)
        async with cli.target.client() as client:
            found = await client.jobs(state=wanted, kind=kind, limit=limit)
        headings = ("JOB", "KIND", "STATE", ">%", ">DONE", ">FAILED", ">BYTES", "STARTED", "TENANT")
        cli.out.table(headings, [(job_text.facts(job), _cells(job)) for job in found])

    @command(group, "show")
    async def show(cli: Cli, job_id: Id) -> None:
        """Show a job: how far it is, how long it may take, and what it is about."""
        async with cli.target.client() as client:
            job = await client.job(job_id)
        cli.out.record(job_text.facts(job), "\n".join(job_text.lines(job)))

    @command(group, "watch")
    async def watch(cli: Cli, job_id: Id) -> int | None:
        """Tell of each change of a job until it has ended. Who watches does nothing for it."""
        async with cli.target.client() as client:
            job = await client.job(job_id)
            async for job in client.watch_job(job_id):
                cli.out.record(job_text.facts(job), job_text.line(job))
        return starting.status_of(job)

    @command(group, "failures")
    async def failures(
        cli: Cli,
        job_id: Id,
        after: Annotated[int, typer.Option(min=0, help="only those behind this number")] = 0,
        limit: Annotated[int, typer.Option(min=1, help="so many at most")] = 1000,
    ) -> None:
        """List what a job could not do; it keeps the first 10,000."""
        async with cli.target.client() as client:
            found = await client.job_failures(job_id, after=after, limit=limit)
        from holdfast.api.job_models import failure_form, plain

        rows = []
        for one in found:
            place = f"{one.bucket}/{one.key}" if one.bucket else one.key
            rows.append(
                (plain(failure_form(one)), (str(one.number), visible(place), one.code, visible(one.message)))
            )
        cli.out.table((">NUMBER", "OBJECT", "CODE", "WHY"), rows)

    @command(group, "kinds")
    async def kinds(cli: Cli) -> None:
        """List the kinds of job that there are."""
        async with cli.target.client() as client:
            found = await client.job_kinds()
        rows = [
            ({"name": one.name, "verb": one.verb, "about": one.about}, (one.name, one.verb, one.about))
            for one in found
        ]
        cli.out.table(("KIND", "NEEDS", "WHAT IT DOES"), rows)


def _register_telling(group: typer.Typer) -> None:
    @command(group, "pause")
    async def pause(cli: Cli, job_id: Id) -> None:
        """Have a job stop where it stands, within seconds."""
        await _tell(cli, lambda client: client.pause_job(job_id))

    @command(group, "resume")
    async def resume(cli: Cli, job_id: Id) -> None:
        """Have a job that is paused, or that failed, go on where it stands."""
        job = await _tell(cli, lambda client: client.resume_job(job_id))
        if not cli.target.url:
            cli.out.note(f"`holdfast serve` goes on with it, or: holdfast job run {job.id}")

    @command(group, "cancel")
    async def cancel(cli: Cli, job_id: Id) -> None:
        """End a job within seconds; what it did stays done."""
        await _tell(cli, lambda client: client.cancel_job(job_id))

    @command(group, "pace")
    async def pace(
        cli: Cli,
        job_id: Id,
        objects_per_second: starting.Objects = None,
        bandwidth: starting.Bandwidth = None,
        free: Annotated[bool, typer.Option("--free", help="take all limits away")] = False,
    ) -> None:
        """Limit what a job may do in a second, from now on. What is not named is not limited any more."""
        wanted = starting.pace_of(objects_per_second, bandwidth)
        if free != (wanted == Pace()):
            raise InvalidRequestError(
                "name --objects-per-second or --bandwidth; or --free alone, for no limit"
            )
        await _tell(cli, lambda client: client.set_job_pace(job_id, wanted))


async def _tell(cli: Cli, order: Callable[[AsyncClient], Awaitable[Job]]) -> Job:
    async with cli.target.client() as client:
        job = await order(client)
    cli.out.record(job_text.facts(job), job_text.line(job))
    return job


def spec_of(text: str) -> dict[str, Any]:
    """Return what a spec says: JSON, or `@` and the name of a file that holds it.

    Raises:
        InvalidRequestError: it is not a JSON object, or the file cannot be read.
    """
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidRequestError(f"--spec: {text[1:]} cannot be read: {error}") from None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"--spec is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidRequestError('--spec is a JSON object, as {} or {"bucket": "photos"}')
    return found


def _cells(job: Job) -> tuple[str, ...]:
    share = job_text.facts(job)["percent"]
    counts = job.counts
    return (
        job.id,
        job.kind,
        job.state.value,
        "" if share is None else f"{share:g}",
        str(counts.done),
        str(counts.failed),
        human_size(counts.bytes),
        "" if job.started is None else human_time(job.started),
        job.tenant,
    )
