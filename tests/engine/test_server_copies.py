"""Copies that a server makes itself from one store to another: described, proved, and sent instead where that fails."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from holdfast.backends.local import LocalBackend
from holdfast.backends.local.kernel import Kernel
from holdfast.backends.memory import MemoryBackend
from holdfast.backends.object_store import open_s3
from holdfast.backends.object_store.settings import S3Settings
from holdfast.core.backend import Backend, CopierFrom, Store
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import CorruptedError, HoldfastError, UnavailableError, UnsupportedError
from holdfast.core.types import BlobInfo
from holdfast.engine.engine import Engine
from holdfast.engine.replicas import reconcile
from holdfast.jobs.adopt import Adopt
from holdfast.jobs.moving import Migrate
from holdfast.layers import stack
from holdfast.layers.base import Layer
from holdfast.layers.origins import read_origin
from holdfast.testing import servers
from holdfast.testing.servers import S3Server
from tests.engine.alone import run_alone
from tests.engine.outage import whereabouts
from tests.helpers import content, engine_on, local_store, noise, run

pytestmark = pytest.mark.engine
LARGE = noise(2 << 20, 3)
MOVE = {"source": "one", "target": "two", "keep": 0}


class Counting(MemoryBackend):
    """Counts what is put, and what it copied from elsewhere; `fails` is raised instead."""

    puts = copies = 0
    fails: Exception | None = None

    async def put(self, name: str, body: Body, **how: object) -> BlobInfo:  # type: ignore[override]
        self.puts += 1
        return await super().put(name, body, **how)  # type: ignore[arg-type]

    async def copy_from(self, other: Backend, source: str, target: str) -> BlobInfo:
        self.copies += 1
        if self.fails is not None:
            raise self.fails
        return await super().copy_from(other, source, target)


def stacked(name: str, environment: Environment) -> tuple[Counting, Store]:
    driver = Counting(name, environment=environment)
    settings = stack.StackSettings(attempts=1, describe="always")
    return driver, Store(name, stack.build(driver, settings, environment=environment))


async def moved(engine: Engine) -> list[str]:
    ran = await run_alone(engine, Migrate(), MOVE, most_rounds=15)
    return [failure.message for failure in ran.failures]


@pytest.fixture
def in_memory(sqlite_url: str) -> Callable[..., object]:
    """Run a story with two stores in memory, of which objects go to the first."""

    def go(story: Callable[..., object], **more: object) -> None:
        async def told() -> None:
            environment = Environment.seeded(3)
            (one, first), (two, second) = stacked("one", environment), stacked("two", environment)
            async with engine_on(
                sqlite_url, first, second, environment=environment, acknowledge=1, keys=True
            ) as (engine, session):
                placing = engine.context.placing
                rule = replace(placing.own.default, stores=("one",), **more)  # type: ignore[arg-type]
                placing.own = placing._current = replace(placing.own, default=rule)
                await story(engine, session, one, two)  # type: ignore[misc]

        run(told())

    return go


def test_large_blobs_are_copied_there_and_small_ones_sent(in_memory: Callable[..., None]) -> None:
    async def story(engine: Engine, session, one: Counting, two: Counting) -> None:  # type: ignore[no-untyped-def]
        await session.put("plain", "large", Body.of_bytes(LARGE))
        await session.put("plain", "small", Body.of_bytes(b"small"))
        assert await moved(engine) == []
        assert two.copies == 1
        assert await whereabouts(engine, session, "plain", "large") == ["two"]
        assert await content(session, "plain", "large") == LARGE
        assert await content(session, "plain", "small") == b"small"
        names = [info.name async for info in two.list()]
        assert sum(name.endswith(":about") for name in names) == 1  # the one that was copied says what it is
        assert len(names) == 3

    in_memory(story)


@pytest.mark.parametrize("refusal", [UnsupportedError("not this one"), CorruptedError("not as it was")])
def test_what_a_server_will_not_copy_is_sent(in_memory: Callable[..., None], refusal: HoldfastError) -> None:
    async def story(engine: Engine, session, one: Counting, two: Counting) -> None:  # type: ignore[no-untyped-def]
        await session.put("plain", "large", Body.of_bytes(LARGE))
        two.fails = refusal
        assert await moved(engine) == []
        assert two.copies == 1
        assert await content(session, "plain", "large") == LARGE

    in_memory(story)


def test_a_copy_that_broke_off_is_tried_again_under_another_name(in_memory: Callable[..., None]) -> None:
    async def story(engine: Engine, session, one: Counting, two: Counting) -> None:  # type: ignore[no-untyped-def]
        await session.put("plain", "large", Body.of_bytes(LARGE))
        two.fails = UnavailableError("the answer was lost", store="two")
        ran = await run_alone(engine, Migrate(), {**MOVE, "cutover": False}, most_rounds=1)
        assert [failure.message for failure in ran.failures] == ["store 'two': the answer was lost"]
        two.fails = None
        assert await moved(engine) == []
        assert await content(session, "plain", "large") == LARGE

    in_memory(story)


def test_a_bad_source_is_found_by_the_read_back_and_not_copied_for_ever(
    in_memory: Callable[..., None],
) -> None:
    async def story(engine: Engine, session, one: Counting, two: Counting) -> None:  # type: ignore[no-untyped-def]
        version = await session.put("plain", "large", Body.of_bytes(LARGE))
        (row,) = await engine.catalog.replicas(store="one")
        one._blobs[row.blob] = replace(one._blobs[row.blob], data=LARGE[:-1] + b"?")
        ran = await run_alone(engine, Migrate(), {**MOVE, "cutover": False}, most_rounds=1)
        assert "cannot be read from 'one'" in ran.failures[0].message
        assert two.copies == 1
        states = {copy.store: copy.state for copy in (await engine.catalog.resolve(version.ref)).replicas}
        assert states == {"one": "suspect"}

    in_memory(story)


def test_encrypted_blobs_are_never_copied_as_they_are(in_memory: Callable[..., None]) -> None:
    async def story(engine: Engine, session, one: Counting, two: Counting) -> None:  # type: ignore[no-untyped-def]
        await session.put("plain", "large", Body.of_bytes(LARGE))
        assert await moved(engine) == []
        assert two.copies == 0
        assert await content(session, "plain", "large") == LARGE
        sealed = engine.stores["two"].sealed
        assert isinstance(sealed, Layer)
        assert not sealed.can_copy_from(engine.stores["one"].backend)

    in_memory(story, encrypt=True)


def test_folders_of_this_machine_copy_and_what_cannot_be_read_there_is_sent(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied, bad = [], False
    read, copy = Kernel.read, LocalBackend.copy_from

    async def counted(self: LocalBackend, other: Backend, source: str, target: str) -> BlobInfo:
        copied.append(target)
        return await copy(self, other, source, target)

    def worn_out(self: Kernel, fd: int, offset: int, count: int) -> bytes:
        if bad:
            raise OSError(errno.EIO, "a bad block")
        return read(self, fd, offset, count)

    def apart(self: Kernel, *more: int) -> int:
        raise OSError(errno.EXDEV, "two file systems")

    async def story() -> None:
        nonlocal bad
        environment = Environment.seeded(3)
        one, two = (local_store(name, tmp_path / name, environment) for name in ("one", "two"))
        for store in (one, two):
            settings = stack.StackSettings(attempts=1, describe="always")
            store.backend = stack.build(store.backend, settings, environment=environment)
        async with engine_on(sqlite_url, one, two, environment=environment, acknowledge=1) as (
            engine,
            session,
        ):
            placing = engine.context.placing
            rule = replace(placing.own.default, stores=("one",))
            placing.own = placing._current = replace(placing.own, default=rule)
            for number, name in enumerate(("first", "second")):
                bad = number == 1
                version = await session.put("plain", name, Body.of_bytes(LARGE))
                await run_alone(engine, Migrate(), {**MOVE, "cutover": False}, most_rounds=15)
                assert await whereabouts(engine, session, "plain", name) == ["one", "two"]
                (there,) = [row for row in await engine.catalog.replicas(store="two") if row.blob in copied]
                told = await read_origin(two.backend, there.blob)
                assert told is not None
                copied.clear()
                assert (told.version, await content(session, "plain", name)) == (version.id, LARGE)

    monkeypatch.setattr(LocalBackend, "copy_from", counted)
    monkeypatch.setattr(Kernel, "read", worn_out)
    monkeypatch.setattr(Kernel, "clone", apart)
    monkeypatch.setattr(Kernel, "copy_range", apart)
    run(story())


def test_a_store_that_does_not_answer_keeps_no_other_from_being_copied_from(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    copy = LocalBackend.copy_from

    async def silent(self: LocalBackend, other: LocalBackend, source: str, target: str) -> BlobInfo:
        asked.append(other.store)
        if len(asked) == 1:
            raise UnavailableError("the disk is gone", store=other.store)
        return await copy(self, other, source, target)

    async def story() -> None:
        environment = Environment.seeded(3)
        stores = [local_store(name, tmp_path / name, environment) for name in ("one", "two", "three")]
        async with engine_on(sqlite_url, *stores, environment=environment, acknowledge=2) as (
            engine,
            session,
        ):
            placing = engine.context.placing
            rules = [
                replace(placing.own.default, stores=names)
                for names in (("one", "two"), ("one", "two", "three"))
            ]
            placing.own = placing._current = replace(placing.own, default=rules[0])
            version = await session.put("plain", "large", Body.of_bytes(LARGE))
            placing.own = placing._current = replace(placing.own, default=rules[1])
            report = await reconcile(engine.context, version.ref, version.id)
            assert (report.trouble, report.copied, sorted(asked)) == ("", 1, ["one", "two"])
            assert await content(session, "plain", "large") == LARGE

    monkeypatch.setattr(LocalBackend, "copy_from", silent)
    run(story())


def test_what_was_adopted_and_never_read_is_sent_and_proved(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[str] = []
    copy = LocalBackend.copy_from

    async def counted(self: LocalBackend, other: Backend, source: str, target: str) -> BlobInfo:
        copied.append(self.store)
        return await copy(self, other, source, target)

    async def story() -> None:
        environment = Environment()
        stores = [local_store(name, tmp_path / name, environment) for name in ("one", "two", "three")]
        (tmp_path / "one" / "large").write_bytes(LARGE)
        async with engine_on(sqlite_url, *stores, environment=environment, acknowledge=1) as (
            engine,
            session,
        ):
            ran = await run_alone(engine, Adopt(), {"store": "one", "tenant": "default", "bucket": "plain"})
            assert ran.counts.done == 1
            version, _ = await session.head("plain", "large")
            placing = engine.context.placing
            for name, wanted in (("two", []), ("three", ["three"])):
                rule = replace(placing.own.default, stores=(name,))
                placing.own = placing._current = replace(placing.own, default=rule)
                report = await reconcile(engine.context, version.ref, version.id)
                assert (report.trouble, report.copied, copied) == ("", 1, wanted)
                (segment,) = (await engine.catalog.resolve(version.ref)).segments
                assert segment.digests.sha256 == sha256(LARGE).digest()
            assert await content(session, "plain", "large") == LARGE

    monkeypatch.setattr(LocalBackend, "copy_from", counted)
    run(story())


def test_an_s3_server_copies_between_its_buckets() -> None:
    async def story(server: S3Server) -> None:
        def opened(bucket: str, secret: str = server.secret_key) -> CopierFrom:
            settings = S3Settings(
                endpoint=server.endpoint,
                allow_http=True,
                region=server.region,
                bucket=bucket,
                access_key=server.access_key,
                secret_key=secret,  # type: ignore[arg-type]
                prefix=f"p-{bucket}/",
            )
            return open_s3(bucket, settings, environment=Environment())

        (server.data / "other").mkdir(exist_ok=True)
        here, there = opened(server.bucket), opened("other")
        stranger = opened("other", "another secret")
        try:
            assert there.can_copy_from(here)  # type: ignore[arg-type]
            assert not stranger.can_copy_from(here)  # type: ignore[arg-type]
            await here.put("a/blob", Body.of_bytes(LARGE))  # type: ignore[attr-defined]
            made = await there.copy_from(here, "a/blob", "b/blob")  # type: ignore[arg-type]
            assert made.size == len(LARGE)
            async with there.get("b/blob") as reader:  # type: ignore[attr-defined]
                assert b"".join([chunk async for chunk in reader]) == LARGE
        finally:
            for one in (here, there, stranger):
                await one.close()  # type: ignore[attr-defined]

    with servers.require(servers.rclone_s3) as server:
        run(story(server))
