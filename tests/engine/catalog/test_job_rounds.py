"""Rows of jobs when several are at them: late ones of an earlier round, two at once, one job beside a large one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from holdfast.catalog import job_parts
from holdfast.catalog.job_parts import NewPart
from holdfast.core.errors import NotFoundError
from holdfast.core.jobs import ItemFailure, Job, Part, Schedule
from tests.engine.catalog.support import MINUTE, desk_at, run
from tests.engine.catalog.test_jobs import KINDS, SECOND, begun, step, taken

pytestmark = pytest.mark.engine


def test_who_comes_late_does_not_write_into_the_next_round(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            job = await begun(desk, 1)
            late = await taken(desk, job, "late")
            desk.advance(61)
            last = await taken(desk, job, "last")
            for _ in range(2):
                await catalog.checkpoint_job(step(last, over=True, mark=f"end {last.fence}"))
                await catalog.plan_job(await taken(desk, job), [NewPart("0"), NewPart("1")])
                fresh = [part.fence for part in await catalog.job_parts(job.id)]
                assert fresh == [last.fence + 1] * 2, "above whoever had a part before"
                for old in (late, last):
                    assert await catalog.checkpoint_job(step(old, "stale", mark="stale")) is None
                    assert not await catalog.renew_job_work(old, lease=MINUTE)
                    assert await catalog.trip_job_work(old, "no", pause=1, longest=1, most=1) is None
                mine = await taken(desk, job, number=0)
                await catalog.release_job_work(late)
                assert await catalog.checkpoint_job(step(mine, "c", mark=f"mine {mine.fence}")) is not None
                await catalog.checkpoint_job(step(await taken(desk, job, number=1), over=True, mark="other"))
                late, last = last, mine
            assert (await catalog.job(job.id)).counts.examined == 3 * 6

    run(story())


def test_a_part_is_written_or_taken_but_not_both(catalog_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One stands still between looking at its part and writing into it, and its lease is over by then."""
    looked, taken_over = threading.Event(), threading.Event()
    look = job_parts._part

    def slow(part: Part) -> Iterator[Any]:
        found = yield from look(part)
        looked.set()
        taken_over.wait(0.5)
        return found

    async def story() -> None:
        async with desk_at(catalog_url) as desk, desk_at(catalog_url, fresh=False) as other:
            job = await begun(desk, 1)
            first = await taken(desk, job)
            monkeypatch.setattr(job_parts, "_part", slow)
            writing = asyncio.get_running_loop().run_in_executor(None, write, first)
            await asyncio.to_thread(looked.wait, 10)
            monkeypatch.setattr(job_parts, "_part", look)
            other.advance(100)
            second = await other.catalog.take_job_work("w2", KINDS, lease=MINUTE, job_id=job.id)
            taken_over.set()
            assert await writing, "nobody had it meanwhile"
            assert second is None or (second.part is not None and second.part.cursor == "c")

    def write(claim: Any) -> bool:
        async def alone() -> bool:
            async with desk_at(catalog_url, fresh=False) as desk:
                return await desk.catalog.checkpoint_job(step(claim)) is not None

        return asyncio.run(alone())

    run(story())


def test_a_job_of_many_parts_starves_no_other(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            large = await begun(desk, 30)
            desk.advance(1)
            small = await begun(desk, 2)
            desk.advance(1)
            served: list[str] = []
            for number in range(8):  # by one who lets go of each after a step
                claim = await catalog.take_job_work("w", KINDS, lease=MINUTE)
                assert claim is not None
                served.append(claim.job.id)
                await catalog.checkpoint_job(step(claim, str(number), lease=0, mark=str(number)))
                desk.advance(1)
            assert served == [large.id, small.id] * 4
            held = [await catalog.take_job_work("w", KINDS, lease=MINUTE) for _ in range(4)]
            of = [claim.job.id for claim in held if claim is not None]
            assert sorted(of[:2]) == sorted(of[2:]) == sorted([large.id, small.id]), "while steps take long"
            waiting = await catalog.create_job(Job("zz", "t", "toy", {}))
            claim = await catalog.take_job_work("w", KINDS, lease=MINUTE)
            assert claim is not None
            assert (claim.job.id, claim.part) == (waiting.id, None), "to be split"

    run(story())


def test_what_was_written_while_the_clock_was_ahead_is_looked_at_again(sqlite_url: str) -> None:
    async def story() -> None:
        async with desk_at(sqlite_url) as desk:
            catalog, now = desk.catalog, await desk.catalog.now()
            made = Schedule("s", "t", "toy", {}, "@every 60", next_at=now + 60 * SECOND)
            await catalog.put_schedule(made)
            assert await catalog.due_schedules() == []
            desk.advance(10 * 365 * 86_400)
            (due,) = await catalog.due_schedules()
            await catalog.start_schedule(due, Job("j", "t", "toy", {}), next_at=due.next_at + 10**15)
            desk.advance(-10 * 365 * 86_400)
            (ahead,) = await catalog.due_schedules()
            assert ahead.next_at > now + 10**14
            assert await catalog.start_schedule(ahead, None, next_at=now + 60 * SECOND) is None
            assert await catalog.due_schedules() == []
            held = await catalog.schedule("t", "s")
            assert (held.next_at, held.last_job) == (now + 60 * SECOND, "j")

    run(story())


def test_what_a_removed_tenant_had_started_goes_with_it(catalog_url: str) -> None:
    async def story() -> None:
        async with desk_at(catalog_url) as desk:
            catalog = desk.catalog
            await catalog.create_tenant("acme")
            for tenant in ("acme", "t"):
                await catalog.put_schedule(Schedule("s", tenant, "toy", {}, "@every 60", next_at=1 << 60))
                job = await catalog.create_job(Job(f"of-{tenant}", tenant, "toy", {}))
                claim = await taken(desk, job)
                await catalog.plan_job(claim, [NewPart(str(number)) for number in range(5)])
                part = await taken(desk, job)
                bad = [ItemFailure("b", "k", code="CORRUPTED") for _ in range(3)]
                done = step(part)
                await catalog.checkpoint_job(type(done)(done.part, "c", False, done.counts, bad, "m", 0))
            await catalog.delete_tenant("acme", grace=0)
            desk.advance(10)
            assert not await catalog.remove_tenant("acme"), "all of it goes first"
            while not await catalog.clear_tenant("acme", limit=2):
                pass
            assert await catalog.remove_tenant("acme")
            assert [one.tenant for one in await catalog.schedules()] == ["t"]
            assert [one.id for one in await catalog.jobs()] == ["of-t"]
            assert (len(await catalog.job_parts("of-t")), len(await catalog.job_failures("of-t"))) == (5, 3)
            assert not await catalog.job_parts("of-acme")
            assert not await catalog.job_failures("of-acme")
            with pytest.raises(NotFoundError):
                await catalog.job("of-acme")

    run(story())
