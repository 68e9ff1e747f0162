"""What was done before a job was told to stop is counted, and counted once; and what another pace promised is no debt."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from holdfast.core.clock import ManualClock
from holdfast.core.jobs import Counts, Pace, Part
from holdfast.core.types import Principal
from holdfast.engine.limiter import Limiter
from holdfast.engine.replicas import Reconciled
from holdfast.jobs import carrying
from holdfast.jobs.clone import CloneBucket
from holdfast.jobs.desk import JobDesk
from holdfast.jobs.kinds import Kind, Kinds, Step, Work
from holdfast.jobs.lifecycle import Lifecycle
from holdfast.jobs.pace import JobGauge, StoppedError
from tests.engine.alone import work_of
from tests.engine.catalog.support import desk_at
from tests.engine.test_lifecycle import ground
from tests.engine.toys import Toy, engine_at, until, working
from tests.helpers import run

pytestmark = pytest.mark.engine


class Ending:
    """A gauge that lets so many objects pass; then the job is to stop."""

    def __init__(self, left: int) -> None:
        self.left = left

    async def objects(self, count: int = 1) -> None:
        if self.left < count:
            self.left = 0
            raise StoppedError
        self.left -= count

    async def bytes(self, count: int) -> None:
        return

    def stopping(self) -> bool:
        return self.left == 0


def ending(work: Work, after: int) -> Work:
    gauge = Ending(after)
    return replace(work, gauge=gauge, stopping=gauge.stopping)


async def broken_off(kind: Kind, work: Work, after: int) -> tuple[Step, Counts]:
    """Return the step that was broken off, and the counters of all that were done until the end."""
    (only,) = await kind.split(work)
    part = Part(work.job.id, 0, only.start, only.end)
    while (step := await kind.step(ending(work, after), part)).cursor != part.cursor and not step.counts.done:
        part = replace(part, cursor=step.cursor)
    first, counts = step, step.counts
    while not step.done:
        part = replace(part, cursor=step.cursor)
        step = await kind.step(work, part)
        counts += step.counts
    return first, counts


def test_what_rules_removed_before_a_stop_is_counted(sqlite_url: str) -> None:
    async def story() -> None:
        async with ground(sqlite_url) as here:
            await here.rules("plain", {"name": "old", "expire_days": 2})
            for number in range(10):
                await here.put(f"k{number}", "plain", size=10)
            here.wait(4)
            work = work_of(here.engine, Lifecycle(), {})
            first, counts = await broken_off(Lifecycle(), work, 4)
            assert (first.counts.done, first.counts.bytes, first.done) == (4, 40, False)
            assert (counts.done, counts.bytes, counts.failed) == (10, 100, 0)
            assert counts.notes == {"expired": 10}
            assert await here.keys("plain") == []

    run(story())


def test_what_was_copied_before_a_stop_is_counted(sqlite_url: str) -> None:
    async def story() -> None:
        async with ground(sqlite_url) as here:
            made = [await here.put(f"k{number}", size=10) for number in range(10)]
            tenant = made[0].ref.tenant
            spec = {"bucket": "kept", "target": "copy", "tenant": tenant}
            work = work_of(here.engine, CloneBucket(), spec, tenant=tenant)
            first, counts = await broken_off(CloneBucket(), work, 4)
            assert (first.counts.done, first.counts.examined, first.counts.skipped) == (4, 0, 0)
            assert (counts.done, counts.examined, counts.failed) == (10, 10, 0)

    run(story())


def test_what_was_moved_before_a_stop_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def bring(*_: Any) -> Reconciled:
        return Reconciled(copied=1, bytes=5, settled=True)

    async def story() -> None:
        monkeypatch.setattr(carrying, "bring_home", bring)
        plan, ref = SimpleNamespace(stores=("one",)), SimpleNamespace(bucket="b", key="k", tenant="t")
        one = SimpleNamespace(stores=(), size=5, ref=ref, version_id="v")
        gauge = Ending(7)
        work = SimpleNamespace(engine=None, gauge=gauge, stopping=gauge.stopping)
        work.room = lambda *a, **k: Work.room(cast("Work", work), *a, **k)
        done = await carrying.carry(cast("Work", work), cast("Any", [(one, plan)] * 20), examined=30)
        assert done.stopped
        assert done.counts == Counts(done=7, bytes=35, notes={"copied": 7})

    run(story())


class Truthful(Toy):
    """Says what it did until it was stopped."""

    async def step(self, work: Work, part: Part) -> Step:
        at = first = int(part.cursor or part.start)
        while at < int(part.end) and await work.room():
            (Path(work.spec["dir"]) / str(at)).touch()
            at += 1
        done = at - first
        return Step(str(at), at >= int(part.end), Counts(done, done))


def test_a_job_that_is_paused_tells_all_that_it_did(sqlite_url: str, tmp_path: Path) -> None:
    items = tmp_path / "items"
    items.mkdir()

    async def story() -> None:
        kind = Truthful()
        async with engine_at(sqlite_url, tmp_path) as engine, working(engine, kind):
            desk = JobDesk(engine, Kinds([kind]), Principal("key-1", "default", "admin"))
            spec = {"dir": str(items), "items": 1000, "parts": 1}
            job = await desk.start("toy", spec, pace=Pace(objects=20.0))

            async def some() -> bool:
                return len(list(items.iterdir())) >= 3

            async def told() -> bool:
                return (await desk.job(job.id)).counts.done == len(list(items.iterdir()))

            await until(some, 10)
            await desk.pause(job.id)
            await until(told, 5)
            assert (await desk.parts(job.id))[0].cursor == str(len(list(items.iterdir())))
            assert not (await desk.parts(job.id))[0].worker

    run(story())


def test_a_step_that_ends_itself_when_told_to_stop_is_no_defect(sqlite_url: str, tmp_path: Path) -> None:
    class Leaving(Toy):
        async def step(self, work: Work, part: Part) -> Step:
            while not work.stopping():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            raise StoppedError

    async def story() -> None:
        kind = Leaving()
        async with engine_at(sqlite_url, tmp_path) as engine, working(engine, kind):
            desk = JobDesk(engine, Kinds([kind]), Principal("key-1", "default", "admin"))
            job = await desk.start("toy", {"parts": 1})

            async def held() -> bool:
                return any(part.worker for part in await desk.parts(job.id))

            async def free() -> bool:
                return not await held()

            await until(held, 10)
            await desk.pause(job.id)
            await until(free, 10)
            assert [(part.tries, part.trouble) for part in await desk.parts(job.id)] == [(0, "")]

    run(story())


# -- pace -------------------------------------------------------------------------------------------------------------
class Waiting(ManualClock):
    """A clock on which waiting costs no time."""

    waited = 0.0
    then: Callable[[], None] | None = None

    async def sleep(self, seconds: float) -> None:
        self.waited += seconds
        self.advance(seconds)
        if self.then is not None and self.waited > 10:
            self.then()
        await asyncio.sleep(0)


@pytest.mark.parametrize("shared", [True, False])
def test_another_pace_owes_nothing_to_the_one_before(sqlite_url: str, *, shared: bool) -> None:
    async def story() -> None:
        async with desk_at(sqlite_url) as desk:
            clock = cast("ManualClock", desk.world.clock)
            waiting = Waiting()
            pace, stop = [Pace(objects=0.001)], [False]

            def faster() -> None:
                pace[0] = Pace(objects=1000.0)

            def ends() -> None:
                stop[0] = True

            limiter = Limiter(clock if shared else waiting, lease=desk.catalog.lease_rate if shared else None)
            gauge = JobGauge(limiter, "j", waiting, pace=lambda: pace[0], stopping=lambda: stop[0])
            await gauge.objects()
            waiting.then = ends
            for _ in range(5):  # paused again and again: what was not done is not owed
                waiting.waited, stop[0] = 0.0, False
                with pytest.raises(StoppedError):
                    await gauge.objects()
            waiting.waited, stop[0], waiting.then = 0.0, False, None
            await gauge.objects()
            assert 900 < waiting.waited < 1001
            waiting.waited, waiting.then = 0.0, faster
            await gauge.objects(5)
            assert waiting.waited < 11
            waiting.waited, waiting.then = 0.0, None
            for _ in range(100):
                await gauge.objects()
            assert waiting.waited < 1

    run(story())
