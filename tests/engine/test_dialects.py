"""The S3 backend in front of servers with the manners of each dialect, and those manners themselves."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import pytest

from holdfast.backends.object_store import ObjectStoreBackend, S3Settings, copying, open_s3
from holdfast.backends.object_store.dialects import DIALECTS
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.multipart import Multipart
from holdfast.core import errors
from holdfast.core.backend import Capability, PutOptions
from holdfast.core.body import Body
from holdfast.core.clock import Environment, SystemClock
from holdfast.testing.dialects import (
    DialectProxy,
    by_folder,
    expired_token,
    failed_completion,
    failed_deletions,
    foreign_etag,
    short_body,
    slow_down,
)
from holdfast.testing.proxy import Fault, Head
from holdfast.testing.run import State
from holdfast.testing.run import run as promises
from holdfast.testing.servers import S3Server, moto_s3, require
from torture.dialects import trial

pytestmark = [pytest.mark.engine, pytest.mark.timeout(90)]

MIB = 1 << 20
PART = 5 * MIB
WHERE = Where("put", "s3")
#: What no test meets in person; Naas is Amazon underneath.
ABSENT = sorted(name for name, row in DIALECTS.items() if row.seen == "documentation" and name != "naas")
#: The promises in which dialects differ; `scripts/torture dialects` tries all of them.
DIFFERENT = (
    *("a_stream_of_unknown_length_round_trips", "an_overwrite_replaces_the_content", "delete_removes"),
    *("a_put_that_fails_keeps_the_old_content", "a_cancelled_put_shows_nothing", "a_listing_is_in_byte_order"),
    *("after_and_prefix_work_together", "a_blob_and_a_folder_may_share_a_name", "metadata_is_kept"),
    *("metadata_fits_as_told", "a_copy_keeps_the_metadata", "a_signed_url_writes", "what_is_not_offered_is_refused"),
    *("a_suffix_range_reads_the_last_bytes", "if_absent_refuses_a_taken_name"),
)  # fmt: skip


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 80))


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with require(moto_s3) as running:
        yield running


class SleeplessClock(SystemClock):
    """The real time, but sleeping is only noted."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@contextlib.asynccontextmanager
async def speaking(
    server: S3Server, dialect: str, *, manners: str = "", paced: Any = None, **extra: Any
) -> AsyncIterator[tuple[DialectProxy, ObjectStoreBackend]]:
    """Yield a server with the manners of `manners` (else of `dialect`) and a backend that is set to `dialect`."""
    values: dict[str, Any] = {
        "bucket": server.bucket,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "region": server.region,
        "allow_http": True,
        "part_size": PART,
        "upload_concurrency": 2,
        "dialect": dialect,
        "prefix": f"{dialect}-{manners}",
    }
    pace = {"one_write_a_second": True, "clock": paced} if paced else {}
    async with DialectProxy(server.host, server.port, manners or dialect, **pace) as proxy:
        settings = S3Settings.model_validate({**values, "endpoint": proxy.url, **extra})
        environment = Environment(clock=SleeplessClock())
        backend = open_s3("s3", settings, environment=environment)
        try:
            yield proxy, backend
        finally:
            await backend.close()


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


async def stream(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 300_000):
        yield data[start : start + 300_000]


async def read(backend: ObjectStoreBackend, name: str) -> bytes:
    async with backend.get(name) as reader:
        return await reader.read()


async def names(backend: ObjectStoreBackend) -> list[str]:
    return [info.name async for info in backend.list()]


# -- every dialect that no real server here speaks -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dialect", ABSENT)
def test_the_promises_are_kept_and_nothing_is_sent_that_the_dialect_refuses(
    server: S3Server, dialect: str
) -> None:
    async def story() -> None:
        async with speaking(server, dialect) as (proxy, backend):
            outcomes = await promises(backend, only=DIFFERENT)
            assert [(one.name, one.reason) for one in outcomes if one.state is State.BROKEN] == []
            kept = {one.name for one in outcomes if one.state is State.KEPT}
            assert len(kept) == len(DIFFERENT) - (Capability.IF_ABSENT not in backend.capabilities)
            assert [(head.start, code) for head, code in proxy.refused] == []

    run(story())


