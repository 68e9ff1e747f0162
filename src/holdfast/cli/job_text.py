"""Jobs and forecasts as commands show them: lines for people, the JSON of the REST door for programs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from holdfast.cli.command import Cli
from holdfast.cli.output import human_size, human_time, visible
from holdfast.core.jobs import ENDED, Job, JobState

if TYPE_CHECKING:
    from holdfast.jobs.kinds import Forecast
    from holdfast.policy.cost import Estimate

UNKNOWN: Final = "unknown"
_STORES: Final = 20  #: lines about stores and moves that are shown


def facts(job: Job) -> Mapping[str, Any]:
    """Return a job as programs read it."""
    from holdfast.api.job_models import job_info, plain

    return plain(job_info(job))


def line(job: Job) -> str:
    """Return a job in one line."""
    from holdfast.api.job_models import percent

    share = percent(job)
    told = [f"{job.kind} {job.state.value}"]
    if share is not None and job.state not in ENDED:
        told.append(f"{share:g} %")
    told.append(amounts(job))
    if job.trouble:
        told.append(visible(job.trouble))
    return ", ".join(told)


def lines(job: Job) -> list[str]:
    """Return all that people want to know of a job."""
    import json

    from holdfast.policy.progress import seconds_left

    told = [f"{job.id}: {line(job)}"]
    left = seconds_left(job)
    if left is not None:
        told.append(f"time left: about {took(left)}")
    if job.total is not None:
        size = "" if job.total_bytes is None else f", {human_size(job.total_bytes)}"
        told.append(f"of {job.total} items{size}; {job.parts_done} of {job.parts} parts are over")
    told += [f"{what}: {human_time(at)} UTC" for what, at in _times(job)]
    told.append(f"tenant: {job.tenant or 'the service'}; by {job.principal or 'the service'}")
    if job.schedule:
        told.append(f"schedule: {job.schedule}")
    if job.pace.objects or job.pace.bytes:
        told.append(f"pace: {_pace_text(job)}")
    told.append(f"about: {visible(json.dumps(dict(job.spec), ensure_ascii=False))}")
    told += [f"{name.replace('_', ' ')}: {_told(value)}" for name, value in sorted(job.result.items())]
    if job.counts.failed:
        told.append(f"see what failed with: holdfast job failures {job.id}")
    return told


def _times(job: Job) -> list[tuple[str, int]]:
    named = (("created", job.created), ("started", job.started), ("ended", job.ended))
    return [(what, at) for what, at in named if at is not None]


def _pace_text(job: Job) -> str:
    objects = [] if job.pace.objects is None else [f"{job.pace.objects:g} objects"]
    size = [] if job.pace.bytes is None else [human_size(job.pace.bytes)]
    return f"at most {' and '.join(objects + size)} a second"


def amounts(job: Job) -> str:
    """Return what was done so far, in words."""
    counts = job.counts
    words = [f"{counts.done} done"]
    if counts.bytes:
        words.append(human_size(counts.bytes))
    if counts.skipped:
        words.append(f"{counts.skipped} skipped")
    if counts.failed:
        words.append(f"{counts.failed} failed")
    words += [f"{count} {name.replace('_', ' ')}" for name, count in sorted(counts.notes.items())]
    return ", ".join(words)


def show_end(cli: Cli, job: Job) -> None:
    """Show a job that has ended: what was done, what came of it, and where failures are listed."""
    lines = [line(job)]
    lines += [f"  {name.replace('_', ' ')}: {_told(value)}" for name, value in sorted(job.result.items())]
    if job.counts.failed:
        lines.append(f"see what failed with: holdfast job failures {job.id}")
    cli.out.record(facts(job), "\n".join(lines))


def show_forecast(cli: Cli, kind: str, found: Forecast) -> None:
    """Show what a job would do."""
    from holdfast.api.job_models import forecast_answer, plain

    cli.out.record(plain(forecast_answer(kind, found)), "\n".join(_forecast_lines(kind, found)))


def _forecast_lines(kind: str, found: Forecast) -> list[str]:
    lines = [f"{kind} would touch {found.objects} objects, {human_size(found.bytes)}"]
    moves = sorted(found.moves.items(), key=lambda move: (-move[1], move[0]))
    lines += [f"  {count} from {now or 'nowhere'} to {wanted}" for (now, wanted), count in moves[:_STORES]]
    if len(moves) > _STORES:
        lines.append(f"  and {len(moves) - _STORES} more moves")
    for store, verbs in sorted(found.calls.items())[:_STORES]:
        calls = ", ".join(f"{count} {verb}" for verb, count in sorted(verbs.items()))
        lines.append(f"calls of {store}: {calls}")
    lines.append(f"cost once: {money_text(found.once)}")
    if found.before.lines or found.after.lines:
        lines.append(f"cost a month: {money_text(found.before)} now, {money_text(found.after)} then")
    lines.append(f"time: {UNKNOWN if found.seconds is None else 'about ' + took(found.seconds)}")
    lines += [f"note: {visible(note)}" for note in found.notes]
    return lines


def money_text(estimate: Estimate) -> str:
    """Return an amount in words; what is not known is said."""
    if estimate.total is not None:
        return f"{estimate.total:.2f} USD"
    return f"{UNKNOWN}, at least {estimate.known:.2f} USD" if estimate.known else UNKNOWN


def took(seconds: float) -> str:
    """Return a time in words: `40 s`, `12 min`, `3.5 h`, `2.1 days`."""
    for unit, size, below in (("s", 1, 90), ("min", 60, 90), ("h", 3600, 48)):
        if seconds / size < below:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 86400:.3g} days"


def _told(value: Any) -> str:
    import json

    return visible(value) if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@contextmanager
def progress(cli: Cli, job: Job) -> Iterator[Callable[[Job], None]]:
    """Give a function to be told of each change of a job: a line on a terminal that is written again, else silence."""
    if not sys.stderr.isatty() or cli.out.quiet or cli.out.as_json:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Bars(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=sys.stdout.isatty()
    ) as bars:
        task = bars.add_task(visible(line(job)), total=None)

        def told(now: Job) -> None:
            from holdfast.api.job_models import percent

            share = percent(now)
            bars.update(
                task,
                description=visible(line(now)),
                total=None if share is None else 100,
                completed=share or 0,
            )

        yield told


def state_of(text: str) -> JobState | None:
    """Return the state that a word names; "" for any.

    Raises:
        InvalidRequestError: there is no such state.
    """
    from holdfast.core.errors import InvalidRequestError

    if not text:
        return None
    try:
        return JobState(text)
    except ValueError:
        raise InvalidRequestError(f"--state is one of {', '.join(JobState)}") from None
