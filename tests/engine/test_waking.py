"""Archive classes: what is put there sleeps, is woken when it is wanted, and comes when it is awake."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast.backends.memory import MemoryBackend
from holdfast.backends.object_store import open_s3, waking
from holdfast.core.asleep import AsleepError
from holdfast.core.backend import Store
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import ConflictError, NotFoundError, UnavailableError
from holdfast.engine.trying import attempt
from holdfast.engine.waking import sleeps
from holdfast.jobs.moving import Migrate
from holdfast.jobs.reconcile import pay
from holdfast.jobs.scrub import Scrub
from holdfast.jobs.tiering import Recall
from holdfast.layers import stack
from holdfast.policy.placement import Match, Rule
from holdfast.testing.azurite import AzureServer, azurite
from holdfast.testing.proxy import Answer, Proxy
from holdfast.testing.servers import S3Server, moto_s3, require
from tests import azure_tools
from tests.engine.alone import run_alone
from tests.engine.outage import whereabouts
from tests.engine.sleeping import PLAIN, archived, asked, deep, restoring
from tests.helpers import content, noise, run

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with require(moto_s3) as server:
        yield server


def test_what_is_archived_sleeps_and_comes_back_when_it_is_awake(sqlite_url: str, moto: S3Server) -> None:
    async def story() -> None:
        async with deep(sqlite_url, moto) as (engine, session):
            for size in (10, 3 << 20):
                await session.put("plain", f"a/{size}", Body.of_bytes(noise(size, size)))
            went = await archived(engine)
            assert not went.failures
            assert went.counts.done == 2
            assert await whereabouts(engine, session, "plain", "a/10") == ["deep"]
            with pytest.raises(
                AsleepError, match=r"archive class of store 'deep', .*: holdfast recall plain/a/10"
            ):
                await content(session, "plain", "a/10")
            assert not engine.context.outages.failing("deep", engine.context.environment.clock.monotonic())

            back = await run_alone(engine, Recall(), PLAIN)
            assert not back.failures
            assert (back.counts.done, back.counts.skipped, back.counts.notes) == (0, 2, {"waking": 2})
            tried = await pay(engine, hurry=True)
            assert tried.moved == 0
            assert "which was asked to wake it" in next(iter(tried.troubles))
            debt = (await engine.catalog.debts())[0]
            assert "some hours later" in debt.trouble

            restoring(moto, ends=True)
            assert (await pay(engine, hurry=True)).moved == 2
            assert await whereabouts(engine, session, "plain", "a/10") == ["home"]
            for size in (10, 3 << 20):
                assert await content(session, "plain", f"a/{size}") == noise(size, size)
            assert not await engine.catalog.debts()

    run(story())


def test_all_pieces_are_woken_at_once_and_the_archive_keeps_its_copy(sqlite_url: str, moto: S3Server) -> None:
    async def story() -> None:
        async with deep(sqlite_url, moto) as (engine, session):
            upload = await session.create_upload("plain", "big")
            parts = []
            for number in (1, 2, 3):
                body = Body.of_bytes(noise(5 << 20, number))
                part = await session.put_part("plain", "big", upload.id, number, body)
                parts.append((number, part.etag))
            await session.complete_upload("plain", "big", upload.id, parts)
            await archived(engine)
            assert await whereabouts(engine, session, "plain", "big") == ["deep"] * 3
            spec = {**PLAIN, "days": 3}
            assert (await run_alone(engine, Recall(), spec)).counts.notes == {"waking": 1}
            restoring(moto, ends=True)
            assert (await pay(engine, hurry=True)).moved == 1, "no piece was left asleep"
            assert await whereabouts(engine, session, "plain", "big") == ["deep"] * 3 + ["home"] * 3
            assert len(await content(session, "plain", "big")) == 15 << 20

    run(story())


def test_another_copy_is_read_and_the_store_is_not_blamed(sqlite_url: str, moto: S3Server) -> None:
    both = Rule("both", ("deep", "home"), Match(buckets=("plain",)), acknowledge=2)

    async def story() -> None:
        async with deep(sqlite_url, moto, both) as (engine, session):
            await session.put("plain", "a", Body.of_bytes(noise(1000)))
            assert await content(session, "plain", "a") == noise(1000)
            found = await engine.catalog.resolve((await session.head("plain", "a"))[0].ref)
            assert {copy.state.value for copy in found.replicas} == {"live"}

    run(story())


def test_a_scrub_passes_over_what_sleeps(sqlite_url: str, moto: S3Server) -> None:
    async def story() -> None:
        async with deep(sqlite_url, moto) as (engine, session):
            for number in range(12):
                await session.put("plain", f"a/{number}", Body.of_bytes(noise(100, number)))
            await archived(engine)
            ran = await run_alone(engine, Scrub(), {"store": "deep"})
            assert not ran.failures
            assert (ran.counts.done, ran.counts.skipped, ran.counts.notes) == (0, 12, {"asleep": 12})

    run(story())


def test_who_says_that_nothing_is_woken_is_told_what_to_do(sqlite_url: str, moto: S3Server) -> None:
    async def story() -> None:
        async with deep(sqlite_url, moto, restore_days=0) as (engine, session):
            await session.put("plain", "a", Body.of_bytes(noise(1000)))
            await archived(engine)
            ran = await run_alone(engine, Recall(), PLAIN)
            assert [failure.message for failure in ran.failures] == [
                "store 'deep': the blob is archived, and restore_days = 0 of its store says that none is restored;"
                " restore it there, or set restore_days"
            ]
            assert await whereabouts(engine, session, "plain", "a") == ["deep"]

    run(story())


def test_a_migration_out_of_an_archive_asks_too(sqlite_url: str, moto: S3Server) -> None:
    async def story() -> None:
        there = Rule("there", ("deep",), Match(buckets=("plain",)))
        async with deep(sqlite_url, moto, there) as (engine, session):
            await session.put("plain", "a", Body.of_bytes(noise(3 << 20)))
            move = {"source": "deep", "target": "third", "keep": 0}
            with pytest.raises(ConflictError):
                await run_alone(engine, Migrate(), move, most_rounds=15)
            assert await whereabouts(engine, session, "plain", "a") == ["deep"]
            restoring(moto, ends=True)
            await run_alone(engine, Migrate(), move, most_rounds=15)
            assert await whereabouts(engine, session, "plain", "a") == ["third"]
            assert await content(session, "plain", "a") == noise(3 << 20)

    run(story())


def test_a_store_that_sleeps_can_be_tried_out(moto: S3Server) -> None:
    async def story() -> None:
        environment = Environment()
        store = Store("deep", open_s3("deep", asked(moto), environment=environment))
        tried = await attempt(lambda: store, environment, write=True, close=True)
        assert (tried.trouble, tried.wrote) == ("", True)

    run(story())


def test_whether_blobs_sleep_is_asked_when_a_stack_is_built_and_not_with_each_copy() -> None:
    class Asked(MemoryBackend):
        looks = 0

        @property
        def sleeps(self) -> bool:
            self.looks += 1
            return True

        async def wake(self, name: str) -> None:
            return

    environment = Environment()
    driver = Asked("deep", environment=environment)
    made = stack.build(driver, stack.StackSettings(describe="always"), environment=environment)
    before = driver.looks
    assert all(sleeps(made) for _ in range(5))
    assert driver.looks == before


def test_s3_is_asked_once(moto: S3Server) -> None:
    async def story() -> None:
        restoring(moto, ends=False)
        async with Proxy("127.0.0.1", moto.port) as proxy:
            there = asked(moto, endpoint=proxy.url, retries=0, prefix="s/")
            store = open_s3("s3", there, environment=Environment())
            awake = open_s3("s3", asked(moto, storage_class="", prefix="s/"), environment=Environment())

            def posts() -> int:
                return sum(head.method == "POST" for head in proxy.seen)

            try:
                await store.put("one", Body.of_bytes(b"one"))
                with pytest.raises(NotFoundError):
                    await store.wake("none")
                await store.wake("one")
                assert posts() == 1
                await store.wake("one")
                assert posts() == 1, "it is under way"
                restoring(moto, ends=True)
                await store.wake("one")
                assert posts() == 1, "it is awake"
                restoring(moto, ends=False)
                await store.put("two", Body.of_bytes(b"two"))
                proxy.script(
                    Answer(409, "RestoreAlreadyInProgress", match=lambda head: head.method == "POST")
                )
                await store.wake("two")
                assert posts() == 2, "somebody was quicker"
                await awake.put("three", Body.of_bytes(b"three"))
                await store.wake("three")
                proxy.script(Answer(503, match=lambda head: head.method == "POST"))
                with pytest.raises(UnavailableError):
                    await store.wake("two")
                busy = "GlacierExpeditedRetrievalNotAvailable"
                proxy.script(Answer(503, busy, match=lambda head: head.method == "POST"))
                with pytest.raises(UnavailableError, match="restore_tier = 'Standard'"):
                    await store.wake("two")
            finally:
                await store.close()
                await awake.close()

    run(story())


def test_s3_is_told_what_the_settings_say() -> None:
    told = waking.request(3, "Bulk")
    assert b"<Days>3</Days><GlacierJobParameters><Tier>Bulk</Tier></GlacierJobParameters>" in told
    assert b"Days" not in waking.request(None, "Standard")


@pytest.fixture(scope="module")
def azure() -> Iterator[AzureServer]:
    with require(azurite) as server:
        yield server


def test_a_blob_in_azures_archive_is_woken_for_good(azure: AzureServer) -> None:
    async def story() -> None:
        store = azure_tools.store(azure, access_tier="Archive")
        never = azure_tools.store(azure, access_tier="Archive", rehydrate_to="never")
        try:
            await azure_tools.make_container(store)
            await store.put("a", Body.of_bytes(b"deep"))
            with pytest.raises(AsleepError, match="must be rehydrated"):
                async with store.get("a") as reader:
                    await reader.read()
            with pytest.raises(AsleepError, match="rehydrate_to = 'never'"):
                await never.wake("a")
            with pytest.raises(NotFoundError):
                await store.wake("b")
            await store.wake("a")
            await store.wake("a")
            async with store.get("a") as reader:
                assert await reader.read() == b"deep"
        finally:
            await store.close()
            await never.close()

    run(story())