@pytest.mark.parametrize("dialect", ABSENT)
def test_large_bodies_copies_and_many_deletes_suit_the_dialect(server: S3Server, dialect: str) -> None:
    async def story() -> None:
        data = noise(2 * PART + 77)
        async with speaking(server, dialect) as (proxy, backend):
            await backend.put("large", Body.of_stream(stream(data)))
            info = await backend.head("large")
            single = None if not DIALECTS[dialect].copy_parts else 1
            key, target = backend._key("large"), backend._key("copied")
            await copying.copy(backend._client, WHERE, key, target, info, single=single, part=PART)
            await backend.copy("large", "again")
            assert await read(backend, "copied") == data
            await backend.delete_many(["large", "copied", "again", "absent"])
            assert await names(backend) == []
            assert proxy.refused == []
            batches = [head for head in proxy.seen if head.method == "POST" and "delete" in head.target]
            assert bool(batches) == DIALECTS[dialect].batch_delete

    run(story())


# -- what the wrong dialect meets: the manners themselves ----------------------------------------------------------
@pytest.mark.parametrize(
    ("manners", "extra", "kind", "words"),
    [
        ("gcs", {"checksum": "sha256"}, errors.ConfigError, "dialect"),
        ("b2", {"checksum": "crc64nvme"}, errors.InvalidRequestError, "dialect"),
        ("garage", {"checksum": "sha256"}, errors.InvalidRequestError, "InvalidRequest"),
        ("r2", {"sse": "sse-s3"}, errors.UnsupportedError, "NotImplemented"),
        ("versitygw", {"sse": "sse-kms"}, errors.UnsupportedError, "NotImplemented"),
        ("gcs", {"sse": "sse-s3"}, errors.UnsupportedError, "NotImplemented"),
        ("r2", {"storage_class": "GLACIER"}, errors.InvalidRequestError, "InvalidStorageClass"),
        ("wasabi", {"storage_class": "COLD"}, errors.InvalidRequestError, "InvalidStorageClass"),
    ],
)
def test_what_a_dialect_does_not_take_is_refused_clearly(
    server: S3Server, manners: str, extra: dict[str, Any], kind: type[Exception], words: str
) -> None:
    async def story() -> None:
        async with speaking(server, "generic", manners=manners, **extra) as (proxy, backend):
            for data in (b"small", noise(PART + 1)):
                with pytest.raises(kind, match=words):
                    await backend.put("x", Body.of_bytes(data))
            assert len(proxy.refused) >= 2
            assert await names(backend) == []

    run(story())


@pytest.mark.parametrize("manners", ["b2", "gcs", "garage", "wasabi", "seaweedfs", "rclone"])
def test_a_condition_that_the_server_lacks_is_never_taken_for_kept(server: S3Server, manners: str) -> None:
    async def story() -> None:
        async with speaking(server, "generic", manners=manners, conditional_writes=True) as (_, backend):
            for data in (b"small", noise(PART + 1)):
                with pytest.raises(errors.UnsupportedError):
                    await backend.put("cond", Body.of_bytes(data), if_absent=True)
            assert await names(backend) == []

    run(story())


@pytest.mark.parametrize("manners", ["r2", "ceph"])
def test_a_condition_for_small_bodies_only_is_not_offered(server: S3Server, manners: str) -> None:
    async def story() -> None:
        async with speaking(server, manners) as (_, backend):
            assert Capability.IF_ABSENT not in backend.capabilities
            with pytest.raises(errors.UnsupportedError):
                await backend.put("cond", Body.of_bytes(b"x"), if_absent=True)
        async with speaking(server, manners, conditional_writes=True) as (proxy, backend):
            await backend.put("cond", Body.of_bytes(b"x"), if_absent=True)
            with pytest.raises(errors.UnsupportedError):
                await backend.put("cond-large", Body.of_bytes(noise(PART + 1)), if_absent=True)
            assert [code for _, code in proxy.refused] == ["NotImplemented"]

    run(story())


def test_unequal_or_small_parts_are_refused(server: S3Server) -> None:
    async def parts(backend: ObjectStoreBackend, key: str, *sizes: int) -> None:
        work = Multipart(backend._client, WHERE, key)
        await work.create({})
        for number, size in enumerate(sizes, start=1):
            await work.send(number, noise(size))
        await work.complete()

    async def story() -> None:
        async with speaking(server, "r2") as (_, backend):
            await parts(backend, "r2-/equal", PART, PART, 5)
            for sizes in ((PART, PART + 1, 5), (PART, PART + 1)):
                with pytest.raises(errors.InternalError, match="InvalidPart"):
                    await parts(backend, "r2-/unequal", *sizes)
            with pytest.raises(errors.InternalError, match="EntityTooSmall"):
                await parts(backend, "r2-/small", 5, 5)
        async with speaking(server, "aws") as (_, backend):
            await parts(backend, "aws-/unequal", PART + 1, PART, 5)

    run(story())


