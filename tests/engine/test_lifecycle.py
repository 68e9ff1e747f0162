"""The job that follows the rules of buckets: what goes, what stays, what moves, what is refused; also done twice."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import (
    ConfigError,
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from holdfast.core.retention import LockMode
from holdfast.core.types import Principal, ReplicaState, Version
from holdfast.engine.describing import Change
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from holdfast.engine.settings import EngineSettings
from holdfast.engine.write import ObjectInput
from holdfast.jobs.defaults import schedule_once
from holdfast.jobs.installed import installed
from holdfast.jobs.lifecycle import PAGE, Lifecycle
from holdfast.jobs.reconcile import pay
from holdfast.jobs.schedules import start_due
from holdfast.policy.buckets import changed
from holdfast.policy.lifecycle import Action
from holdfast.policy.prices import Price, PriceBook, Tier
from tests.engine.alone import run_alone, work_of
from tests.helpers import content, engine_on, memory_store, run

pytestmark = pytest.mark.engine

DAY = 86_400
_FREE = (Tier(None, Decimal(0)),)
HOT = Price("hot", (Tier(None, Decimal("0.02")),), Decimal(0), Decimal(0), _FREE)
COLD = Price(
    "cold", (Tier(None, Decimal("0.01")),), Decimal(0), Decimal(0), _FREE, min_size=1000, min_days=30
)
BOOK = PriceBook({"hot": HOT, "cold": COLD})
MOVE = {"name": "cool", "transitions": [{"to": "label:cold", "days": 10}]}


class Ground:
    """An engine over a hot and a cold store, whose clock is turned by hand."""

    def __init__(self, engine: Engine, session: Session, clock: ManualClock) -> None:
        self.engine, self.session, self.clock = engine, session, clock

    def wait(self, days: float) -> None:
        self.clock.advance(days * DAY)

    async def rules(self, bucket: str, *rules: dict[str, Any], **settings: Any) -> None:
        change = partial(changed, changes={"lifecycle": list(rules), **settings})
        await self.session.update_bucket(bucket, change=change)

    async def put(self, key: str, bucket: str = "kept", size: int = 2000, **about: Any) -> Version:
        return await self.session.put(bucket, key, Body.of_bytes(b"x" * size), ObjectInput(**about))

    async def run(self, *, twice: bool = False, **spec: Any) -> dict[str, int]:
        """Run the job; return its notes."""
        ran = await run_alone(self.engine, Lifecycle(), spec, twice=twice)
        assert ran.failures == []
        return dict(ran.counts.notes)

    async def keys(self, bucket: str = "kept") -> list[str]:
        return [version.ref.key for version in (await self.session.list(bucket)).items]

    async def ids(self, bucket: str = "kept") -> list[str]:
        return [version.id for version in (await self.session.versions(bucket)).items]

    async def tier(self, made: Version) -> str:
        return (await self.session.head(made.ref.bucket, made.ref.key, version_id=made.id))[0].tier

    async def notes(self, **spec: Any) -> str:
        work = work_of(self.engine, Lifecycle(), spec)
        return "\n".join((await Lifecycle().forecast(work)).notes)


@asynccontextmanager
async def ground(
    url: str, *, labels: frozenset[str] = frozenset({"cold"}), inline: int = 0
) -> AsyncIterator[Ground]:
    environment = Environment.seeded(3)
    assert isinstance(environment.clock, ManualClock)
    hot, cold = memory_store("hot", environment), memory_store("cold", environment)
    cold.labels = labels
    async with engine_on(
        url, hot, environment=environment, settings=EngineSettings(prices=BOOK), inline=inline
    ) as (engine, session):
        engine.stores.own["cold"] = cold
        yield Ground(engine, session, environment.clock)


def test_current_versions_go_behind_a_marker_and_noncurrent_ones_for_good(catalog_url: str) -> None:
    async def story() -> None:
        async with ground(catalog_url) as here:
            await here.rules(
                "kept",
                {"name": "age", "expire_days": 30, "prefix": "old/"},
                {"name": "rest", "noncurrent_days": 5, "noncurrent_keep": 1, "expired_markers": True},
            )
            first = [await here.put("old/a") for _ in range(4)]
            other = await here.put("new/a")
            here.wait(4)
            assert await here.run() == {}
            here.wait(3)  # replaced 7 days ago: all but the newest noncurrent one go
            assert await here.run() == {"noncurrent": 2}
            assert set(await here.ids()) == {first[3].id, first[2].id, other.id}
            here.wait(25)
            assert await here.run() == {"expired": 1}
            assert await here.keys() == ["new/a"]
            assert await here.run() == {"noncurrent": 1}  # what was current is the newest one now, and stays
            here.wait(7)
            assert await here.run() == {}
            assert first[3].id in await here.ids()
            await here.session.delete("kept", "old/a", version_id=first[3].id)
            assert await here.run() == {"markers": 1}
            assert await here.ids() == [other.id]
            told = {
                line.action
                for line in await here.engine.catalog.audit("default")
                if line.principal == "lifecycle"
            }
            assert told == {"delete-version", "delete-marker"}

    run(story())


def test_where_no_versions_are_kept_objects_go_for_good(sqlite_url: str) -> None:
    async def story() -> None:
        async with ground(sqlite_url) as here:
            await here.rules("plain", {"name": "logs", "tags": {"kind": "log"}, "expire_days": 2})
            await here.put("a", "plain", tags={"kind": "log"})
            await here.put("b", "plain", tags={"kind": "other"})
            await here.put("c", "plain")
            here.wait(4)
            await here.put("d", "plain", tags={"kind": "log"})
            assert await here.run(twice=True) == {}  # the first time did it, the second found nothing
            assert await here.keys("plain") == ["b", "c", "d"]
            assert (await here.session.usage("plain")).objects == 3

    run(story())


def test_a_bucket_of_many_pages_and_long_keys(sqlite_url: str) -> None:
    """One key has more versions than a page, so that a page ends among them."""

    async def story() -> None:
        async with ground(sqlite_url, inline=100) as here:
            await here.rules("kept", {"name": "r", "noncurrent_days": 1, "noncurrent_keep": 2})
            newest = [await here.put("k", size=1) for _ in range(PAGE + 20)][-3:]
            await asyncio.gather(*(here.put(f"x{number}", size=1) for number in range(PAGE)))
            here.wait(3)
            assert await here.run() == {"noncurrent": PAGE + 17}
            assert {made.id for made in newest} <= set(await here.ids())
            assert len(await here.ids()) <= 1000

    run(story())


def test_stale_uploads_are_given_up(sqlite_url: str) -> None:
    async def story() -> None:
        async with ground(sqlite_url) as here:
            await here.rules("plain", {"name": "u", "abort_uploads_days": 2, "prefix": "up/"})
            for key in ("up/a", "up/b", "other"):
                await here.session.create_upload("plain", key)
            assert await here.run() == {}
            here.wait(4)
            fresh = await here.session.create_upload("plain", "up/c")
            assert "2 stale uploads" in await here.notes()
            assert await here.run() == {"uploads": 2}
            left, _ = await here.session.list_uploads("plain")
            assert [one.ref.key for one in left] == ["other", fresh.ref.key]

    run(story())


def test_objects_move_when_it_pays_and_are_refused_with_the_reason_when_not(catalog_url: str) -> None:
    async def story() -> None:
        async with ground(catalog_url) as here:
            await here.rules("plain", MOVE, {"name": "gone", "prefix": "short/", "expire_days": 20})
            large = await here.put("large", "plain", size=50_000)
            small = await here.put("small", "plain", size=100)
            short = await here.put("short/x", "plain", size=50_000)
            here.wait(12)
            young = await here.put("young", "plain", size=50_000)
            notes = await here.notes()
            assert "refused by rule cool to cold: 1 versions, 100 bytes, a loss of" in notes
            assert "smaller than the size that the store bills at least" in notes
            assert "removed before the time that the store bills at least" in notes
            assert "1 versions, 50000 bytes go from hot to cold; saves" in notes
            done = await here.run()
            assert done == {"to cold": 1, "refused: minimum size": 1, "refused: minimum duration": 1}
            assert [await here.tier(made) for made in (large, small, short, young)] == ["cold", "", "", ""]
            (debt,) = await here.engine.catalog.debts()
            assert (debt.version_id, debt.reason) == (large.id, "lifecycle")
            assert "to cold" not in await here.run()  # it belongs there already
            assert (await pay(here.engine)).moved == 1
            assert {
                row.store
                for row in await here.engine.catalog.replicas()
                if row.version_id == large.id and row.state is ReplicaState.LIVE
            } == {"cold"}
            await here.rules("plain", {**MOVE, "even_if_dearer": True})
            assert (await here.run())["to cold"] == 2
            assert await here.tier(small) == "cold"
            assert await content(here.session, "plain", "small") == b"x" * 100

    run(story())


def test_a_place_that_is_not_there_is_told(sqlite_url: str) -> None:
    async def story() -> None:
        async with ground(sqlite_url, labels=frozenset()) as here:
            await here.rules("kept", MOVE, {"name": "n", "transitions": [{"to": "nowhere", "days": 1}]})
            made = await here.put("k")
            here.wait(12)
            assert await here.run() == {"refused: no store": 1}
            assert "no store that takes objects is called so" in await here.notes()
            assert await here.tier(made) == ""

    run(story())


def test_contents_in_the_catalog_stay_there(sqlite_url: str) -> None:
    async def story() -> None:
        async with ground(sqlite_url, inline=4096) as here:
            await here.rules("kept", {**MOVE, "even_if_dearer": True})
            await here.put("k")
            here.wait(12)
            assert await here.run() == {"refused: in the catalog": 1}

    run(story())


def test_reads_put_a_move_off(catalog_url: str) -> None:
    async def story() -> None:
        async with ground(catalog_url) as here:
            made = [await here.put(key, size=50_000) for key in ("read", "unread")]
            here.wait(100)  # nobody counted then, so it does not count
            await here.rules("kept", {"name": "idle", "transitions": [{"to": "cold", "idle_days": 10}]})
            assert await here.run() == {}
            here.wait(8)
            assert len(await content(here.session, "kept", "read")) == 50_000
            await here.engine.count_reads()
            here.wait(4)
            assert await here.run() == {"to cold": 1}
            assert [await here.tier(one) for one in made] == ["", "cold"]
            here.wait(8)
            assert await here.run() == {"to cold": 1}
            await here.rules("kept")
            await here.run()
            await here.rules("kept", {"name": "idle", "transitions": [{"to": "hot", "idle_days": 10}]})
            assert await here.run() == {}  # counted anew from then on

    run(story())


def test_reads_are_counted_only_where_a_rule_asks(sqlite_url: str) -> None:
    async def story() -> None:
        async with ground(sqlite_url) as here:
            await here.rules("kept", {"name": "idle", "transitions": [{"to": "cold", "idle_days": 10}]})
            made = await here.put("k")
            other = await here.put("k", "plain")
            for bucket in ("kept", "plain"):
                for _ in range(3):
                    await content(here.session, bucket, "k")
            await here.engine.count_reads()
            kept, plain = [await here.engine.catalog.bucket("default", name) for name in ("kept", "plain")]
            (aged,) = (await here.engine.catalog.aged(kept)).versions
            assert (aged.version.id, aged.reads) == (made.id, 3)
            (aged,) = (await here.engine.catalog.aged(plain)).versions
            assert (aged.version.id, aged.reads, aged.day) == (other.id, 0, None)
            await here.session.delete("kept", "k", version_id=made.id)
            await here.run()
            assert await here.engine.catalog.forget_reads() == ""

    run(story())


def test_what_is_kept_stays_and_may_still_move(catalog_url: str) -> None:
    async def story() -> None:
        async with ground(catalog_url) as here:
            await here.rules(
                "kept",
                {"name": "r", "expire_days": 5, "noncurrent_days": 5},
                {**MOVE, "even_if_dearer": True},
                {
                    "name": "late",
                    "noncurrent_transitions": [{"to": "cold", "days": 1}],
                    "even_if_dearer": True,
                },
            )
            held, locked = await here.put("held"), await here.put("locked")
            retention = here.session.retention
            await retention.hold("kept", "held", True, reason="case")
            await retention.lock("kept", "locked", LockMode.COMPLIANCE, days=60)
            here.wait(7)
            assert await here.run() == {"expired": 2}  # behind markers
            here.wait(20)
            assert await here.run() == {"to cold": 2}
            for made in (held, locked):
                assert made.id in await here.ids()
                assert await here.tier(made) == "cold"
            assert await here.run() == {"refused: held": 2}
            here.wait(40)
            assert (await here.run())["noncurrent"] == 1  # the lock is over
            assert [made.id in await here.ids() for made in (held, locked)] == [True, False]
            with pytest.raises(ConflictError, match="nothing of the bucket was removed"):
                await here.session.delete_bucket("kept", force=True)
            assert held.id in await here.ids()

    run(story())


@pytest.mark.parametrize("hold", [True, False])
def test_what_is_kept_keeps_its_type_and_metadata(catalog_url: str, hold: bool) -> None:
    async def story() -> None:
        async with ground(catalog_url) as here:
            made = await here.put("k", content_type="text/plain", metadata={"by": "me"}, tags={"a": "1"})
            retention = here.session.retention
            if hold:
                await retention.hold("kept", "k", True)
            else:
                await retention.lock("kept", "k", LockMode.COMPLIANCE, days=1)
            for change in (Change("text/html"), Change(metadata={"by": "you"}), Change(metadata={}, tags={})):
                with pytest.raises(ConflictError, match="content type and metadata stay"):
                    await here.session.update("kept", "k", change)
            found = await here.session.update("kept", "k", Change("text/plain", tags={"b": "2"}))
            assert (found.content_type, found.metadata, found.tags) == (
                "text/plain",
                {"by": "me"},
                {"b": "2"},
            )
            if hold:
                await retention.hold("kept", "k", False)
            here.wait(2)  # a lock that is over keeps nothing
            found = await here.session.update("kept", "k", Change("text/html"))
            assert (found.id, found.content_type) == (made.id, "text/html")

    run(story())


def test_what_becomes_of_an_object_is_explained(sqlite_url: str) -> None:
    async def story() -> None:
        async with ground(sqlite_url) as here:
            await here.rules(
                "kept",
                {"name": "age", "expire_days": 30},
                MOVE,
                {"name": "other", "prefix": "x/", "expire_days": 1},
                retention_days=90,
            )
            older, made = await here.put("k", size=10), await here.put("k", size=10)
            told = await here.session.retention.explain("kept", "k")
            assert (told.version_id, told.now, told.refused) == (made.id, None, "")
            assert [(wish.rule, wish.action) for wish in told.wishes] == [
                ("cool", Action.MOVE),
                ("age", Action.EXPIRE),
            ]
            assert told.not_meant == [("other", "the key does not start with x/")]
            assert told.expires == made.created + 90 * DAY * 1_000_000
            here.wait(12)
            told = await here.session.retention.explain("kept", "k")
            assert told.now is not None
            assert (told.now.rule, told.now.to) == ("cool", "cold")
            assert "smaller than the size" in told.refused
            here.wait(20)
            told = await here.session.retention.explain("kept", "k")
            assert told.now is not None
            assert (told.now.rule, told.now.action, told.refused) == ("age", Action.EXPIRE, "")
            told = await here.session.retention.explain("kept", "k", version_id=older.id)
            assert (told.version_id, told.wishes) == (older.id, [])
            with pytest.raises(NotFoundError):
                await here.session.retention.explain("kept", "j")
            with pytest.raises(NotFoundError):
                await here.session.retention.explain("kept", "k", version_id="x")

    run(story())


@pytest.mark.parametrize("role", ["reader", "writer", "admin"])
def test_who_may_hold_and_lock(sqlite_url: str, role: str) -> None:
    async def story() -> None:
        async with ground(sqlite_url) as here:
            await here.put("k")
            retention = here.engine.session(Principal("x", "default", role)).retention
            assert (await retention.keeping("kept", "k")).keeping.hold is False
            if role == "admin":
                assert (await retention.hold("kept", "k", True)).keeping.hold
                await retention.lock("kept", "k", LockMode.GOVERNANCE, days=1)
                await retention.lock("kept", "k", None, reason="wrong bucket")
                return
            for change in (
                retention.hold("kept", "k", True),
                retention.lock("kept", "k", LockMode.GOVERNANCE, days=1),
                retention.lock("kept", "k", None, reason="so"),
            ):
                with pytest.raises(PermissionDeniedError):
                    await change

    run(story())


def test_a_tenant_with_kept_versions_waits_whole(sqlite_url: str) -> None:
    async def story() -> None:
        async with ground(sqlite_url) as here:
            made = await here.put("k")
            other = await here.put("other", "plain")
            catalog = here.engine.catalog
            await catalog.delete_tenant("default", grace=1_000_000)
            await catalog.set_lock(
                made.ref, None, LockMode.GOVERNANCE, await catalog.now() + DAY * 10 * 1_000_000
            )
            here.wait(5)
            assert await here.engine.remove_tenants() == []
            assert (await catalog.resolve(other.ref)).version.id == other.id
            here.wait(6)
            assert await here.engine.remove_tenants() == ["default"]

    run(story())


def test_an_object_that_nobody_touches_never_goes_early(sqlite_url: str) -> None:
    """Runs at random times over random rules: what is removed has reached its age, and in the end nothing is left."""

    async def story() -> None:
        chance = random.Random(11)
        async with ground(sqlite_url, inline=100) as here:
            await here.rules(
                "plain",
                {"name": "r", "expire_days": 9, "prefix": "a"},
                {"name": "s", "expire_days": 4, "prefix": "ab"},
            )
            made: dict[str, Version] = {}
            for number in range(60):
                here.wait(chance.random() * 2)
                if number < 40:
                    key = chance.choice(["a", "ab", "b"]) + str(number)
                    made[key] = await here.put(key, "plain", size=1)
                await here.run()
                now, there = await here.engine.catalog.now(), set(await here.keys("plain"))
                for key, version in made.items():
                    days = 4 if key.startswith("ab") else 9 if key.startswith("a") else 10**6
                    age = (now - version.created) / (DAY * 1_000_000)
                    assert (key in there) == (age < days) or days <= age < days + 1
            here.wait(11)
            await here.run()
            assert {key[0] for key in await here.keys("plain")} == {"b"}

    run(story())


def test_rules_that_change_while_the_job_runs(sqlite_url: str) -> None:
    """A page was judged by rules that are others when its versions are to go: they stay."""

    async def story() -> None:
        async with ground(sqlite_url) as here:
            await here.rules("plain", {"name": "r", "expire_days": 1})
            await here.put("k", "plain")
            here.wait(3)
            catalog = here.engine.catalog
            real = catalog.aged

            async def late(*args: Any, **more: Any) -> Any:
                found = await real(*args, **more)
                await here.rules("plain", {"name": "r", "expire_days": 2000})
                return found

            catalog.aged = late  # type: ignore[method-assign]
            assert await here.run() == {}
            assert await here.keys("plain") == ["k"]

    run(story())


def test_a_step_that_breaks_off_is_done_again(sqlite_url: str) -> None:
    """The catalog fails at one removal of a page, then the process begins the page again."""

    async def story() -> None:
        async with ground(sqlite_url, inline=100) as here:
            await here.rules("plain", {"name": "r", "expire_days": 1})
            for number in range(40):
                await here.put(f"k{number:02}", "plain", size=1)
            here.wait(3)
            catalog, real = here.engine.catalog, here.engine.catalog.delete_object
            calls = 0

            async def failing(*args: Any, **more: Any) -> Any:
                nonlocal calls
                calls += 1
                if calls == 7:
                    await real(*args, **more)
                if calls in (7, 20):  # after the effect, and before it
                    raise UnavailableError("the catalog does not answer")
                return await real(*args, **more)

            catalog.delete_object = failing  # type: ignore[method-assign]
            with pytest.raises(UnavailableError):
                await here.run()
            assert calls == 40
            assert len(await here.keys("plain")) == 1
            assert await here.run() == {"expired": 1}
            assert await here.keys("plain") == []
            assert await catalog.usage("default", "plain") == await catalog.recount("default", "plain")

    run(story())


def test_the_service_follows_rules_by_itself(sqlite_url: str) -> None:
    async def story() -> None:
        async with ground(sqlite_url) as here:
            kinds, catalog = installed(), here.engine.catalog
            await schedule_once(here.engine, kinds, "lifecycle", "")
            assert await catalog.schedules() == []
            await schedule_once(here.engine, kinds, "lifecycle", "20 0 * * *")
            await schedule_once(here.engine, kinds, "lifecycle", "30 5 * * *")  # what is there stays
            (made,) = await catalog.schedules()
            assert (made.name, made.kind, made.tenant, made.cron) == (
                "lifecycle",
                "lifecycle",
                "",
                "20 0 * * *",
            )
            assert await start_due(here.engine, kinds) == []
            here.wait(1)
            (job,) = await start_due(here.engine, kinds)
            assert (job.kind, job.tenant) == ("lifecycle", "")
            with pytest.raises(ConfigError, match="lifecycle_schedule"):
                await schedule_once(here.engine, kinds, "lifecycle", "at night")

    run(story())


def test_what_is_archived_goes_to_an_archive(sqlite_url: str) -> None:
    async def story() -> None:
        async with ground(sqlite_url, labels=frozenset({"archive"})) as here:
            name = await here.session.create_default_bucket("backups")
            assert name is not None
            made = await here.put("run/a/dump", name, size=50_000)
            here.wait(3)
            assert await here.run() == {"to cold": 1}
            assert await here.tier(made) == "cold"

    run(story())


def test_one_bucket_of_one_tenant(sqlite_url: str) -> None:
    async def story() -> None:
        async with ground(sqlite_url) as here:
            for bucket in ("plain", "kept"):
                await here.rules(bucket, {"name": "r", "expire_days": 1})
                await here.put("k", bucket)
            here.wait(3)
            assert await here.run(tenant="default", bucket="plain") == {"expired": 1}
            assert (await here.keys("plain"), await here.keys("kept")) == ([], ["k"])
            with pytest.raises(InvalidRequestError):
                await here.run(bucket="plain")
            with pytest.raises(NotFoundError):
                await here.run(tenant="default", bucket="none")

    run(story())


@pytest.mark.parametrize("spec", [{"horizon_days": 0}, {"horizon_days": "x"}, {"buckets": 1}, {"bucket": 1}])
def test_a_spec_that_is_wrong(spec: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        Lifecycle().check(spec)
