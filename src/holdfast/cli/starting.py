"""Starting a job from a command: told what it would do, watched to its end, or left to go on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from holdfast.cli import job_text
from holdfast.cli.command import Cli
from holdfast.cli.rates import bandwidth_of
from holdfast.core.errors import InvalidRequestError, UnavailableError
from holdfast.core.jobs import Job, JobState, Pace

if TYPE_CHECKING:
    from holdfast.library.client import AsyncClient

DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", help="tell objects, bytes, calls, money and time; do nothing")
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="start the job, show its id, and do not wait for it")]
Objects = Annotated[
    float | None,
    typer.Option("--objects-per-second", metavar="N", help="the most that the job does in a second"),
]
Bandwidth = Annotated[
    str | None,
    typer.Option("--bandwidth", metavar="SIZE", help="the most bytes that it moves in a second, as 10MB"),
]


@dataclass(frozen=True, slots=True)
class Run:
    """How a job is to be run: the options of every command that starts one."""

    dry_run: DryRun = False
    no_wait: NoWait = False
    objects_per_second: Objects = None
    bandwidth: Bandwidth = None


FAILED: Final = 15  #: items failed, or the job could not go on
STOPPED: Final = 6  #: somebody cancelled it
PLAIN: Final = Run()


async def start(
    cli: Cli,
    kind: str,
    spec: Mapping[str, Any],
    run: Run = PLAIN,
    *,
    show: Callable[[Job], None] | None = None,
) -> int | None:
    """Start a job of `kind` and see it to its end; return the exit status: 15 when items failed.

    Beside the catalog this process works at it; with a server the server does. Members of `spec` that are None are
    left out.

    Args:
        run: whether it is only told what would be done, whether it is waited for, and how fast it goes.
        show: shows the job that has ended, instead of the usual lines.

    Raises:
        InvalidRequestError: the spec or the pace makes no sense.
    """
    pace = pace_of(run.objects_per_second, run.bandwidth)
    said = {name: value for name, value in spec.items() if value is not None}
    async with cli.target.client() as client:
        if run.dry_run:
            job_text.show_forecast(cli, kind, await client.forecast_job(kind, said, pace=pace))
            return None
        job = await client.start_job(kind, said, pace=pace)
        if run.no_wait:
            cli.out.record(job_text.facts(job), f"{job.id}{_who_runs(cli, job)}")
            return None
        return await see_through(cli, client, job, show=show)


async def see_through(
    cli: Cli, client: AsyncClient, job: Job, *, show: Callable[[Job], None] | None = None
) -> int | None:
    """Have a job done, its progress shown, and return the exit status; interrupted, tell how it goes on."""
    try:
        with job_text.progress(cli, job) as told:
            ended = await client.run_job(job.id, told)
    except (asyncio.CancelledError, KeyboardInterrupt, UnavailableError):
        cli.out.note(_left(cli, job))
        raise
    if ended.state in (JobState.PAUSED, JobState.QUEUED, JobState.RUNNING):
        cli.out.record(
            job_text.facts(ended), f"{job_text.line(ended)}; go on with: holdfast job resume {job.id}"
        )
        return STOPPED
    (show or (lambda last: job_text.show_end(cli, last)))(ended)
    return status_of(ended)


def status_of(job: Job) -> int | None:
    """Return the exit status of a job that has ended; None: all went well."""
    if job.state is JobState.CANCELLED:
        return STOPPED
    return FAILED if job.state is JobState.FAILED or job.counts.failed else None


def pace_of(objects_per_second: float | None, bandwidth: str | None) -> Pace:
    """Return the pace that the options mean.

    Raises:
        InvalidRequestError: naming the option that means none.
    """
    if objects_per_second is not None and not 0 < objects_per_second < float("inf"):
        raise InvalidRequestError("--objects-per-second is a number above 0")
    return Pace(objects_per_second, bandwidth_of(bandwidth))


def _who_runs(cli: Cli, job: Job) -> str:
    if cli.target.url:
        return ""
    return f"; `holdfast serve` does it, or: holdfast job run {job.id}{cli.target.words}"


def _left(cli: Cli, job: Job) -> str:
    if cli.target.url:
        return f"job {job.id} goes on; see it with: holdfast job watch {job.id}; stop it with: holdfast job cancel {job.id}"
    return f"job {job.id} stays where it stands; go on with: holdfast job run {job.id}{cli.target.words}"