def test_a_key_is_written_once_a_second_and_the_client_comes_back(server: S3Server) -> None:
    moments = [0.0, 0.5, 1.0, 1.2, 1.3, 1.4, 1.5]

    async def story() -> None:
        async with speaking(server, "r2", paced=lambda: moments.pop(0)) as (proxy, backend):
            await backend.put("paced", Body.of_bytes(b"one"))
            await backend.put("paced", Body.of_bytes(b"two"))  # half a second later: 429, and again
            assert [code for _, code in proxy.refused] == ["TooManyRequests"]
            assert await read(backend, "paced") == b"two"
            with pytest.raises(errors.RateLimitedError):
                await backend._client.call(WHERE, "PUT", backend._key("paced"), body=b"three", retries=1)

    run(story())


def test_a_batch_delete_needs_a_digest_and_may_be_missing(server: S3Server) -> None:
    async def story() -> None:
        async with speaking(server, "aws") as (_, backend):
            with pytest.raises(errors.InvalidRequestError):
                await backend._client.call(WHERE, "POST", query=[("delete", "")], body=b"<Delete/>")
        async with speaking(server, "gcs", batch_delete=True) as (_, backend):
            with pytest.raises(errors.UnsupportedError):
                await backend.delete_many(["x"])

    run(story())


@pytest.mark.parametrize(
    ("manners", "request_", "code"),
    [
        ("gcs", {"headers": {"x-goog-meta-a": "b"}}, "ExcessHeaderValues"),
        ("r2", {"headers": {"x-amz-acl": "private"}}, "NotImplemented"),
        ("r2", {"headers": {"x-amz-object-lock-mode": "GOVERNANCE"}}, "NotImplemented"),
        ("r2", {"headers": {"x-amz-tagging": "a=b"}}, "NotImplemented"),
        ("b2", {"headers": {"x-amz-tagging": "a=b"}}, "InvalidArgument"),
        ("r2", {"query": [("tagging", "")]}, "NotImplemented"),
        ("garage", {"query": [("versioning", "")]}, "NotImplemented"),
        ("aws", {"headers": {"x-amz-meta-a": "b" * 2048}}, "MetadataTooLarge"),
        ("aws", {"query": [("uploadId", "u"), ("partNumber", "10001")]}, "InvalidArgument"),
        (
            "gcs",
            {"query": [("uploadId", "u"), ("partNumber", "1")], "headers": {"x-amz-copy-source": "/b/k"}},
            "NotImplemented",
        ),
    ],
)
def test_headers_and_operations_that_a_dialect_lacks(
    server: S3Server, manners: str, request_: dict[str, Any], code: str
) -> None:
    async def story() -> None:
        async with speaking(server, "generic", manners=manners) as (proxy, backend):
            with pytest.raises(errors.HoldfastError, match=code):
                await backend._client.call(WHERE, "PUT", "some-key", **request_)
            assert [why for _, why in proxy.refused] == [code]

    run(story())


def test_a_body_above_the_largest_put_is_refused_by_its_announced_length() -> None:
    proxy = DialectProxy("127.0.0.1", 1, "r2")
    head = Head("PUT /b/k HTTP/1.1", {"content-length": str(5 * 1024 * MIB - PART + 1)}, b"")
    assert proxy._refusal(head) == (400, "EntityTooLarge")
    assert proxy._refusal(Head(head.start, {"content-length": str(5 * 1024 * MIB - PART)}, b"")) is None


def test_a_listing_out_of_order_is_noticed_or_mended(server: S3Server) -> None:
    async def story() -> None:
        wanted = ["a-b", "a.c", "a/b", "a/c/d", "b"]
        async with speaking(server, "seaweedfs", prefix="order") as (_, backend):
            for name in wanted:
                await backend.put(name, Body.of_bytes(b"x"))
            assert await names(backend) == wanted
            assert [info.name async for info in backend.list("a", after="a.c")] == ["a/b", "a/c/d"]
        trusting = {"sorted_listing": True, "folders": True, "prefix": "order"}
        async with speaking(server, "generic", manners="seaweedfs", **trusting) as (_, backend):
            with pytest.raises(errors.UnsupportedError, match="sorted_listing"):
                await names(backend)

    run(story())


def test_a_listing_by_folder_is_the_same_listing() -> None:
    def listing(*keys: str) -> bytes:
        items = "".join(f"<Contents>\n<Key>{key}</Key></Contents>" for key in keys)
        return f"<ListBucketResult><Name>b</Name>{items}<IsTruncated>false</IsTruncated></ListBucketResult>".encode()

    assert by_folder(listing("a-b", "a/b", "a0")) == listing("a/b", "a-b", "a0")
    assert by_folder(listing("one")) == listing("one")
    assert by_folder(listing()) == listing()


