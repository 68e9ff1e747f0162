"""Schedules: whose they are, what they are called, and who no longer starts anything by them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.core.clock import ManualClock
from holdfast.core.errors import ConflictError, InvalidRequestError, NotFoundError
from holdfast.core.jobs import Pace
from holdfast.core.types import Principal, TenantState
from holdfast.engine.engine import Engine
from holdfast.jobs.desk import JobDesk
from holdfast.jobs.kinds import Kinds
from holdfast.jobs.schedules import start_due
from tests.engine.toys import Toy, engine_at
from tests.helpers import run

pytestmark = pytest.mark.engine

ADMIN = Principal("key-1", "default", "admin")
OTHER = Principal("key-2", "other", "admin")
OPERATOR = Principal("key-0", "default", "operator")


class Chores(Toy):
    """Of the whole service."""

    name, verb = "chores", "operate"


KINDS = Kinds([Toy(), Chores()])


@asynccontextmanager
async def house(url: str, directory: Path) -> AsyncIterator[tuple[Engine, ManualClock]]:
    async with engine_at(url, directory) as engine:
        await engine.catalog.create_tenant("other")
        clock = ManualClock(start=int(datetime.now(UTC).timestamp()) * 1_000_000)
        engine.catalog._runner._clock = clock  # type: ignore[attr-defined]
        yield engine, clock


def desk(engine: Engine, principal: Principal) -> JobDesk:
    return JobDesk(engine, KINDS, principal)


def test_operators_mean_their_own_unless_they_say_whose(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with house(sqlite_url, tmp_path) as (engine, _):
            boss, mine, theirs = (desk(engine, one) for one in (OPERATOR, ADMIN, OTHER))
            await theirs.put_schedule("nightly", "toy", "@every 60", {})
            for ask in (
                boss.schedule("nightly"),
                boss.delete_schedule("nightly"),
                mine.schedule("nightly", "other"),
            ):
                with pytest.raises(NotFoundError):
                    await ask
            assert (await boss.schedule("nightly", "other")).tenant == "other"
            await boss.put_schedule("nightly", "chores", "@every 60", {})
            await mine.put_schedule("nightly", "toy", "@every 60", {})
            assert [one.tenant for one in await boss.schedules()] == ["", "default", "other"]
            assert [one.tenant for one in await boss.schedules("other")] == ["other"]
            assert [one.tenant for one in await mine.schedules()] == ["default"]
            assert await mine.schedules("other") == await mine.schedules("") == []
            with pytest.raises(ConflictError, match="say which"):
                await boss.delete_schedule("nightly")
            await boss.delete_schedule("nightly", "")
            with pytest.raises(NotFoundError):
                await boss.delete_schedule("nightly", "")
            await mine.delete_schedule("nightly")
            for ask in (mine.delete_schedule("nightly"), boss.delete_schedule("nightly")):
                with pytest.raises(NotFoundError):
                    await ask
            assert [one.tenant for one in await boss.schedules()] == ["other"], "said twice removes no other"

    run(story())


def test_what_is_misnamed_too_long_or_too_slow_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with house(sqlite_url, tmp_path) as (engine, _):
            mine = desk(engine, ADMIN)
            for name in ("..", "a/b", "", "a..b", "Upper", "x" * 64, "with space", "a\n"):
                with pytest.raises(InvalidRequestError, match="name for a schedule"):
                    await mine.put_schedule(name, "toy", "@every 60", {})
            with pytest.raises(InvalidRequestError, match="200 characters"):
                await mine.put_schedule("s", "toy", ",".join(["0"] * 500_000) + " * * * *", {})
            for pace in (Pace(objects=0.0009), Pace(objects=float("nan")), Pace(bytes=0)):
                with pytest.raises(InvalidRequestError, match="pace in"):
                    await mine.start("toy", {}, pace=pace)
            assert (await mine.start("toy", {}, pace=Pace(0.001, 1))).pace == Pace(0.001, 1)

    run(story())


def test_a_clock_that_was_ahead_for_a_moment_silences_nothing(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with house(sqlite_url, tmp_path) as (engine, clock):
            mine = desk(engine, ADMIN)
            await mine.put_schedule("every", "toy", "@every 60", {})
            await mine.put_schedule("daily", "toy", "0 3 * * *", {})
            years = 10 * 365 * 86_400.0
            clock.advance(years)
            assert len(await start_due(engine, KINDS)) == 2
            clock.advance(-years)
            assert await start_due(engine, KINDS) == []
            now = await engine.catalog.now()
            ahead = {one.name: (one.next_at - now) / 1e6 for one in await mine.schedules()}
            assert 0 < ahead["every"] <= 60
            assert 0 < ahead["daily"] <= 86_400
            assert len(await engine.catalog.jobs()) == 2, "only the time was set"

    run(story())


def test_who_is_not_served_starts_nothing(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with house(sqlite_url, tmp_path) as (engine, clock):
            boss = engine.session(OPERATOR).admin
            await desk(engine, OTHER).put_schedule("s", "toy", "@every 60", {})
            await desk(engine, OPERATOR).put_schedule("for-them", "chores", "@every 60", {"tenant": "other"})
            await boss.update_tenant("other", state=TenantState.SUSPENDED)
            clock.advance(61)
            assert await start_due(engine, KINDS) == []
            await boss.update_tenant("other", state=TenantState.ACTIVE)
            assert await start_due(engine, KINDS) == [], "what was missed meanwhile is not made up for"
            clock.advance(61)
            started = await start_due(engine, KINDS)
            assert {(job.tenant, job.kind) for job in started} == {("other", "toy"), ("other", "chores")}
            for job in started:
                await engine.catalog.cancel_job(job.id)
            await boss.delete_tenant("other")
            clock.advance(61)
            assert await start_due(engine, KINDS) == []

    run(story())


def test_a_key_that_was_revoked_starts_nothing(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with house(sqlite_url, tmp_path) as (engine, clock):
            boss = engine.session(OPERATOR).admin
            key, _ = await boss.create_key("leaver", "admin", tenant="other")
            leaver = Principal(key.id, "other", "admin", credentials=(f"key:{key.id}",))
            await desk(engine, leaver).put_schedule("s", "toy", "@every 60", {})
            clock.advance(61)
            (job,) = await start_due(engine, KINDS)
            await engine.catalog.cancel_job(job.id)
            await engine.catalog.revoke_key(key.id)
            engine.directory._known.clear()  # as some seconds later
            clock.advance(61)
            assert await start_due(engine, KINDS) == []
            await desk(engine, OTHER).put_schedule("s", "toy", "@every 60", {})
            clock.advance(61)
            assert len(await start_due(engine, KINDS)) == 1, "whoever sets it anew"

    run(story())
