"""Put, get, head, delete, list, copy and versions, on both catalogs and on local disk."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.conditions import Preconditions
from holdfast.core.errors import (
    AlreadyExistsError,
    ConflictError,
    DigestMismatchError,
    InvalidRangeError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionFailedError,
    TooLargeError,
    UnavailableError,
)
from holdfast.core.types import ByteRange, Digests, Principal
from holdfast.engine.settings import EngineSettings
from holdfast.engine.write import ObjectInput
from tests.helpers import (
    blobs_on_disk,
    content,
    crc64,
    engine_on,
    local_store,
    memory_store,
    noise,
    run,
    sha256,
)

pytestmark = pytest.mark.engine
MIB = 1 << 20
SIZES = (0, 1, 4096, 65_536, 65_537, MIB, MIB + 1, 5 * MIB + 3)


async def drip(data: bytes, step: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), step):
        yield data[start : start + step]


@pytest.mark.parametrize("streamed", [False, True])
def test_every_size_comes_back_with_its_digests(catalog_url: str, tmp_path: Path, streamed: bool) -> None:
    async def story() -> None:
        async with engine_on(catalog_url, local_store("local", tmp_path / "o", Environment())) as (
            _,
            session,
        ):
            for size in SIZES:
                data = noise(size, size)
                body = Body.of_stream(drip(data)) if streamed else Body.of_bytes(data)
                version = await session.put("plain", f"s/{size}", body)
                assert (version.size, version.digests.sha256) == (size, sha256(data))
                assert version.digests.crc64nvme == crc64(data)
                assert version.etag == hashlib.md5(data).hexdigest()
                assert await content(session, "plain", f"s/{size}") == data
                head, modified = await session.head("plain", f"s/{size}")
                assert modified
                assert head == version
            usage = await session.usage("plain")
            assert (usage.objects, usage.bytes) == (len(SIZES), sum(SIZES))

    run(story())


def test_ranges_are_exact(sqlite_url: str, tmp_path: Path) -> None:
    data = noise(5 * MIB + 3)

    async def story() -> None:
        async with engine_on(sqlite_url, local_store("local", tmp_path / "o", Environment())) as (_, session):
            await session.put("plain", "k", Body.of_bytes(data))
            for start, end in (
                (0, 0),
                (0, None),
                (1, 1),
                (MIB - 1, MIB),
                (7, 3 * MIB),
                (5 * MIB, 10**12),
                (None, 5),
            ):
                expected = data[-5:] if start is None else data[start : None if end is None else end + 1]
                assert (
                    await content(
                        session, "plain", "k", range=ByteRange(start, end or (5 if start is None else end))
                    )
                    == expected
                )
            for wrong in (ByteRange(len(data)), ByteRange(9, 3), ByteRange(None, 0)):
                with pytest.raises(InvalidRangeError):
                    await content(session, "plain", "k", range=wrong)

    run(story())


def test_an_overwrite_replaces_and_a_versioned_bucket_keeps(catalog_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine_on(catalog_url, local_store("local", tmp_path / "o", Environment())) as (
            engine,
            session,
        ):
            for bucket in ("plain", "kept"):
                first = await session.put(bucket, "k", Body.of_bytes(b"one"))
                second = await session.put(bucket, "k", Body.of_bytes(b"two"))
                assert await content(session, bucket, "k") == b"two"
                listed = [(v.id, v.current) for v in (await session.versions(bucket)).items]
                if bucket == "kept":
                    assert listed == [(second.id, True), (first.id, False)]
                    assert await content(session, bucket, "k", version_id=first.id) == b"one"
                else:
                    assert listed == [(second.id, True)]
                    with pytest.raises(NotFoundError):
                        await content(session, bucket, "k", version_id=first.id)
                assert await engine.catalog.usage("default", bucket) == await engine.catalog.recount(
                    "default", bucket
                )

    run(story())


def test_deleting_in_a_versioned_bucket_leaves_a_marker_that_can_be_removed(
    catalog_url: str, tmp_path: Path
) -> None:
    async def story() -> None:
        async with engine_on(catalog_url, local_store("local", tmp_path / "o", Environment())) as (
            _,
            session,
        ):
            first = await session.put("kept", "k", Body.of_bytes(b"one"))
            gone = await session.delete("kept", "k")
            assert gone.delete_marker
            assert gone.version_id
            with pytest.raises(NotFoundError):
                await content(session, "kept", "k")
            assert (await session.list("kept")).items == []
            assert [v.delete_marker for v in (await session.versions("kept")).items] == [True, False]
            with pytest.raises(ConflictError):
                await session.delete_bucket("kept")
            await session.delete("kept", "k", version_id=gone.version_id)
            assert await content(session, "kept", "k") == b"one"
            await session.delete("kept", "k", version_id=first.id)
            assert (await session.delete("kept", "k", version_id=first.id)).version_id is None
            await session.delete_bucket("kept")
            with pytest.raises(NotFoundError):
                await session.bucket("kept")

    run(story())


def test_preconditions_are_decided_at_the_commit(catalog_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine_on(catalog_url, local_store("local", tmp_path / "o", Environment())) as (
            engine,
            session,
        ):
            absent = Preconditions(if_none_match=("*",))
            answers = await asyncio.gather(
                *(session.put("plain", "k", Body.of_bytes(b"%d" % n), conditions=absent) for n in range(12)),
                return_exceptions=True,
            )
            won = [answer for answer in answers if not isinstance(answer, BaseException)]
            assert len(won) == 1
            assert all(
                isinstance(a, PreconditionFailedError) for a in answers if isinstance(a, BaseException)
            )
            with pytest.raises(PreconditionFailedError):
                await session.put(
                    "plain", "k", Body.of_bytes(b"x"), conditions=Preconditions(if_match=("other",))
                )
            with pytest.raises(PreconditionFailedError):
                await session.delete("plain", "k", conditions=Preconditions(if_match=("other",)))
            newer = await session.put(
                "plain", "k", Body.of_bytes(b"x"), conditions=Preconditions(if_match=(won[0].etag,))
            )
            async with session.get(
                "plain", "k", conditions=Preconditions(if_none_match=(newer.etag,))
            ) as reader:
                assert not reader.modified
            report = await engine.sweep()
            assert (
                report.deleted == 12
            )  # eleven losers and the failed If-Match; the replaced one is in its grace

    run(story())


def test_copy_carries_everything_over_and_shares_nothing(catalog_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine_on(
            catalog_url, local_store("local", tmp_path / "o", Environment()), settings=EngineSettings(grace=0)
        ) as (engine, session):
            about = ObjectInput("text/x-test", {"color": "blue"}, {"team": "a"})
            made = await session.put("plain", "a", Body.of_bytes(b"hello"), about)
            copied = await session.copy(("plain", "a"), ("kept", "b/c"))
            assert (copied.etag, copied.content_type, dict(copied.metadata)) == (
                made.etag,
                "text/x-test",
                {"color": "blue"},
            )
            assert copied.id != made.id
            assert dict(copied.tags) == {"team": "a"}
            await session.delete("plain", "a")
            await engine.sweep()
            assert await content(session, "kept", "b/c") == b"hello"
            onto_itself = await session.copy(
                ("kept", "b/c"), ("kept", "b/c"), about=ObjectInput("text/plain")
            )
            assert onto_itself.content_type == "text/plain"
            with pytest.raises(NotFoundError):
                await session.copy(("plain", "a"), ("plain", "z"))

    run(story())


def test_copy_between_stores_that_cannot_copy_streams(sqlite_url: str, tmp_path: Path) -> None:
    from holdfast.core.backend import Capability

    data = noise(3 * MIB)

    async def story() -> None:
        store = memory_store("m", Environment())
        async with engine_on(sqlite_url, store) as (_, session):
            await session.put("plain", "a", Body.of_bytes(data))
            type(store.backend).capabilities = property(lambda self: Capability.RANGE)  # type: ignore[method-assign,assignment]
            await session.copy(("plain", "a"), ("plain", "b"))
            assert await content(session, "plain", "b") == data

    from holdfast.backends.memory import MemoryBackend

    before = MemoryBackend.capabilities
    try:
        run(story())
    finally:
        MemoryBackend.capabilities = before  # type: ignore[method-assign]


def test_a_body_that_is_not_what_was_announced_leaves_nothing(catalog_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine_on(
            catalog_url,
            local_store("local", tmp_path / "o", Environment()),
            settings=EngineSettings(max_object_size=3 * MIB),
        ) as (engine, session):
            data = noise(2 * MIB)
            wrong = ObjectInput(digests=Digests(sha256=bytes(32)))
            bodies = {
                "short": (Body.of_stream(drip(data), size=len(data) + 1), ObjectInput()),
                "long": (Body.of_stream(drip(data), size=len(data) - 1), ObjectInput()),
                "digest": (Body.of_stream(drip(data)), wrong),
                "small digest": (Body.of_bytes(b"x"), wrong),
                "md5": (Body.of_bytes(data), ObjectInput(digests=Digests(md5=bytes(16)))),
                "crc": (Body.of_bytes(data), ObjectInput(digests=Digests(crc64nvme=bytes(8)))),
            }
            for key, (body, about) in bodies.items():
                with pytest.raises(DigestMismatchError):
                    await session.put("plain", key, body, about)
            for body in (Body.of_bytes(noise(3 * MIB + 1)), Body.of_stream(drip(noise(3 * MIB + 1)))):
                with pytest.raises(TooLargeError):
                    await session.put("plain", "large", body)
            small = EngineSettings(max_object_size=10)
            async with engine_on(
                catalog_url, local_store("local", tmp_path / "o", Environment()), settings=small
            ) as (_, strict):
                with pytest.raises(TooLargeError):
                    await strict.put("plain", "large", Body.of_stream(drip(noise(11))))
            right = Digests(sha256(data), hashlib.md5(data).digest(), crc64(data))
            await session.put("plain", "right", Body.of_stream(drip(data)), ObjectInput(digests=right))
            assert [item.key for item in (v.ref for v in (await session.list("plain")).items)] == ["right"]
            await engine.sweep()
            assert len(blobs_on_disk(tmp_path / "o")) == 1

    run(story())


def test_a_source_that_breaks_leaves_nothing(sqlite_url: str, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield noise(MIB)
        yield noise(MIB)
        raise ConnectionResetError("gone")

    async def story() -> None:
        async with engine_on(sqlite_url, local_store("local", tmp_path / "o", Environment())) as (
            engine,
            session,
        ):
            with pytest.raises(InvalidRequestError, match="source of the body failed: ConnectionResetError"):
                await session.put("plain", "k", Body.of_stream(broken()))
            stuck = asyncio.ensure_future(session.put("plain", "k", Body.of_stream(forever())))
            await asyncio.sleep(0.2)
            stuck.cancel()
            with pytest.raises(asyncio.CancelledError):
                await stuck
            assert (await session.list("plain")).items == []
            await engine.sweep()
            assert blobs_on_disk(tmp_path / "o") == []

    async def forever() -> AsyncIterator[bytes]:
        while True:
            yield noise(MIB)
            await asyncio.sleep(0.01)

    run(story())


def test_an_idempotency_key_gives_one_version(catalog_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine_on(catalog_url, local_store("local", tmp_path / "o", Environment())) as (
            engine,
            session,
        ):
            first = await session.put("kept", "k", Body.of_bytes(b"one"), idempotency_key="abc")
            again = await session.put("kept", "k", Body.of_bytes(b"one"), idempotency_key="abc")
            assert again.id == first.id
            with pytest.raises(ConflictError):
                await session.put("kept", "other", Body.of_bytes(b"one"), idempotency_key="abc")
            raced = await asyncio.gather(
                *(session.put("kept", "r", Body.of_bytes(b"one"), idempotency_key="race") for _ in range(8))
            )
            assert len({version.id for version in raced}) == 1
            assert len((await session.versions("kept")).items) == 2
            await engine.sweep()
            assert len(blobs_on_disk(tmp_path / "o")) == 2

    run(story())


def test_two_writers_and_a_deleter_on_one_key(catalog_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine_on(
            catalog_url, local_store("local", tmp_path / "o", Environment()), settings=EngineSettings(grace=0)
        ) as (engine, session):
            bodies = [noise(200_000, n) for n in range(2)]

            async def write(body: bytes) -> None:
                for _ in range(15):
                    await session.put("plain", "k", Body.of_stream(drip(body)))

            async def delete() -> None:
                for _ in range(15):
                    await session.delete("plain", "k")
                    await asyncio.sleep(0)

            async def read() -> None:
                for _ in range(30):
                    try:
                        assert await content(session, "plain", "k") in bodies
                    except NotFoundError:
                        await asyncio.sleep(0.001)

            await asyncio.gather(*(write(body) for body in bodies), delete(), read(), read())
            assert await engine.catalog.usage("default", "plain") == await engine.catalog.recount(
                "default", "plain"
            )
            await session.delete("plain", "k")
            await engine.sweep()
            assert blobs_on_disk(tmp_path / "o") == []

    run(story())


def test_bad_names_and_roles_are_refused(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine_on(sqlite_url, local_store("local", tmp_path / "o", Environment())) as (
            engine,
            session,
        ):
            for key in (
                "",
                "x" * 1025,
                "a\0b",
                "a\nb",
                "\ud800",
                "..",
                "a/../b",
                "./a",
                "a/..",
                "‥/x",
                "a\\..\\b",
            ):
                with pytest.raises(InvalidRequestError):
                    await session.put("plain", key, Body.of_bytes(b"x"))
            awkward = [
                "/abs",
                "a\\b",
                "CON",
                "dots...",
                "a",
                "a/b",
                "A",
                "😀",
                "%2f",
                "a//b",
                "a/",
                " ",
                "é",
                "e\u0301",
            ]
            for key in awkward:
                await session.put("plain", key, Body.of_bytes(key.encode()))
            for key in awkward:
                assert await content(session, "plain", key) == key.encode()
            listed = [version.ref.key for version in (await session.list("plain")).items]
            assert listed == sorted(awkward, key=str.encode)
            for bucket in ("", "ab", "UPPER", "a/b", "..", "x" * 64):
                with pytest.raises(InvalidRequestError):
                    await session.create_bucket(bucket)
            with pytest.raises(AlreadyExistsError):
                await session.create_bucket("plain")
            with pytest.raises(NotFoundError):
                await session.put("nowhere", "k", Body.of_bytes(b"x"))
            for about in (
                ObjectInput("no slash"),
                ObjectInput("/"),
                ObjectInput("text/html\u00e9"),
                ObjectInput(metadata={"a": "b\r\n"}),
                ObjectInput(metadata={"a": "x" * 9000}),
            ):
                with pytest.raises(InvalidRequestError):
                    await session.put("plain", "k", Body.of_bytes(b"x"), about)
            reader = engine.session(Principal("r", "default", "reader"))
            assert await content(reader, "plain", "CON") == b"CON"
            with pytest.raises(PermissionDeniedError):
                await reader.put("plain", "k", Body.of_bytes(b"x"))
            stranger = engine.session(Principal("s", "other", "admin"))
            with pytest.raises(NotFoundError):
                await content(stranger, "plain", "CON")

    run(story())


def test_a_large_body_has_no_md5_unless_asked(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine_on(
            sqlite_url,
            local_store("local", tmp_path / "o", Environment()),
            settings=EngineSettings(md5_limit=MIB),
        ) as (_, session):
            data = noise(2 * MIB)
            for body in (Body.of_bytes(data), Body.of_stream(drip(data))):
                version = await session.put("plain", "k", body)
                assert version.etag == sha256(data).hex()[:32] + "-1"
                assert version.digests.md5 is None
            asked = ObjectInput(digests=Digests(md5=hashlib.md5(data).digest()))
            assert (await session.put("plain", "k", Body.of_stream(drip(data)), asked)).etag == hashlib.md5(
                data
            ).hexdigest()

    run(story())


def test_a_store_that_takes_no_writes_says_so(sqlite_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        from holdfast.core.backend import StoreState

        store = local_store("local", tmp_path / "o", Environment())
        async with engine_on(sqlite_url, store) as (_, session):
            store.state = StoreState.READ_ONLY
            with pytest.raises(UnavailableError, match="read-only"):
                await session.put("plain", "k", Body.of_bytes(b"x"))

    run(story())


def test_an_idempotency_key_does_not_vouch_for_another_content(catalog_url: str, tmp_path: Path) -> None:
    async def story() -> None:
        async with engine_on(catalog_url, local_store("local", tmp_path / "o", Environment())) as (
            _,
            session,
        ):
            first = await session.put("kept", "k", Body.of_bytes(b"AAAA"), idempotency_key="abc")
            again = await session.put("kept", "k", Body.of_stream(drip(b"AAAA")), idempotency_key="abc")
            assert again.id == first.id  # sent another way, but the same
            for other in (b"BBBB", b"AAAAA", b""):
                with pytest.raises(ConflictError):
                    await session.put("kept", "k", Body.of_stream(drip(other)), idempotency_key="abc")
            wrong = ObjectInput(digests=Digests(sha256=bytes(32)))
            with pytest.raises(DigestMismatchError):
                await session.put("kept", "k", Body.of_bytes(b"AAAA"), wrong, idempotency_key="abc")
            raced = await asyncio.gather(
                *(
                    session.put("kept", "r", Body.of_bytes(b"%d" % (n % 2)), idempotency_key="race")
                    for n in range(8)
                ),
                return_exceptions=True,
            )
            made = [answer for answer in raced if not isinstance(answer, BaseException)]
            assert len(made) == 4
            assert len({version.id for version in made}) == 1
            assert all(
                isinstance(answer, ConflictError) for answer in raced if isinstance(answer, BaseException)
            )

    run(story())