# -- bad days ------------------------------------------------------------------------------------------------------
def test_a_completion_that_failed_with_200_is_a_failure(server: S3Server) -> None:
    async def story() -> None:
        data = noise(PART + 1)
        async with speaking(server, "aws", prefix="completing") as (proxy, backend):
            await backend.put("done", Body.of_bytes(b"old"))
            for if_absent, name in ((False, "done"), (True, "new")):
                proxy.script(failed_completion(), times=6)
                with pytest.raises(errors.UnavailableError):
                    await backend.put(name, Body.of_bytes(data), if_absent=if_absent)
                proxy.clear()
            assert (await names(backend), await read(backend, "done")) == (["done"], b"old")
            proxy.script(failed_completion())
            await backend.put("new", Body.of_bytes(data), if_absent=True)  # once is outlasted
            assert await read(backend, "new") == data

    run(story())


def test_a_batch_delete_that_failed_for_some_with_200_is_a_failure(server: S3Server) -> None:
    async def story() -> None:
        async with speaking(server, "aws") as (proxy, backend):
            for code, kind in (
                ("InternalError", errors.UnavailableError),
                ("AccessDenied", errors.PermissionDeniedError),
                ("SlowDown", errors.RateLimitedError),
            ):
                proxy.script(failed_deletions("k", code=code))
                with pytest.raises(kind):
                    await backend.delete_many(["k", "l"])
            proxy.script(failed_deletions("k", code="NoSuchKey"))
            await backend.delete_many(["k"])

    run(story())


def test_single_deletes_raise_the_first_failure_after_trying_all(server: S3Server) -> None:
    async def story() -> None:
        async with speaking(server, "gcs", retries=0) as (proxy, backend):
            for name in "abc":
                await backend.put(name, Body.of_bytes(b"x"))
            proxy.script(slow_down(3))
            with pytest.raises(errors.RateLimitedError) as caught:
                await backend.delete_many(["a", "b", "c"])
            assert caught.value.retry_after == 3
            assert len(await names(backend)) == 1

    run(story())


def test_keys_that_end_are_told_apart_from_wrong_ones(server: S3Server) -> None:
    async def story() -> None:
        async with speaking(server, "naas") as (proxy, backend):
            for verb in (backend.put("x", Body.of_bytes(b"y")), names(backend), read(backend, "x")):
                proxy.script(expired_token(), times=4)
                with pytest.raises(errors.UnauthenticatedError, match="ended"):
                    await verb
                proxy.clear()

    run(story())


def test_a_server_that_is_busy_is_outlasted_and_a_short_body_is_never_believed(server: S3Server) -> None:
    async def story() -> None:
        data = noise(400_000)
        async with speaking(server, "wasabi") as (proxy, backend):
            proxy.script(slow_down(), times=2)
            await backend.put("x", Body.of_bytes(data))
            proxy.script(short_body(1000))
            assert hashlib.sha256(await read(backend, "x")).digest() == hashlib.sha256(data).digest()
            assert proxy.pending == 0
            proxy.default = short_body(1000)
            with pytest.raises(errors.UnavailableError):
                await read(backend, "x")

    run(story())


def test_an_etag_that_only_looks_like_an_md5_is_no_damage_where_that_is_known(server: S3Server) -> None:
    async def story() -> None:
        async with speaking(server, "aws") as (proxy, backend):
            proxy.default = foreign_etag()
            options = PutOptions(metadata={"a": "b"})
            info = await backend.put("kms", Body.of_bytes(b"content"), options=options)
            assert info.etag is not None
            assert info.etag != hashlib.md5(b"content").hexdigest()
            assert await read(backend, "kms") == b"content"
            assert (await backend.head("kms")).etag == info.etag
        async with speaking(server, "generic") as (proxy, backend):
            proxy.default = foreign_etag()
            with pytest.raises(errors.CorruptedError):
                await backend.put("kms", Body.of_bytes(b"content"))
            proxy.default = Fault()
            assert await names(backend) == []

    run(story())


@pytest.mark.parametrize("dialect", ["r2", "gcs"])
def test_a_small_storm_of_bad_days_leaves_every_byte_in_its_place(server: S3Server, dialect: str) -> None:
    async def story() -> None:
        figures = await trial(server, dialect, faults=40, seed=7, only=("delete_removes",))
        assert figures.sound, str(figures)
        assert figures.faults >= 40
        assert figures.failed > 0

    run(story())
