"""Archive classes when something else is wrong as well: nothing is lost, woken in vain, or said to come that does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from holdfast.backends.object_store import open_s3
from holdfast.backends.object_store.azure import AzureSettings
from holdfast.backends.object_store.settings import S3Settings
from holdfast.core.asleep import AsleepError
from holdfast.core.backend import PutOptions, StoreState
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import ConflictError, UnavailableError
from holdfast.core.names import ABOUT
from holdfast.core.types import Located, ObjectRef
from holdfast.engine import sweep
from holdfast.engine.engine import Engine
from holdfast.engine.session import Session
from holdfast.jobs.fsck import Fsck
from holdfast.jobs.moving import Mirror
from holdfast.jobs.rebuild import Rebuild
from holdfast.jobs.reconcile import pay
from holdfast.jobs.tiering import Recall, Tier
from holdfast.layers import stack
from holdfast.policy.placement import Match, Placement, Rule
from holdfast.testing.proxy import Answer, Head, Proxy
from holdfast.testing.servers import S3Server, moto_s3, require
from tests.engine.alone import run_alone
from tests.engine.outage import Switched, whereabouts
from tests.engine.sleeping import PLAIN, archived, asked, deep, restoring
from tests.helpers import content, noise, run

pytestmark = pytest.mark.engine
MIRRORED = Rule("both", ("deep", "home"), Match(buckets=("plain",)), acknowledge=2)
LONG = "k" * 1000  #: does not fit into metadata: a record tells of the blob
NEAR = {"near": {"storage_class": ""}}


@pytest.fixture(scope="module")
def moto() -> Iterator[S3Server]:
    with require(moto_s3) as server:
        yield server


def is_post(head: Head) -> bool:
    return head.method == "POST"


def posts(proxy: Proxy, store: str = "deep") -> int:
    return sum(is_post(head) and f"/{store}/" in head.target for head in proxy.seen)


async def located(engine: Engine, key: str = "a") -> Located:
    return await engine.catalog.resolve(ObjectRef("default", "plain", key))


async def in_pieces(session: Session, key: str, count: int) -> None:
    upload = await session.create_upload("plain", key)
    parts = []
    for number in range(1, count + 1):
        body = Body.of_bytes(noise(5 << 20, number))
        part = await session.put_part("plain", key, upload.id, number, body)
        parts.append((number, part.etag))
    await session.complete_upload("plain", key, upload.id, parts)


def go_by(engine: Engine, *rules: Rule) -> None:
    """Have other rules from now on."""
    placing = engine.context.placing
    placing.own = placing._current = Placement(placing.own.default, rules, 0)


def test_what_cannot_be_read_back_is_sent_and_not_copied_there(sqlite_url: str, moto: S3Server) -> None:
    """A rotten copy that the server duplicates by itself would take the place of the sound one."""
    rule = Rule("two", ("near", "third"), Match(buckets=("plain",)), acknowledge=2)

    async def story() -> None:
        async with deep(sqlite_url, moto, rule, others=NEAR) as (engine, session):
            data = noise(2 << 20, 1)
            await session.put("plain", "a", Body.of_bytes(data))
            blob = next(copy.blob for copy in (await located(engine)).replicas if copy.store == "near")
            near = engine.context.store("near").backend
            await near.put(blob, Body.of_bytes(noise(2 << 20, 99)))
            assert not (await archived(engine)).failures
            restoring(moto, ends=True)
            await run_alone(engine, Recall(), PLAIN)
            await pay(engine, hurry=True)
            assert await content(session, "plain", "a") == data

    run(story())


def test_what_a_rule_of_the_bucket_put_to_sleep_is_woken_too(sqlite_url: str, moto: S3Server) -> None:
    rule = Rule("near", ("near",), Match(buckets=("plain",)))

    async def story() -> None:
        async with deep(sqlite_url, moto, rule, others={**NEAR, "far": {"storage_class": ""}}) as (
            engine,
            session,
        ):
            data = noise(2 << 20, 1)
            await session.put("plain", "a", Body.of_bytes(data))
            blob = (await located(engine)).replicas[0].blob
            asleep = open_s3("near", asked(moto, prefix="near/"), environment=Environment())
            await asleep.put(blob, Body.of_bytes(data))
            await asleep.close()
            ran = await run_alone(engine, Tier(), {**PLAIN, "store": "far"})
            assert (ran.failures, ran.counts.notes) == ([], {"waking": 1})
            restoring(moto, ends=True)
            assert (await pay(engine, hurry=True)).moved == 1
            assert await whereabouts(engine, session, "plain", "a") == ["far"]
            assert await content(session, "plain", "a") == data

    run(story())


def test_nobody_says_that_it_wakes_what_is_given_up(sqlite_url: str, moto: S3Server) -> None:
    async def story() -> None:
        async with Proxy("127.0.0.1", moto.port) as proxy:
            async with deep(sqlite_url, moto, MIRRORED, endpoint=proxy.url) as (engine, session):
                await session.put("plain", "a", Body.of_bytes(noise(70_000)))
                home = Rule("home", ("home",), Match(buckets=("plain",)))
                go_by(engine, home)
                await run_alone(engine, Mirror(), {})
                assert await whereabouts(engine, session, "plain", "a") == ["home"]
                blob = (await located(engine)).replicas[0].blob
                await engine.context.store("home").backend.delete(blob)
                with pytest.raises(UnavailableError):
                    await content(session, "plain", "a")
                go_by(engine, Rule("third", ("third",), Match(buckets=("plain",))))
                ran = await run_alone(engine, Mirror(), {})
                assert [failure.code for failure in ran.failures] == ["unavailable"] * ran.rounds
                assert posts(proxy) == 0

    run(story())


def test_a_store_that_does_not_answer_is_no_reason_to_wake_another(sqlite_url: str, moto: S3Server) -> None:
    async def story() -> None:
        async with Proxy("127.0.0.1", moto.port) as proxy:
            async with deep(sqlite_url, moto, MIRRORED, endpoint=proxy.url) as (engine, session):
                await session.put("plain", "a", Body.of_bytes(noise(70_000)))
                home = engine.context.store("home").backend
                assert isinstance(home, Switched)
                home.down = True
                with pytest.raises(UnavailableError):
                    await content(session, "plain", "a")
                spec = {**PLAIN, "store": "third"}
                ran = await run_alone(engine, Tier(), spec)
                assert "cannot be read from 'deep' or 'home'" in ran.failures[0].message
                assert posts(proxy) == 0
                home.down = False
                assert (await pay(engine, hurry=True)).moved == 1
                assert posts(proxy) == 0

    run(story())


def test_a_mirror_that_has_to_wait_owes_its_copies(sqlite_url: str, moto: S3Server) -> None:
    alone = Rule("alone", ("deep",), Match(buckets=("plain",)))

    async def story() -> None:
        async with deep(sqlite_url, moto, alone) as (engine, session):
            await session.put("plain", "a", Body.of_bytes(noise(70_000)))
            go_by(engine, MIRRORED)
            ran = await run_alone(engine, Mirror(), {})
            assert (ran.counts.done, ran.failures, ran.counts.notes) == (0, [], {"waking": 2})
            assert [(debt.reason, debt.ref.key) for debt in await engine.catalog.debts()] == [("asleep", "a")]
            restoring(moto, ends=True)
            assert (await pay(engine, hurry=True)).moved == 1
            assert await whereabouts(engine, session, "plain", "a") == ["deep", "home"]
            assert not await engine.catalog.debts()

    run(story())


def test_the_advice_is_one_that_helps(sqlite_url: str, moto: S3Server) -> None:
    alone = Rule("alone", ("deep",), Match(buckets=("plain",)))

    async def story() -> None:
        async with deep(sqlite_url, moto, alone) as (engine, session):
            await session.put("plain", "a", Body.of_bytes(noise(70_000)))
            with pytest.raises(AsleepError, match="holdfast tier STORE plain/a"):
                await content(session, "plain", "a")
            assert (await run_alone(engine, Tier(), {**PLAIN, "store": "home"})).counts.notes == {"waking": 1}
            restoring(moto, ends=True)
            assert (await pay(engine, hurry=True)).moved == 1
            assert await content(session, "plain", "a") == noise(70_000)

    run(story())


def test_of_two_that_sleep_the_one_is_woken_that_can_be(sqlite_url: str, moto: S3Server) -> None:
    rule = Rule("two", ("deep", "cave"), Match(buckets=("plain",)), acknowledge=2)

    async def story() -> None:
        async with Proxy("127.0.0.1", moto.port) as proxy:
            others = {"cave": {"endpoint": proxy.url, "restore_days": 2}}
            async with deep(sqlite_url, moto, rule, others=others, restore_days=0) as (engine, session):
                await session.put("plain", "a", Body.of_bytes(noise(70_000)))
                ran = await run_alone(engine, Tier(), {**PLAIN, "store": "home"})
                assert ran.counts.notes == {"waking": 1}
                assert posts(proxy, "cave") == 1
                assert "'cave'" in (await pay(engine, hurry=True)).troubles.most_common()[0][0]
                restoring(moto, ends=True)
                assert (await pay(engine, hurry=True)).moved == 1

    run(story())


def test_a_restore_that_is_refused_is_told(sqlite_url: str, moto: S3Server) -> None:
    async def story() -> None:
        async with Proxy("127.0.0.1", moto.port) as proxy:
            async with deep(sqlite_url, moto, endpoint=proxy.url) as (engine, session):
                await session.put("plain", "a", Body.of_bytes(noise(70_000)))
                await archived(engine)
                proxy.script(Answer(403, "AccessDenied", match=is_post))
                ran = await run_alone(engine, Recall(), PLAIN)
                assert "does not allow this" in ran.failures[0].message
                assert ran.counts.notes == {}

    run(story())


def test_pieces_of_which_some_are_awake(sqlite_url: str, moto: S3Server) -> None:
    async def story() -> None:
        async with Proxy("127.0.0.1", moto.port) as proxy:
            async with deep(sqlite_url, moto, endpoint=proxy.url) as (engine, session):
                await in_pieces(session, "big", 3)
                await archived(engine)
                found = await located(engine, "big")
                blobs = {copy.segment_id: copy.blob for copy in found.replicas}
                store = engine.context.store("deep").backend
                restoring(moto, ends=True)
                await store.wake(blobs[found.segments[0].id])  # type: ignore[attr-defined]
                await store.head(blobs[found.segments[0].id])
                restoring(moto, ends=False)
                before = posts(proxy)
                with pytest.raises(AsleepError, match="archive class of store 'deep'"):
                    await content(session, "plain", "big")
                for _ in range(3):
                    assert (await run_alone(engine, Recall(), PLAIN)).counts.notes["waking"] == 1
                assert posts(proxy) == before + 2, "the two that slept, once each"
                restoring(moto, ends=True)
                assert (await pay(engine, hurry=True)).moved == 1
                assert len(await content(session, "plain", "big")) == 15 << 20

    run(story())


def test_trying_again_leaves_no_rows(sqlite_url: str, moto: S3Server) -> None:
    async def story() -> None:
        async with deep(sqlite_url, moto) as (engine, session):
            await session.put("plain", "a", Body.of_bytes(noise(70_000)))
            await archived(engine)
            await sweep.sweep(engine.context)
            before = await engine.catalog.store_holds("home")
            await run_alone(engine, Recall(), PLAIN)
            for _ in range(4):
                assert (await pay(engine, hurry=True)).moved == 0
            assert await engine.catalog.store_holds("home") == before

    run(story())


def test_what_else_is_wrong_is_told_too(sqlite_url: str, moto: S3Server) -> None:
    rule = Rule("two", ("home", "third"), Match(buckets=("plain",)), acknowledge=2)

    async def story() -> None:
        async with deep(sqlite_url, moto, rule) as (engine, session):
            await session.put("plain", "a", Body.of_bytes(noise(70_000)))
            await archived(engine)
            engine.stores.own["third"].state = StoreState.DRAINING
            ran = await run_alone(engine, Recall(), PLAIN)
            assert "'third' is draining" in ran.failures[0].message
            assert "asked to wake it" in ran.failures[0].message

    run(story())


def test_a_read_only_store_is_left_as_it_is(moto: S3Server) -> None:
    async def story() -> None:
        environment = Environment()
        settings = stack.StackSettings(attempts=1, read_only=True)
        store = stack.build(
            open_s3("deep", asked(moto), environment=environment), settings, environment=environment
        )
        with pytest.raises(ConflictError, match="read-only"):
            await store.wake("a")  # type: ignore[attr-defined]
        await store.close()

    run(story())


def test_what_blobs_say_of_themselves_stays_awake(sqlite_url: str, moto: S3Server) -> None:
    async def story() -> None:
        async with deep(sqlite_url, moto, prefix="records/") as (engine, session):
            await session.put("plain", LONG, Body.of_bytes(noise(70_000)))
            await archived(engine)
            ran = await run_alone(engine, Fsck(), {"store": "deep", "metadata": True})
            assert (ran.failures, ran.counts.notes.get("silent"), ran.counts.notes.get("asleep")) == (
                [],
                None,
                None,
            )
            ran = await run_alone(engine, Rebuild(), {"stores": ["deep"]})
            assert not ran.failures
            # one that an older version wrote, or a rule of the bucket put to sleep
            deeper = engine.context.store("deep").backend.inner  # type: ignore[attr-defined]
            while hasattr(deeper, "inner"):
                deeper = deeper.inner
            blob = (await located(engine, LONG)).replicas[0].blob
            async with deeper.get(blob + ABOUT) as reader:
                record = await reader.read()
            await deeper.put(blob + ABOUT, Body.of_bytes(record), options=PutOptions("text/plain"))
            ran = await run_alone(engine, Fsck(), {"store": "deep", "metadata": True})
            assert ran.counts.notes["asleep"] == 1
            ran = await run_alone(engine, Rebuild(), {"stores": ["deep"]})
            assert ran.counts.notes["asleep"] == 1

    run(story())


def test_what_sleeps_is_checked_when_it_arrives_or_refused_as_a_setting() -> None:
    given = {"endpoint": "https://s3.example.org", "bucket": "b", "access_key": "k", "secret_key": "s"}
    with pytest.raises(ValidationError, match="cannot be read back, so what arrives has to be checked"):
        S3Settings.model_validate(
            {**given, "dialect": "generic", "storage_class": "GLACIER", "checksum": "when_required"}
        )
    assert S3Settings.model_validate({**given, "dialect": "aws", "storage_class": "GLACIER"}).sleeps
    azure = {"account": "a", "account_key": "a2V5", "container": "cave", "access_tier": "Archive"}
    with pytest.raises(ValidationError, match="set checksum = 'md5'"):
        AzureSettings.model_validate({**azure, "checksum": "none"})
    assert AzureSettings.model_validate(azure).sleeps
