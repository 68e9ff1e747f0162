"""How far a batch is, as the catalog knows it while it runs; and batches that jobs do, in whose name and how often."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.catalog.contract import Batch, BatchState
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import (
    AlreadyExistsError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
)
from holdfast.core.jobs import JobState, Part
from holdfast.core.types import Scope
from holdfast.engine import batches
from holdfast.engine.acting import Deed, Doing
from holdfast.engine.batches import Item, Result
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from holdfast.jobs.batch import BatchKind, Begun, begin
from holdfast.jobs.desk import JobDesk
from holdfast.jobs.installed import installed
from holdfast.jobs.kinds import Work
from holdfast.jobs.runner import Runner
from tests.engine.alone import FreeGauge
from tests.helpers import content, engine_on, local_store, run

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("done", [25, 60, 100])
def test_progress_is_noted_every_few_items_not_by_time_alone(
    catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    monkeypatch.setattr(batches, "_EVERY", 3600.0)
    environment = Environment()

    async def story() -> None:
        held, tried = asyncio.Event(), 0

        async def act(item: Item) -> Result:
            nonlocal tried
            tried += 1
            if tried > done:
                await held.wait()
            if tried % 2:
                raise NotFoundError("there is no such object")
            return Result(item, size=1)

        async with engine_on(
            catalog_url, local_store("local", tmp_path / "o", environment), environment=environment
        ) as (engine, session):
            items = [Item("plain", f"{n}") for n in range(300)]
            who = (session.principal.tenant, session.principal.id)
            doing = asyncio.ensure_future(engine.batches.run(*who, "delete", items, act, id="b"))
            await asyncio.sleep(0)

            async def known() -> Batch:
                return await engine.batches.get(who[0], "b")

            async with asyncio.timeout(20):
                while tried < 8:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                while (now := await known()).done + now.failed <= done - 25:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                assert now.state is BatchState.RUNNING
                assert now.done
                assert now.failed
                held.set()
                await doing
            now = await known()
            assert now.state is BatchState.DONE
            assert (now.done + now.failed, now.bytes) == (300, now.done)

    run(story())


def test_a_job_does_a_batch_as_whoever_began_it_and_twice_is_once(catalog_url: str, tmp_path: Path) -> None:
    """Each step done two times, the second as another process would: no second delete marker, no second copy."""
    environment = Environment()

    async def story() -> None:
        async with engine_on(
            catalog_url, local_store("local", tmp_path / "o", environment), environment=environment
        ) as (engine, session):
            await session.create_bucket("papers", versioning=True)
            for number in range(30):
                await session.put("papers", f"{number:02}", Body.of_bytes(b"x"))
            writer = replace(session.principal, role="writer", scopes=(Scope("papers", "0"),))
            for deed, target in ((Deed.COPY, "copies"), (Deed.DELETE, "")):
                items = [
                    Item(
                        "papers",
                        f"{number:02}",
                        None,
                        ("papers", f"{target}/{number:02}") if target else None,
                    )
                    for number in range(10 if deed is Deed.DELETE else 30)
                ]
                who = session.principal if deed is Deed.COPY else writer
                batch = await begin(engine, Begun(doing=Doing(deed), principal=who), items, id=None)
                await twice(engine, batch)
            assert len((await session.versions("papers", prefix="copies/")).items) == 30
            assert [len((await session.versions("papers", prefix=f"{n:02}")).items) for n in (0, 9, 10)] == [
                2,
                2,
                1,
            ]

    run(story())


@pytest.mark.parametrize("fence", [1, 2])
def test_what_is_written_after_a_batch_began_is_left_alone(
    catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fence: int
) -> None:
    """A worker stalls, the batch ends without it, objects are written anew: then it goes on, at whichever step it was."""
    environment = Environment()

    async def story() -> None:
        async with engine_on(
            catalog_url, local_store("local", tmp_path / "o", environment), environment=environment
        ) as (engine, session):
            for key in ("early", "late", "kept", "source"):
                await session.put("plain", key, Body.of_bytes(b"old"))
            head = Session.head

            async def stalled(self: Session, bucket: str, key: str, **how: Any) -> Any:
                found = await head(self, bucket, key, **how)
                if key == "late":  # written between the look and the deed
                    await session.put("plain", key, Body.of_bytes(b"new"))
                return found

            monkeypatch.setattr(Session, "head", stalled)

            async def failed(deed: Deed, *items: Item, anew: str) -> dict[str, str]:
                begun = Begun(doing=Doing(deed), principal=session.principal)
                batch = await begin(engine, begun, items, id=None)
                await session.put("plain", anew, Body.of_bytes(b"new"))
                job = await engine.catalog.job(batch.job_id)
                work = Work(engine, job, FreeGauge(), lambda: False, _beat)
                step = await BatchKind().step(work, Part(job.id, 0, "0", str(len(items)), fence=fence))
                assert all("after the batch began" in one.message for one in step.failures)
                return {one.key: one.code for one in step.failures}

            items = [Item("plain", key) for key in ("early", "late", "kept")]
            lost = await failed(Deed.DELETE, *items, anew="early")
            assert lost == dict.fromkeys(["early", "late"] if fence > 1 else ["early"], "conflict")
            assert [item.ref.key for item in (await session.list("plain")).items] == [*lost, "source"]
            assert await content(session, "plain", "early") == b"new"
            items = [Item("plain", "source", None, ("plain", key)) for key in ("early", "fresh")]
            assert await failed(Deed.COPY, *items, anew="early") == {"source": "conflict"}
            assert await content(session, "plain", "early") == b"new"
            assert await content(session, "plain", "fresh") == b"old"
            again = [Item("plain", "source", None, ("plain", "fresh")) for _ in range(2)]
            assert await failed(Deed.COPY, *again, anew="other") == {}  # the same copy twice is one

    run(story())


def test_an_item_that_its_principal_may_not_touch_fails_alone(catalog_url: str, tmp_path: Path) -> None:
    environment = Environment()

    async def story() -> None:
        async with engine_on(
            catalog_url, local_store("local", tmp_path / "o", environment), environment=environment
        ) as (engine, session):
            for key in ("mine/a", "theirs/b"):
                await session.put("plain", key, Body.of_bytes(b"x"))
            writer = replace(session.principal, role="writer", scopes=(Scope("plain", "mine/"),))
            items = [Item("plain", "mine/a"), Item("plain", "theirs/b")]
            batch = await begin(engine, Begun(doing=Doing(Deed.DELETE), principal=writer), items, id="mixed")
            assert (batch.state, batch.total) == (BatchState.RUNNING, 2)
            await Runner(engine, installed()).run_job(batch.job_id)
            said = await engine.batches.get(session.principal.tenant, "mixed")
            assert (said.state, said.done, said.failed) == (BatchState.DONE, 1, 1)
            assert [(one.key, one.code) for one in said.failures] == [("theirs/b", "permission_denied")]
            assert [item.ref.key for item in (await session.list("plain")).items] == ["theirs/b"]
            with pytest.raises(AlreadyExistsError):
                await begin(engine, Begun(doing=Doing(Deed.DELETE), principal=writer), items, id="mixed")
            with pytest.raises(NotFoundError):  # the items are gone with the end of the job
                await engine.catalog.batch_items(session.principal.tenant, batch.job_id, 0)

    run(story())


def test_a_batch_that_is_cancelled_is_told_so_and_its_job_with_it(catalog_url: str, tmp_path: Path) -> None:
    environment = Environment()

    async def story() -> None:
        async with engine_on(
            catalog_url, local_store("local", tmp_path / "o", environment), environment=environment
        ) as (engine, session):
            tenant, items = session.principal.tenant, [Item("plain", f"{n}") for n in range(300)]
            begun = Begun(doing=Doing(Deed.DELETE), principal=session.principal)
            one = await begin(engine, begun, items, id="one")
            two = await begin(engine, begun, items, id="two")
            await engine.batches.cancel(tenant, "one")
            assert (await engine.catalog.job(one.job_id)).state is JobState.CANCELLED
            await engine.catalog.cancel_job(two.job_id)
            states = [batch.state for batch in await engine.batches.list(tenant, before=None, limit=10)]
            assert states == [BatchState.CANCELLED] * 2
            await engine.batches.cancel(tenant, "two")  # what has ended stays as it is
            assert (await engine.batches.get(tenant, "two")).failures == []

    run(story())


def test_a_batch_begins_nowhere_but_at_its_own_door(catalog_url: str, tmp_path: Path) -> None:
    environment = Environment()

    async def story() -> None:
        async with engine_on(
            catalog_url, local_store("local", tmp_path / "o", environment), environment=environment
        ) as (engine, session):
            boss = replace(session.principal, role="operator")
            for spec in ({}, {"batch": "b", "verb": "delete", "items": 1}):
                with pytest.raises(InvalidRequestError, match="/api/v1/batch"):
                    await JobDesk(engine, installed(), boss).start("batch", spec)
            with pytest.raises(PermissionDeniedError):
                await JobDesk(engine, installed(), replace(boss, role="admin")).start("batch", {})

    run(story())


async def twice(engine: Engine, batch: Batch) -> None:
    """Do the job of a batch, each step two times: as the first that had its part, and as one who took it over."""
    kind = BatchKind()
    job = await engine.catalog.job(batch.job_id)
    work = Work(engine, job, FreeGauge(), lambda: False, _beat)
    for number, stretch in enumerate(await kind.split(work)):
        part = Part(job.id, number, stretch.start, stretch.end, fence=1)
        while not part.done:
            await kind.step(work, part)
            step = await kind.step(work, replace(part, fence=2))
            assert step.failures == []
            assert step.counts.done > 0
            part = replace(part, cursor=step.cursor, done=step.done)
    await kind.finish(work)


async def _beat() -> None:
    return
