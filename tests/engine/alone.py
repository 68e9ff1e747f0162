"""A kind of job run to its end in the test itself: no rows, no other process, each step once (or `twice`, as after a crash)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from holdfast.core.jobs import Counts, ItemFailure, Job, Part
from holdfast.engine.engine import Engine
from holdfast.jobs.kinds import Kind, Work


class FreeGauge:
    """Lets everything pass."""

    async def objects(self, count: int = 1) -> None:
        return

    async def bytes(self, count: int) -> None:
        return


@dataclass
class Ran:
    """What a job did in the end."""

    counts: Counts = field(default_factory=Counts)
    failures: list[ItemFailure] = field(default_factory=list)
    result: Mapping[str, Any] = field(default_factory=dict)
    rounds: int = 1


async def _beat() -> None:
    return


def work_of(engine: Engine, kind: Kind, spec: Mapping[str, Any], *, tenant: str = "") -> Work:
    """Return what `kind` is given for `spec`."""
    job = Job(engine.context.environment.new_id(), tenant, kind.name, kind.check(spec))
    return Work(engine, job, FreeGauge(), lambda: False, _beat)


async def run_alone(
    engine: Engine,
    kind: Kind,
    spec: Mapping[str, Any],
    *,
    tenant: str = "",
    twice: bool = False,
    most_rounds: int = 5,
) -> Ran:
    """Run a job of `kind` to its end; with `twice` every step is done two times, and the second counts."""
    work = work_of(engine, kind, spec, tenant=tenant)
    ran = Ran()
    ranges = await kind.split(work)
    while True:
        for number, stretch in enumerate(ranges):
            part = Part(work.job.id, number, stretch.start, stretch.end)
            while not part.done:
                if twice:
                    await kind.step(work, part)
                step = await kind.step(work, part)
                ran.counts += step.counts
                ran.failures += step.failures
                part = replace(part, cursor=step.cursor, done=step.done)
                work = replace(work, job=replace(work.job, counts=ran.counts))
        work = replace(work, job=replace(work.job, counts=ran.counts, round=ran.rounds))
        end = await kind.finish(work)
        ran.result = end.result
        if not end.again or ran.rounds >= most_rounds:
            return ran
        ran.rounds += 1
        ranges = end.again
