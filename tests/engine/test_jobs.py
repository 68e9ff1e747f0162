"""Jobs at work: done by any number of processes, resumed where they stood, told apart from what they failed at."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.catalog.job_parts import Done
from holdfast.core.errors import ConflictError, InvalidRequestError, NotFoundError, PermissionDeniedError
from holdfast.core.jobs import ENDED, Counts, Job, JobState, Pace
from holdfast.core.types import Principal, Scope
from holdfast.engine.engine import Engine
from holdfast.jobs.desk import JobDesk
from holdfast.jobs.kinds import Ask, Kinds
from holdfast.jobs.runner import Runner
from holdfast.jobs.schedules import keep_starting
from holdfast.policy.progress import rates, seconds_as, seconds_left
from tests.engine.toys import QUICK, Toy, done_in, engine_at, until, worker, working
from tests.helpers import run

pytestmark = pytest.mark.engine

ADMIN = Principal("key-1", "default", "admin")
OPERATOR = Principal("key-0", "default", "operator")


def desk_of(engine: Engine, principal: Principal = ADMIN, kind: Any = None) -> JobDesk:
    return JobDesk(engine, Kinds([kind or Toy()]), principal)


async def ended(engine: Engine, job_id: str, seconds: float = 30.0) -> Job:
    async def look() -> Job | None:
        job = await engine.catalog.job(job_id)
        return job if job.state in ENDED else None

    found: Job = await until(look, seconds)
    return found


def place(tmp_path: Path) -> Path:
    made = tmp_path / "items"
    made.mkdir(exist_ok=True)
    return made


def test_a_job_is_split_done_and_told_about(catalog_url: str, tmp_path: Path) -> None:
    items = place(tmp_path)

    async def story() -> None:
        async with engine_at(catalog_url, tmp_path) as engine, working(engine, Toy()):
            desk = desk_of(engine)
            would = await desk.forecast("toy", {"dir": str(items)})
            assert (would.objects, would.seconds) == (100, None)
            job = await desk.start("toy", {"dir": str(items), "rounds": 2, "bad": 3})
            assert (job.state, job.tenant, job.principal) == (JobState.QUEUED, "default", "key-1")
            seen = [one async for one in desk.watch(job.id)]
            last = seen[-1]
            assert (last.state, last.trouble, last.round) == (JobState.DONE, "", 2)
            assert (last.counts.examined, last.counts.done, last.counts.failed) == (200, 194, 6)
            expected = (await desk.forecast("toy", {"dir": str(items)})).seconds
            assert expected is not None
            assert expected == seconds_as(last, 100, 0)
            assert last.counts.notes == {"touched": 200}
            assert (last.parts, last.parts_done, last.total) == (4, 4, 200)
            assert last.result == {"examined": 200}
            assert None not in (last.started, last.ended, last.expires)
            assert set(done_in(items).values()) == {2}
            failures = await desk.failures(job.id, limit=4)
            assert [one.number for one in failures] == [1, 2, 3, 4]
            assert {one.key for one in failures} == {"0", "1", "2"}
            assert [one.number for one in await desk.failures(job.id, after=4)] == [5, 6]
            actions = [one.action for one in await engine.catalog.audit("default") if "job" in one.action]
            assert actions == ["start-job", "end-job"]
            assert engine.context.activity.job_items == {("toy", "done"): 194, ("toy", "failed"): 6}

    run(story())


def test_pause_resume_cancel_hold_within_two_seconds(catalog_url: str, tmp_path: Path) -> None:
    items = place(tmp_path)

    async def story() -> None:
        async with engine_at(catalog_url, tmp_path) as engine, working(engine, Toy()):
            desk = desk_of(engine)
            spec = {"dir": str(items), "items": 100_000, "pause": 0.002, "batch": 100_000}
            job = await desk.start("toy", spec)
            await until(lambda: _true(len(done_in(items)) > 3))
            began = time.monotonic()
            assert (await desk.pause(job.id)).state is JobState.PAUSED
            await until(lambda: _standing(engine, job.id), 2.0)
            assert time.monotonic() - began < 2.0
            stood = done_in(items)
            counted = (await desk.job(job.id)).counts
            assert counted.examined == len(stood), "the step that was broken off was written down"
            await asyncio.sleep(0.4)
            assert done_in(items) == stood
            assert (await desk.resume(job.id)).state is JobState.RUNNING
            await until(lambda: _true(len(done_in(items)) > len(stood) + 3), 2.0)
            assert (await desk.cancel(job.id)).state is JobState.CANCELLED
            await until(lambda: _standing(engine, job.id), 2.0)
            stood = done_in(items)
            await asyncio.sleep(0.4)
            assert done_in(items) == stood
            assert set(stood.values()) == {1}
            with pytest.raises(ConflictError):
                await desk.resume(job.id)
            with pytest.raises(ConflictError):
                await desk.pause(job.id)

    run(story())


async def _true(what: bool) -> bool:
    return what


async def _standing(engine: Engine, job_id: str) -> bool:
    return all(not part.worker for part in await engine.catalog.job_parts(job_id))


def test_a_job_that_cannot_go_on_fails_with_the_reason_and_harms_no_other(
    catalog_url: str, tmp_path: Path
) -> None:
    items = place(tmp_path)

    async def story() -> None:
        broken, sound = Toy(), Toy()
        sound.name = "sound"
        async with engine_at(catalog_url, tmp_path) as engine:
            for how, told in (
                ("error", "UNAVAILABLE: the toy box does not answer"),
                ("defect", "a defect (ZeroDivisionError); see the log"),
                ("cancel", "a defect (CancelledError); see the log"),
            ):
                desk = JobDesk(engine, Kinds([broken, sound]), ADMIN)
                job = await desk.start("toy", {"dir": str(items)})
                other = await desk.start("sound", {"dir": str(items)})
                broken.broken = how
                runner = Runner(engine, Kinds([broken, sound]), habits=QUICK)
                task = asyncio.ensure_future(runner.run())
                found = await ended(engine, job.id)
                assert (found.state, found.trouble.lower()) == (JobState.FAILED, told.lower())
                assert (await ended(engine, other.id)).state is JobState.DONE
                broken.broken = ""
                await desk.resume(job.id)
                assert (await ended(engine, job.id)).state is JobState.DONE
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    run(story())


def test_a_step_that_fails_for_a_while_is_tried_again(catalog_url: str, tmp_path: Path) -> None:
    items = place(tmp_path)

    class Shaky(Toy):
        failed = 0

        async def step(self, work: Any, part: Any) -> Any:
            if part.number == 1 and self.failed < 3:
                self.failed += 1
                self.broken = "error"
            else:
                self.broken = ""
            return await super().step(work, part)

    async def story() -> None:
        async with engine_at(catalog_url, tmp_path) as engine, working(engine, kind := Shaky()):
            job = await desk_of(engine).start("toy", {"dir": str(items)})
            found = await ended(engine, job.id)
            assert (found.state, found.counts.examined, found.trouble) == (JobState.DONE, 100, "")
            assert kind.failed == 3
            assert set(done_in(items).values()) == {1}

    run(story())


def test_a_worker_that_dies_is_replaced_and_nothing_is_counted_twice(
    catalog_url: str, tmp_path: Path
) -> None:
    """Two processes; one is killed in the middle again and again. Every item is done, and counted once."""
    items = place(tmp_path)

    async def story() -> None:
        async with engine_at(catalog_url, tmp_path) as engine:
            spec = {"dir": str(items), "items": 300, "parts": 3, "pause": 0.01, "batch": 20}
            with worker(catalog_url, tmp_path):
                with worker(catalog_url, tmp_path) as victim:
                    job = await desk_of(engine).start("toy", spec)
                    await until(lambda: _true(_by(items, victim.pid) > 15))
                    victim.kill()
                found = await ended(engine, job.id)
            assert found.state is JobState.DONE
            assert found.counts.examined == found.counts.done == found.counts.notes["touched"] == 300
            done = done_in(items)
            assert len(done) == 300
            assert all(done.values())

    run(story())


def _by(items: Path, pid: int) -> int:
    return sum(1 for path in items.iterdir() if str(pid) in path.read_text().split())


def test_who_was_thought_dead_changes_nothing(catalog_url: str, tmp_path: Path) -> None:
    items = place(tmp_path)

    async def story() -> None:
        async with engine_at(catalog_url, tmp_path) as engine:
            catalog = engine.catalog
            job = await desk_of(engine).start("toy", {"dir": str(items), "items": 40, "parts": 1})
            assert await Runner(engine, Kinds([Toy()]), habits=QUICK).turn()  # it is split
            stale = await catalog.take_job_work("gone", ["toy"], lease=300_000)
            assert stale is not None
            assert stale.part is not None
            assert await catalog.take_job_work("late", ["toy"], lease=300_000) is None
            async with working(engine, Toy()):
                found = await ended(engine, job.id)
            done = Done(stale.part, "40", True, Counts(40, 40), (), "mark", 0)
            assert await catalog.checkpoint_job(done) is None
            assert not await catalog.renew_job_work(stale, lease=1_000_000)
            assert await catalog.trip_job_work(stale, "late", pause=1, longest=1, most=1) is None
            await catalog.release_job_work(stale)
            assert await catalog.job(job.id) == found
            assert (found.state, found.counts.examined) == (JobState.DONE, 40)
            part = (await catalog.job_parts(job.id))[0]
            assert (part.fence, part.done) == (2, True)

    run(story())


def test_the_pace_is_kept_by_all_who_work_together(catalog_url: str, tmp_path: Path) -> None:
    """Two runners that share nothing but the catalog."""
    items = place(tmp_path)

    def done() -> int:
        return len(done_in(items))

    async def story() -> None:
        async with engine_at(catalog_url, tmp_path) as engine, engine_at(catalog_url, tmp_path) as other:
            async with working(engine, Toy()), working(other, Toy()):
                desk = desk_of(engine)
                spec = {"dir": str(items), "items": 100_000, "batch": 20}
                began = time.monotonic()
                job = await desk.start("toy", spec, pace=Pace(objects=100.0))
                await until(lambda: _true(done() > 220), 30.0)
                found = done()
                allowed = 60 + 100.0 * (time.monotonic() - began)
                assert found < allowed, "whatever stalls, no more than this is done since the start"
                workers = {part.worker for part in await desk.parts(job.id)} - {""}
                assert len(workers) == 2
                await desk.set_pace(job.id, Pace(objects=400.0))
                before, began = done(), time.monotonic()
                await until(lambda: _true(done() > before + 400), 30.0)
                assert time.monotonic() - began < 3.5, "at the old pace it would take four seconds"
            await desk.cancel(job.id)

    run(story())


def test_a_schedule_starts_its_job_once_whoever_sees_it(catalog_url: str, tmp_path: Path) -> None:
    """Three look for what is due, again and again, at the same time."""
    items = place(tmp_path)

    async def story() -> None:
        async with AsyncExitStack() as stack:
            engines = [await stack.enter_async_context(engine_at(catalog_url, tmp_path)) for _ in range(3)]
            kinds, desk = Kinds([Toy()]), desk_of(engines[0])
            spec = {"dir": str(items), "items": 5, "parts": 1}
            first = (await desk.put_schedule("nightly", "toy", "@every 1", spec)).next_at
            starting = [asyncio.ensure_future(keep_starting(engine, kinds, look=0.02)) for engine in engines]
            async with working(engines[0], Toy()):
                await until(lambda: _many(desk, 3), 10.0)
            jobs = await desk.jobs()
            rounds = [(job.created - first) // 1_000_000 for job in jobs]
            assert min(rounds) == 0
            assert len(set(rounds)) == len(rounds), "none was started twice"
            # The last one is not done: nobody works. So no further one is started beside it.
            await asyncio.sleep(1.3)
            waiting = [job for job in await desk.jobs() if job.state not in ENDED]
            assert len(waiting) == 1
            await desk.delete_schedule("nightly")
            for task in starting:
                task.cancel()
            await asyncio.gather(*starting, return_exceptions=True)
            with pytest.raises(NotFoundError):
                await desk.schedule("nightly")

    run(story())


async def _many(desk: JobDesk, number: int) -> bool:
    return len([job for job in await desk.jobs() if job.schedule == "nightly"]) >= number


def test_the_queue_may_lose_everything(tmp_path: Path) -> None:
    """Its rows go away while the job waits, and it is finished all the same."""
    from tests.servers_postgres import fresh_database

    items, url = place(tmp_path), fresh_database()

    async def story() -> None:
        import asyncpg

        async with engine_at(url, tmp_path) as engine:
            with worker(url, tmp_path):
                job = await desk_of(engine).start("toy", {"dir": str(items), "items": 60, "pause": 0.02})
                connection = await asyncpg.connect(url)
                while (await engine.catalog.job(job.id)).state not in ENDED:
                    await connection.execute("DELETE FROM holdfast_pgqueuer")
                    await asyncio.sleep(0.02)
                await connection.execute("DROP TABLE holdfast_pgqueuer CASCADE")
                other = await desk_of(engine).start("toy", {"dir": str(items), "items": 60})
                assert (await ended(engine, other.id)).state is JobState.DONE
                await connection.close()
            assert (await engine.catalog.job(job.id)).counts.examined == 60

    run(story())


def test_the_queue_brings_work_at_once(tmp_path: Path) -> None:
    """Nobody looks at the rows for a minute, and nobody in this process tells: the entry alone brings the work."""
    import asyncpg

    from tests.servers_postgres import fresh_database

    items, url = place(tmp_path), fresh_database()
    lazy = replace(QUICK, look=60.0)

    async def story() -> None:
        async with engine_at(url, tmp_path) as engine, working(engine, Toy(), habits=lazy):
            await asyncio.sleep(0.5)  # so that it listens, and has looked
            job = Job("job-1", "default", "toy", Toy().check({"dir": str(items)}))
            await engine.catalog.create_job(job)
            connection = await asyncpg.connect(url)
            await connection.execute(
                "INSERT INTO holdfast_pgqueuer (priority, status, entrypoint, payload, created, updated, execute_after)"
                " VALUES (0, 'queued', 'part', 'job-1 -1', now(), now(), now())"
            )
            await connection.close()
            found = await ended(engine, job.id, 15.0)
            assert (found.state, found.counts.examined) == (JobState.DONE, 100)

    run(story())


def test_one_job_run_here_to_its_end(catalog_url: str, tmp_path: Path) -> None:
    items = place(tmp_path)

    async def story() -> None:
        async with engine_at(catalog_url, tmp_path) as engine:
            desk, runner = desk_of(engine), Runner(engine, Kinds([Toy()]), habits=QUICK)
            other = await desk.start("toy", {"dir": str(items)})
            job = await desk.start("toy", {"dir": str(items), "items": 30, "pause": 0.01})
            work = asyncio.ensure_future(runner.run_job(job.id))
            await until(lambda: _true(len(done_in(items)) > 3))
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            assert await _standing(engine, job.id), "who breaks it off lets go at once"
            assert (await runner.run_job(job.id)).state is JobState.DONE
            assert (await desk.job(other.id)).state is JobState.QUEUED
            await desk.pause(other.id)
            assert (await runner.run_job(other.id)).state is JobState.PAUSED

    run(story())


def test_what_was_taken_while_it_was_broken_off_is_let_go_too(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = place(tmp_path)

    async def story() -> None:
        async with engine_at(sqlite_url, tmp_path) as engine:
            desk, runner = desk_of(engine), Runner(engine, Kinds([Toy()]), habits=QUICK)
            job = await desk.start("toy", {"dir": str(items), "items": 30})
            assert await runner.turn(job.id)
            taken, answered = asyncio.Event(), asyncio.Event()
            take = engine.catalog.take_job_work

            async def slowly(*args: Any, **more: Any) -> Any:
                claim = await take(*args, **more)
                taken.set()
                await answered.wait()
                return claim

            monkeypatch.setattr(engine.catalog, "take_job_work", slowly)
            turn = asyncio.ensure_future(runner.turn(job.id))
            await taken.wait()
            assert not await _standing(engine, job.id)
            for _ in range(2):  # whoever waits may lose patience twice
                turn.cancel()
                await asyncio.sleep(0)
            answered.set()
            with pytest.raises(asyncio.CancelledError):
                await turn
            assert await _standing(engine, job.id)

    run(story())


class Both(Toy):
    """Needs more than its verb on its bucket."""

    name = "both"
    verb = "put"

    def asks(self, spec: Any) -> Sequence[Ask]:
        return [Ask("get", spec["from"]), Ask("put", spec["to"], prefix="in/")]


def test_who_may_start_see_and_steer(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        service = Toy()
        service.name, service.verb = "service", "operate"
        kinds = Kinds([Toy(), Both(), service])
        async with engine_at(sqlite_url, tmp_path) as engine:
            await engine.catalog.create_tenant("other")

            def desk(principal: Principal) -> JobDesk:
                return JobDesk(engine, kinds, principal)

            reader = desk(Principal("r", "default", "reader"))
            scoped = desk(Principal("s", "default", "admin", scopes=(Scope("logs"),)))
            writer = desk(
                Principal("w", "default", "writer", scopes=(Scope("a", verbs=("get",)), Scope("b", "in/")))
            )
            stranger = desk(Principal("o", "other", "admin"))
            operator, admin = desk(OPERATOR), desk(ADMIN)

            for refused in (
                reader.start("toy", {"bucket": "logs"}),
                scoped.start("toy", {"bucket": "data"}),
                scoped.start("toy", {}),
                admin.start("service", {}),
                admin.start("toy", {"tenant": "other"}),
                admin.forecast("service", {}),
                writer.start("both", {"from": "b", "to": "b"}),
                writer.put_schedule("s", "toy", "@every 5", {}),
            ):
                with pytest.raises(PermissionDeniedError):
                    await refused
            mine = await scoped.start("toy", {"bucket": "logs"})
            assert (mine.tenant, mine.spec["tenant"]) == ("default", "default")
            assert (await writer.start("both", {"from": "a", "to": "b"})).kind == "both"
            theirs = await stranger.start("toy", {})
            assert theirs.spec["tenant"] == "other"
            served = await operator.start("service", {})
            assert served.tenant == ""
            named = await operator.start("toy", {"tenant": "other"})
            assert named.tenant == "other"

            assert {job.id for job in await stranger.jobs()} == {theirs.id, named.id}
            assert [job.id for job in await scoped.jobs()] == [mine.id]
            everything = [job.id for job in await operator.jobs()]
            assert len(everything) == 5
            assert everything == sorted(
                everything, reverse=True
            )  # those of one millisecond are as chance has it
            assert len(await operator.jobs(kind="both")) == 1
            after = await operator.jobs(limit=1, after=everything[0])
            assert [job.id for job in after] == everything[1:2]
            for hidden in (scoped.job(theirs.id), admin.job(served.id), reader.pause(mine.id)):
                with pytest.raises(NotFoundError):
                    await hidden
            for wrong in (
                admin.start("nothing", {}),
                admin.start("toy", {"items": "many"}),
                admin.start("toy", {}, pace=Pace(objects=0)),
                admin.put_schedule("s", "toy", "every day", {}),
                admin.put_schedule("", "toy", "@every 5", {}),
            ):
                with pytest.raises(InvalidRequestError):
                    await wrong

    run(story())


def test_how_long_it_still_takes() -> None:
    second = 1_000_000
    job = Job("j", "t", "toy", {}, JobState.RUNNING, total=1000, recent=((0, 100, 0), (60 * second, 400, 0)))
    job = replace(job, counts=replace(job.counts, examined=400))
    assert rates(job) == (5.0, 0.0)
    assert seconds_left(job) == 120.0
    large = replace(job, total_bytes=10_000, recent=((0, 100, 0), (10 * second, 400, 100)))
    assert seconds_left(replace(large, counts=replace(job.counts, bytes=100))) == 990.0
    assert seconds_left(replace(job, total=None)) is None
    assert seconds_left(replace(job, recent=((0, 1, 1),))) is None
    assert seconds_left(replace(job, recent=((0, 5, 0), (second, 5, 0)))) is None
    assert seconds_left(replace(job, state=JobState.PAUSED)) is None


def test_how_long_it_would_take_as_it_went_lately() -> None:
    second = 1_000_000
    job = Job("j", "t", "toy", {}, JobState.DONE, counts=Counts(400, 390, 4, 6, 8000))
    assert seconds_as(job, 100, 100) is None
    whole = replace(job, started=second, ended=21 * second)
    assert seconds_as(whole, 100, 0) == 5.0
    assert seconds_as(whole, 100, 4000) == 10.0
    assert seconds_as(replace(whole, recent=((0, 100, 0), (2 * second, 400, 0))), 300, 4000) == 2.0
    assert seconds_as(replace(whole, counts=Counts(400, 100, 300, 0, 8000)), 100, 0) is None
