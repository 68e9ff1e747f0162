"""Rows of jobs: taken by one at a time, written under a fence, counted once, forgotten in the end."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from holdfast.catalog import job_parts, job_rows
from holdfast.catalog.job_parts import Done, NewPart
from holdfast.core.errors import AlreadyExistsError, ConflictError, NotFoundError
from holdfast.core.jobs import Claim, Counts, ItemFailure, Job, JobState, Pace, Schedule
from tests.engine.catalog.support import MINUTE, Desk, desk_at, run

pytestmark = pytest.mark.engine
KINDS = ("toy",)
SECOND = 1_000_000


async def begun(desk: Desk, parts: int = 2, **more: object) -> Job:
    """A job that is split."""
    job = await desk.catalog.create_job(Job(desk.world.new_id(), "t", "toy", {"a": 1}, **more))  # type: ignore[arg-type]
    claim = await desk.catalog.take_job_work("splitter", KINDS, lease=MINUTE, job_id=job.id)
    assert claim is not None
    assert claim.part is None
    made = await desk.catalog.plan_job(claim, [NewPart(str(n), str(n + 1), 10, 100) for n in range(parts)])
    assert made is not None
    return made


async def taken(desk: Desk, job: Job, worker: str = "w", number: int = -1) -> Claim:
    claim = await desk.catalog.take_job_work(worker, KINDS, lease=MINUTE, job_id=job.id, number=number)
    assert claim is not None
    return claim


def step(
    claim: Claim, cursor: str = "c", *, over: bool = False, lease: int = MINUTE, mark: str = "m"
) -> Done:
    assert claim.part is not None
    return Done(claim.part, cursor, over, Counts(3, 2, 0, 1, 30, {"x": 2}), (), mark, lease)


def test_from_the_start_to_the_end(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            job = await begun(desk, principal="me", pace=Pace(2.5, 1000))
            assert (job.state, job.parts, job.total, job.total_bytes, job.round) == ("running", 2, 20, 200, 1)
            assert (job.pace, job.spec, job.principal) == (Pace(2.5, 1000), {"a": 1}, "me")
            with pytest.raises(AlreadyExistsError):
                await catalog.create_job(replace(job))
            one, two = await taken(desk, job), await taken(desk, job)
            assert one.part is not None
            assert {one.part.number, two.part.number if two.part else -1} == {0, 1}
            assert await catalog.take_job_work("w", KINDS, lease=1) is None
            assert await catalog.take_job_work("w", ("other",), lease=1) is None
            desk.advance(10)
            answer = await catalog.checkpoint_job(step(one, "at"))
            assert answer is not None
            assert (answer[0].counts.examined, answer[1].cursor, answer[1].counts.bytes) == (3, "at", 30)
            for claim in (one, two):
                answer = await catalog.checkpoint_job(step(claim, "end", over=True, mark="last"))
            assert answer is not None
            assert (answer[0].parts_done, answer[0].counts) == (2, Counts(9, 6, 0, 3, 90, {"x": 6}))
            final = await taken(desk, job)
            assert final.part is None
            again = await catalog.plan_job(final, [NewPart("z")], after=5 * SECOND, result={"so": "far"})
            assert again is not None
            assert (again.round, again.parts_done, again.result, again.total) == (2, 0, {"so": "far"}, None)
            assert await catalog.take_job_work("w", KINDS, lease=1) is None, "not before its time"
            desk.advance(6)
            last = await taken(desk, job)
            await catalog.checkpoint_job(step(last, over=True))
            done = await catalog.finish_job(await taken(desk, job), {"all": "well"})
            assert done is not None
            assert (done.state, done.result, done.counts.examined) == (JobState.DONE, {"all": "well"}, 12)
            assert await catalog.job_states() == {("toy", "done"): 1}

    run(story())


def test_a_checkpoint_counts_once_and_only_for_the_last_who_took_it(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            job = await begun(desk, 1)
            first = await taken(desk, job)
            done = step(first, "one")
            assert await catalog.checkpoint_job(done) == await catalog.checkpoint_job(done)
            assert (await catalog.job(job.id)).counts.examined == 3
            assert await catalog.renew_job_work(first, lease=2 * MINUTE)
            desk.advance(100)
            assert await catalog.take_job_work("w2", KINDS, lease=MINUTE) is None
            desk.advance(100)
            second = await taken(desk, job, "w2")
            assert second.part is not None
            assert (second.part.cursor, second.fence) == ("one", first.fence + 1)
            assert await catalog.checkpoint_job(step(first, "late", mark="n")) is None
            assert not await catalog.renew_job_work(first, lease=MINUTE)
            await catalog.release_job_work(first)
            assert await catalog.take_job_work("w3", KINDS, lease=MINUTE) is None, "it was not his to let go"
            await catalog.release_job_work(second)
            assert (await taken(desk, job, "w3")).fence == second.fence + 1

    run(story())


def test_nobody_takes_what_another_took(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk, desk_at(catalog_url, fresh=False) as other:
            job = await begun(desk, 20)
            takes = [
                one.catalog.take_job_work(f"w{number}", KINDS, lease=MINUTE)
                for number in range(15)
                for one in (desk, other)
            ]
            claims = [claim for claim in await asyncio.gather(*takes) if claim is not None]
            numbers = [claim.part.number for claim in claims if claim.part is not None]
            assert len(numbers) == len(set(numbers)) <= 20
            while claim := await desk.catalog.take_job_work("w", KINDS, lease=MINUTE):
                assert claim.part is not None
                numbers.append(claim.part.number)
            assert sorted(numbers) == list(range(20))
            done = [
                (desk if number % 2 else other).catalog.checkpoint_job(step(claim, over=True))
                for number, claim in enumerate(claims)
            ]
            await asyncio.gather(*done)
            held = await desk.catalog.job(job.id)
            assert (held.counts.examined, held.parts_done) == (3 * len(claims), len(claims))

    run(story())


def test_paused_jobs_are_not_taken_and_go_on_where_they_stood(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            job = await begun(desk, 1)
            claim = await taken(desk, job)
            assert (await catalog.pause_job(job.id)).state is JobState.PAUSED
            assert (await catalog.pause_job(job.id)).state is JobState.PAUSED
            answer = await catalog.checkpoint_job(step(claim, "end", over=True))
            assert answer is not None
            assert (answer[0].state, answer[0].parts_done) == (JobState.PAUSED, 1)
            assert await catalog.take_job_work("w", KINDS, lease=1) is None
            assert (await catalog.resume_job(job.id)).state is JobState.RUNNING
            assert (await taken(desk, job)).part is None, "it is to be ended"
            unsplit = await catalog.create_job(Job("j2", "t", "toy", {}))
            await catalog.pause_job(unsplit.id)
            assert (await catalog.resume_job(unsplit.id)).state is JobState.QUEUED
            held = await taken(desk, unsplit)
            await catalog.cancel_job(unsplit.id)
            assert await catalog.finish_job(held, {}) == await catalog.job(unsplit.id)
            with pytest.raises(ConflictError):
                await catalog.set_job_pace(unsplit.id, Pace())
            told = [one.action for one in await catalog.audit("t") if "job" in one.action]
            assert sorted(set(told)) == ["cancel-job", "pause-job", "resume-job", "start-job"]

    run(story())


def test_a_job_fails_after_so_many_tries_in_a_row(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            job = await begun(desk, 1)
            how = {"pause": SECOND, "longest": 3 * SECOND, "most": 4}
            for wait in (1, 2, 3):
                found = await catalog.trip_job_work(await taken(desk, job), "why", **how)
                assert found is not None
                assert (found.state, found.trouble) == (JobState.RUNNING, "why")
                desk.advance(wait - 0.1)
                assert await catalog.take_job_work("w", KINDS, lease=1) is None
                desk.advance(0.2)
            found = await catalog.trip_job_work(await taken(desk, job), "at last", **how)
            assert found is not None
            assert (found.state, found.trouble) == (JobState.FAILED, "at last")
            assert found.expires is not None
            resumed = await catalog.resume_job(job.id)
            assert (resumed.state, resumed.trouble, resumed.expires) == (JobState.RUNNING, "", None)
            claim = await taken(desk, job)
            assert claim.part is not None
            assert claim.part.tries == 0
            fresh = await catalog.create_job(Job("j2", "t", "toy", {}))
            for _ in range(4):
                await catalog.trip_job_work(await taken(desk, fresh), "cannot split", **how)
                desk.advance(4)
            assert (await catalog.job(fresh.id)).state is JobState.FAILED

    run(story())


def test_failures_are_kept_up_to_a_bound_and_jobs_forgotten(
    catalog_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_parts, "NAMED", 25)

    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            job = await begun(desk, 1)
            claim = await taken(desk, job)
            bad = [ItemFailure("b", f"k{n}", "v", "CORRUPTED", "x" * 2000, tenant="t") for n in range(10)]
            for number in range(4):
                done = replace(step(claim, str(number), mark=str(number)), failures=bad)
                answer = await catalog.checkpoint_job(replace(done, counts=Counts(failed=10)))
                assert answer is not None
            assert answer[0].counts.failed == 40
            kept = await catalog.job_failures(job.id)
            assert [one.number for one in kept] == list(range(1, 26))
            assert (kept[0].key, len(kept[0].message), kept[0].tenant) == ("k0", 1000, "t")
            assert [one.number for one in await catalog.job_failures(job.id, after=20, limit=3)] == [
                21,
                22,
                23,
            ]
            assert await catalog.forget_jobs() == 0
            await catalog.cancel_job(job.id)
            desk.advance(30 * 86_400 - 1)
            assert await catalog.forget_jobs() == 0
            desk.advance(2)
            assert await catalog.forget_jobs() == 1
            assert not await catalog.job_failures(job.id)
            assert not await catalog.job_parts(job.id)
            with pytest.raises(NotFoundError):
                await catalog.job(job.id)

    run(story())


def test_jobs_are_paged_the_newest_first(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            for number in range(5):
                kind, tenant = ("toy", "t") if number % 2 else ("other", "")
                await catalog.create_job(Job(f"j{number}", tenant, kind, {}))
            await catalog.pause_job("j1")
            assert [job.id for job in await catalog.jobs(limit=2)] == ["j4", "j3"]
            assert [job.id for job in await catalog.jobs(before="j3", limit=2)] == ["j2", "j1"]
            assert [job.id for job in await catalog.jobs("t")] == ["j3", "j1"]
            assert [job.id for job in await catalog.jobs(kind="other")] == ["j4", "j2", "j0"]
            assert [job.id for job in await catalog.jobs("t", state="paused")] == ["j1"]

    run(story())


def test_a_schedule_is_started_once(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog, now = desk.catalog, await desk.catalog.now()
            made = await catalog.put_schedule(
                Schedule("s", "t", "toy", {"a": 1}, "@every 60", Pace(1.0), next_at=now + 60 * SECOND)
            )
            assert not await catalog.due_schedules()
            desk.advance(61)
            assert await catalog.due_schedules() == [made]
            jobs = [Job(f"j{n}", "t", "toy", {}, schedule="s") for n in range(3)]
            next_at = now + 120 * SECOND
            starts = [catalog.start_schedule(made, job, next_at=next_at) for job in jobs]
            started = [job for job in await asyncio.gather(*starts) if job is not None]
            assert len(started) == 1
            held = await catalog.schedule("t", "s")
            assert (held.next_at, held.last_job) == (next_at, started[0].id)
            assert not await catalog.due_schedules()
            desk.advance(60)
            assert (
                await catalog.start_schedule(held, Job("late", "t", "toy", {}), next_at=next_at + 1) is None
            )
            after = await catalog.schedule("t", "s")
            assert (after.last_job, after.next_at) == (held.last_job, next_at + 1), (
                "the last one still goes on"
            )
            await catalog.put_schedule(replace(after, enabled=False, next_at=now))
            assert not await catalog.due_schedules()
            assert (await catalog.schedules("t"))[0].last_job == held.last_job
            await catalog.delete_schedule("t", "s")
            with pytest.raises(NotFoundError):
                await catalog.delete_schedule("t", "s")
            assert not await catalog.schedules()

    run(story())


def test_samples_cover_the_last_minute() -> None:
    recent: tuple[tuple[int, int, int], ...] = ()
    for second in range(300):
        recent = job_rows.sampled(recent, second * SECOND, Counts(examined=second * 2, bytes=second))
    assert len(recent) <= 14
    assert recent[-1] == (299 * SECOND, 598, 299)
    assert 50 * SECOND <= recent[-1][0] - recent[0][0] <= 60 * SECOND
    later = job_rows.sampled(recent, 9999 * SECOND, Counts(examined=700))
    assert later[-1] == (9999 * SECOND, 700, 0)
    assert len(later) == 2
