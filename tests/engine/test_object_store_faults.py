"""The S3 backend on real servers, and behind a proxy that misbehaves: it succeeds later or says clearly why not."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import hashlib
import random
import time
import traceback
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import obstore
import pytest
from awscrt.checksums import crc64nvme

from holdfast.backends.object_store import (
    Credentials,
    ObjectStoreBackend,
    RefreshingCredentials,
    S3Settings,
    copying,
    deleting,
    listing,
    open_s3,
)
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.multipart import Multipart
from holdfast.core import errors
from holdfast.core.backend import Capability, PutOptions
from holdfast.core.body import Body
from holdfast.core.clock import Environment, SystemClock
from holdfast.core.fetching import OtherSizeError, fetched
from holdfast.core.types import ByteRange, Digests
from holdfast.testing.proxy import Answer, Cut, Fault, Flip, Head, Hole, Proxy, Refuse, Throttle, Truncate
from holdfast.testing.servers import SERVERS, S3Server, free_port, minio_s3, require

pytestmark = [pytest.mark.engine, pytest.mark.timeout(90)]

MIB = 1 << 20
PART = 5 * MIB
CANARY = "canary-9b7d22"
T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 80))


@pytest.fixture(scope="module", params=sorted(SERVERS))
def server(request: pytest.FixtureRequest) -> Iterator[S3Server]:
    with require(SERVERS[request.param]) as running:
        yield running


@pytest.fixture(scope="module")
def strict() -> Iterator[S3Server]:
    """A server that checks signatures, checksums and conditions."""
    with require(minio_s3) as running:
        yield running


@pytest.fixture(scope="module")
def secure() -> Iterator[S3Server]:
    with require(lambda: minio_s3(tls=True)) as running:
        yield running


def settings_for(server: S3Server, **extra: Any) -> S3Settings:
    values: dict[str, Any] = {
        "endpoint": server.endpoint,
        "region": server.region,
        "bucket": server.bucket,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "allow_http": server.ca_file is None,
        "ca_file": server.ca_file,
        "part_size": PART,
        "upload_concurrency": 2,
        "conditional_writes": server.kind != "rclone",
    }
    return S3Settings.model_validate({**values, **extra})


@contextlib.asynccontextmanager
async def opened(server: S3Server, clock: Any = None, **extra: Any) -> AsyncIterator[ObjectStoreBackend]:
    environment = Environment(clock=clock) if clock else Environment()
    backend = open_s3("s3", settings_for(server, **extra), environment=environment)
    try:
        yield backend
    finally:
        await backend.close()


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


async def stream(data: bytes, *, step: int = 300_000, then: Exception | None = None) -> AsyncIterator[bytes]:
    for start in range(0, len(data), step):
        yield data[start : start + step]
    if then is not None:
        raise then


def known(data: bytes, *, said: bytes | None = None) -> Body:
    """Return a body that flows, of which the digests are known before: those of `said`, if that is given."""
    told = data if said is None else said
    digests = Digests(sha256=hashlib.sha256(told).digest(), crc64nvme=crc64nvme(told).to_bytes(8, "big"))
    return Body(lambda: stream(data), len(data), True, known=digests)


async def read(backend: ObjectStoreBackend, name: str, range: ByteRange | None = None) -> bytes:
    async with backend.get(name, range=range) as reader:
        return await reader.read()


async def names(backend: ObjectStoreBackend, prefix: str = "", after: str = "") -> list[str]:
    return [info.name async for info in backend.list(prefix, after=after)]


async def open_uploads(backend: ObjectStoreBackend, name: str) -> int:
    where = Where("list", "s3")
    return len([u async for u in listing.uploads(backend._client, where, backend._key(name))])


class SleeplessClock(SystemClock):
    """The real time, but sleeping is only noted."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


# -- what a store is for -------------------------------------------------------------------------------------------
def test_every_character_of_a_blob_name_survives(server: S3Server) -> None:
    async def check() -> None:
        async with opened(server, prefix="names") as backend:
            wanted = {f"a{char}b/{char * 3}x" for char in "AZaz09!$'()*+,:;=@_~-."} | {
                "x" * 255,
                "a/" * 20 + "z",
            }
            for name in wanted:
                await backend.put(name, Body.of_bytes(name.encode()))
            assert await names(backend) == sorted(wanted)
            for name in wanted:
                assert await read(backend, name) == name.encode()
                assert (await backend.head(name)).name == name
                await backend.delete(name)
            assert await names(backend) == []

    run(check())


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("size", [0, 1, 4096, PART, PART + 1, 3 * PART, 23 * MIB + 7])
def test_a_stream_of_any_length_comes_back(server: S3Server, size: int, known: bool) -> None:
    async def check() -> None:
        data = noise(size)
        async with opened(server) as backend:
            options = PutOptions("text/x-test", {"plain": "value", "other": "grün \u2603"})
            body = Body.of_stream(stream(data), size=size if known else None)
            info = await backend.put("stream/of", body, options=options)
            assert info.size == size
            async with backend.get("stream/of") as reader:
                assert (reader.info.size, reader.span.length) == (size, size)
                assert reader.info.metadata.items() >= options.metadata.items()
                assert await reader.read() == data
            if size > 10:
                for wish in (
                    ByteRange(3, 9),
                    ByteRange(size - 2),
                    ByteRange(None, 5),
                    ByteRange(1, size * 9),
                ):
                    span = wish.resolve(size)
                    assert await read(backend, "stream/of", wish) == data[span.offset : span.end]

    run(check())


def test_a_copy_carries_its_metadata(server: S3Server) -> None:
    async def check() -> None:
        async with opened(server) as backend:
            await backend.put(
                "copy/from", Body.of_bytes(b"content"), options=PutOptions("text/x", {"a": "ü"})
            )
            info = await backend.copy("copy/from", "copy/to")
            assert (info.name, info.size, info.metadata["a"]) == ("copy/to", 7, "ü")
            assert await read(backend, "copy/to") == b"content"
            with pytest.raises(errors.NotFoundError):
                await backend.copy("copy/none", "copy/to")

    run(check())


def test_a_large_copy_is_made_of_parts_by_the_server(strict: S3Server) -> None:
    async def check() -> None:
        data = noise(2 * PART + 77)
        async with opened(strict) as backend:
            await backend.put("large/from", Body.of_bytes(data), options=PutOptions("text/x", {"a": "ü"}))
            info = await backend.head("large/from")
            where = Where("copy", "s3", "large/to")
            await copying.copy(backend._client, where, "large/from", "large/to", info, single=1, part=PART)
            found = await backend.head("large/to")
            assert (found.metadata, found.etag is not None and found.etag.endswith("-3")) == (
                {"a": "ü"},
                True,
            )
            assert await read(backend, "large/to") == data

    run(check())


def fetch(
    url: str, method: str, headers: dict[str, str], data: bytes | None = None
) -> tuple[bytes, dict[str, str]]:
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read(), {name.lower(): value for name, value in answer.headers.items()}


def test_a_presigned_url_works_for_a_plain_client(server: S3Server) -> None:
    async def check() -> None:
        async with opened(server, prefix="pre") as backend:
            up = await backend.presign("PUT", "signed/a+b", expires_in=60, content_type="text/x-up")
            await asyncio.to_thread(fetch, up.url, up.method, dict(up.headers), b"signed content")
            down = await backend.presign("GET", "signed/a+b", expires_in=60)
            body, _ = await asyncio.to_thread(fetch, down.url, down.method, dict(down.headers))
            assert body == b"signed content"
            now = time.time() * 1e6
            assert now < down.expires <= now + 61e6
            for wrong in (0, 604_801):
                with pytest.raises(errors.InvalidRequestError):
                    await backend.presign("GET", "x", expires_in=wrong)

    run(check())


def test_a_presigned_url_says_type_and_disposition_and_holds_only_for_itself(strict: S3Server) -> None:
    async def check() -> None:
        async with opened(strict) as backend:
            await backend.put("signed/x", Body.of_bytes(b"x"))
            disposition = "attachment; filename=\"a b.txt\"; filename*=UTF-8''%C3%A9.txt"
            link = await backend.presign(
                "GET", "signed/x", expires_in=60, content_type="text/html", content_disposition=disposition
            )
            _, headers = await asyncio.to_thread(fetch, link.url, "GET", {})
            assert headers["content-disposition"] == disposition
            assert headers["content-type"] == "text/html"
            for forged in (link.url.replace("signed/x", "signed/y"), link.url.replace("=60", "=61")):
                with pytest.raises(urllib.error.HTTPError, match="403"):
                    await asyncio.to_thread(fetch, forged, "GET", {})

    run(check())


def test_foreign_keys_are_listed_as_they_are() -> None:
    async def check(running: S3Server) -> None:
        async with opened(running) as backend:
            foreign = ["/lead", "a//b", "a b+c", "dir/", "ключ", "tab\there", "x/./y"]
            for key in foreign:
                await backend._client.call(Where("put", "s3"), "PUT", key, body=b"x")
            assert await names(backend) == sorted(foreign)
            assert await names(backend, "a/") == ["a//b"]
            assert await names(backend, "", "dir/") == ["tab\there", "x/./y", "ключ"]
            await deleting.delete_many(backend._client, Where("delete", "s3"), [*foreign, "absent"])
            assert await names(backend) == []

    with require(SERVERS["moto"]) as running:
        run(check(running))


def test_a_listing_goes_on_over_pages_with_any_prefix_and_start(strict: S3Server) -> None:
    async def check() -> None:
        async with opened(strict, prefix="many") as backend:
            wanted = sorted(f"{i % 3}/{i:05d}" for i in range(2300))
            for start in range(0, len(wanted), 100):
                await asyncio.gather(
                    *(backend.put(name, Body.of_bytes(b"")) for name in wanted[start : start + 100])
                )
            assert await names(backend) == wanted
            assert await names(backend, "1/01") == [name for name in wanted if name.startswith("1/01")]
            assert await names(backend, "", wanted[1999]) == wanted[2000:]
            await backend.delete_many(wanted)

    run(check())


@pytest.mark.parametrize("same", [False, True], ids=["own content", "same content"])
@pytest.mark.parametrize("size", [100, PART + 100])
def test_of_sixteen_writers_if_absent_one_wins(server: S3Server, size: int, same: bool) -> None:
    async def attempt(backend: ObjectStoreBackend, name: str, seed: int) -> int | None:
        try:
            await backend.put(name, Body.of_bytes(noise(size, 0 if same else seed)), if_absent=True)
            return seed
        except errors.AlreadyExistsError:
            return None

    async def check() -> None:
        async with opened(server) as backend:
            if Capability.IF_ABSENT not in backend.capabilities:
                with pytest.raises(errors.UnsupportedError):
                    await backend.put("race", Body.of_bytes(b""), if_absent=True)
                return
            name = f"race/{size}-{same}"
            winners = [
                seed
                for seed in await asyncio.gather(*(attempt(backend, name, seed) for seed in range(16)))
                if seed is not None
            ]
            assert len(winners) == 1
            assert await read(backend, name) == noise(size, 0 if same else winners[0])
            assert await open_uploads(backend, name) == 0

    run(check())


# -- encrypted transport and encrypted rest ------------------------------------------------------------------------
@pytest.mark.parametrize("checksum", ["auto", "sha256", "when_required"])
@pytest.mark.parametrize("sse", ["none", "sse-s3", "sse-kms", "sse-c"])
def test_encryption_by_the_server(secure: S3Server, sse: str, checksum: str) -> None:
    extra: dict[str, Any] = {"sse": sse, "checksum": checksum, "prefix": f"{sse}-{checksum}"}
    if sse == "sse-c":
        extra["sse_c_key"] = base64.b64encode(b"k" * 32).decode()
    if sse == "sse-kms":
        extra["sse_kms_key_id"] = "holdfast-key"

    async def check() -> None:
        async with opened(secure, **extra) as backend:
            for size in (10, PART + 1, 3 * PART):
                data = noise(size)
                await backend.put("plain", Body.of_stream(stream(data)))
                assert await read(backend, "plain") == data
                assert await read(backend, "plain", ByteRange(5, 8)) == data[5:9]
                await backend.put(f"new-{size}", Body.of_stream(stream(data), size=size), if_absent=True)
                assert await read(backend, f"new-{size}") == data
                await backend.copy("plain", "copied")
                assert await read(backend, "copied") == data
            info = await backend.head("copied")
            where = Where("copy", "s3")
            prefix = backend._settings.prefix
            await copying.copy(
                backend._client, where, f"{prefix}copied", f"{prefix}parts", info, single=1, part=PART
            )
            assert await read(backend, "parts") == data

    run(check())


def test_a_customer_key_is_needed_to_read(secure: S3Server) -> None:
    async def check() -> None:
        key = base64.b64encode(b"k" * 32).decode()
        async with opened(secure, sse="sse-c", sse_c_key=key) as backend, opened(secure) as without:
            await backend.put("locked", Body.of_bytes(b"secret"))
            with pytest.raises(errors.HoldfastError):
                await read(without, "locked")

    run(check())


def test_an_untrusted_certificate_is_a_configuration_error(secure: S3Server) -> None:
    async def check() -> None:
        async with opened(secure, ca_file=None) as backend:
            with pytest.raises(errors.ConfigError, match="ca_file"):
                await backend.put("x", Body.of_bytes(b""))
            with pytest.raises(errors.ConfigError, match="ca_file"):
                await names(backend)
        async with opened(secure, ca_file=None, verify_tls=False) as backend:
            await backend.put("x", Body.of_bytes(b"y"))
            assert await names(backend, "x") == ["x"]

    run(check())


# -- wrong keys, wrong bucket --------------------------------------------------------------------------------------
VERBS: dict[str, Callable[[ObjectStoreBackend], Coroutine[Any, Any, Any]]] = {
    "put": lambda backend: backend.put("verb", Body.of_bytes(b"x")),
    "put large": lambda backend: backend.put("verb", Body.of_bytes(noise(PART + 1))),
    "put known": lambda backend: backend.put("verb", known(noise(PART + 1))),
    "put if absent": lambda backend: backend.put("verb-new", Body.of_bytes(noise(PART + 1)), if_absent=True),
    "get": lambda backend: read(backend, "verb"),
    "range": lambda backend: read(backend, "verb", ByteRange(0, 0)),
    "head": lambda backend: backend.head("verb"),
    "delete": lambda backend: backend.delete("verb"),
    "list": lambda backend: names(backend),
    "copy": lambda backend: backend.copy("verb", "verb2"),
}


@pytest.mark.parametrize("wrong", ["access_key", "secret_key", "session_token"])
@pytest.mark.parametrize("verb", sorted(VERBS))
def test_wrong_credentials_are_named_and_never_shown(strict: S3Server, verb: str, wrong: str) -> None:
    async def check() -> None:
        async with opened(strict, **{wrong: CANARY}) as backend:
            with pytest.raises(errors.UnauthenticatedError) as caught:
                await VERBS[verb](backend)
            shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
            if wrong != "access_key":
                assert CANARY not in shown
            assert strict.secret_key not in shown

    run(check())


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_missing_bucket_is_a_configuration_error(strict: S3Server, verb: str) -> None:
    async def check() -> None:
        async with opened(strict, bucket="no-such-bucket") as backend:
            with pytest.raises(errors.ConfigError, match="bucket"):
                await VERBS[verb](backend)

    run(check())


def test_refreshed_keys_are_used_by_both_clients(strict: S3Server) -> None:
    asked = 0

    async def keys() -> Credentials:
        nonlocal asked
        asked += 1
        return Credentials(strict.access_key, strict.secret_key, expires=int((time.time() + 3600) * 1e6))

    async def check() -> None:
        source = RefreshingCredentials(keys, clock=SystemClock())
        settings = settings_for(strict, credentials="refreshing", access_key="", secret_key="")
        backend = open_s3("s3", settings, environment=Environment(), source=source)
        await asyncio.gather(*(backend.put(f"fresh/{i}", Body.of_bytes(b"x")) for i in range(8)))
        assert len(await names(backend, "fresh/")) == 8
        await backend.close()
        assert asked == 1

    run(check())


# -- a server that is down, silent, busy ---------------------------------------------------------------------------
@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_server_that_is_down_is_unavailable(verb: str) -> None:
    gone = S3Server("none", f"http://127.0.0.1:{free_port()}", "us-east-1", "b", "k", CANARY)

    async def check() -> None:
        async with opened(gone, retries=1) as backend:
            with pytest.raises(errors.UnavailableError) as caught:
                await VERBS[verb](backend)
            assert caught.value.retryable
            assert CANARY not in "".join(traceback.format_exception(caught.value))

    run(check())


@contextlib.asynccontextmanager
async def behind(
    server: S3Server, default: Fault | None = None, clock: Any = None, **extra: Any
) -> AsyncIterator[tuple[Proxy, ObjectStoreBackend]]:
    async with Proxy(server.host, server.port, default=default) as proxy:
        async with opened(server, clock=clock, endpoint=proxy.url, **extra) as backend:
            yield proxy, backend


@pytest.mark.parametrize("fault", [Hole(), Refuse()], ids=["silent", "reset"])
@pytest.mark.parametrize("verb", sorted(VERBS))
def test_a_server_that_says_nothing_is_given_up(strict: S3Server, verb: str, fault: Fault) -> None:
    async def check() -> None:
        async with behind(strict, fault, retries=0, read_timeout=0.4, connect_timeout=0.4) as (_, backend):
            began = time.monotonic()
            with pytest.raises(errors.UnavailableError):
                await VERBS[verb](backend)
            assert time.monotonic() - began < 8

    run(check())


BUSY = [Answer(503, "SlowDown"), Answer(503), Answer(500, "InternalError"), Answer(429), Refuse()]


@pytest.mark.parametrize("fault", BUSY, ids=["slowdown", "503", "500", "429", "reset"])
@pytest.mark.parametrize("verb", sorted(VERBS))
def test_what_passes_is_outlasted(strict: S3Server, verb: str, fault: Fault) -> None:
    async def check() -> None:
        async with opened(strict) as direct:
            await direct.put("verb", Body.of_bytes(b"x"))
            await direct.delete("verb-new")
        async with behind(strict, clock=SleeplessClock(), retries=3) as (proxy, backend):
            proxy.script(fault, times=2)
            await VERBS[verb](backend)
            assert (proxy.pending, sum(proxy.done.values())) == (0, 2)

    run(check())


def test_a_server_that_stays_busy_is_reported_with_its_wish(strict: S3Server) -> None:
    async def check() -> None:
        clock = SleeplessClock()
        async with behind(strict, Answer(503, "SlowDown", 7), clock=clock, retries=2) as (proxy, backend):
            with pytest.raises(errors.RateLimitedError) as caught:
                await names(backend)
            assert caught.value.retry_after == 7
            assert clock.slept == [7, 7]
            assert len(proxy.seen) == 3
            with pytest.raises(errors.RateLimitedError):
                await backend.put("busy", Body.of_bytes(b"x"))

    run(check())


def test_a_slow_server_is_waited_for(strict: S3Server) -> None:
    async def check() -> None:
        data = noise(200_000)
        async with behind(strict, Throttle(latency=0.3, rate=400_000), read_timeout=1) as (_, backend):
            await backend.put("slow", Body.of_bytes(data))
            assert await read(backend, "slow") == data
            assert "slow" in await names(backend)

    run(check())


# -- bytes that do not arrive --------------------------------------------------------------------------------------
def is_get(head: Head) -> bool:
    return head.method == "GET" and "list-type" not in head.target


BREAKS: list[Callable[[int], Fault]] = [
    lambda size: Truncate(length=size // 9, match=is_get),
    lambda size: Cut(after=size // 9, reset=True, match=is_get),
    lambda size: Cut(after=0, reset=False, match=is_get),
]


@pytest.mark.parametrize("make", BREAKS, ids=["truncated", "reset", "no body"])
@pytest.mark.parametrize("size", [4096, 3 * MIB])
def test_a_body_that_breaks_off_is_resumed_or_an_error_never_short(
    strict: S3Server, size: int, make: Callable[[int], Fault]
) -> None:
    async def check() -> None:
        data = noise(size)
        async with opened(strict) as direct:
            await direct.put("broken", Body.of_bytes(data))
        async with behind(strict) as (proxy, backend):
            proxy.script(make(size))
            assert await read(backend, "broken") == data
            proxy.script(make(size))
            assert await fetched(backend, "broken", size) == data
            assert proxy.pending == 0
        async with behind(strict, make(size), retries=1) as (_, backend):
            with pytest.raises(errors.UnavailableError):
                await fetched(backend, "broken", size)
            with pytest.raises(errors.UnavailableError):
                await read(backend, "broken")
            with pytest.raises(errors.UnavailableError):
                await read(backend, "broken", ByteRange(1, size - 2))

    run(check())


def is_put(head: Head) -> bool:
    return head.method == "PUT"


@pytest.mark.parametrize("size", [100, 4096, MIB, 2 * PART])
def test_a_bit_that_flips_on_the_way_up_is_noticed(strict: S3Server, size: int) -> None:
    async def check() -> None:
        data = noise(size)
        async with behind(strict, Flip(offset=50, upward=True, match=is_put), retries=1) as (_, backend):
            for if_absent in (False, True):
                with pytest.raises(errors.CorruptedError) as caught:
                    await backend.put(f"flipped-{size}", Body.of_bytes(data), if_absent=if_absent)
                assert caught.value.retryable
        async with opened(strict) as direct:
            assert await names(direct, "flipped") == []
            assert await open_uploads(direct, f"flipped-{size}") == 0

    run(check())


def test_a_small_body_that_is_damaged_is_noticed_where_the_server_checks_nothing() -> None:
    async def check(running: S3Server) -> None:
        async with behind(running, Flip(offset=50, upward=True, match=is_put)) as (_, backend):
            with pytest.raises(errors.CorruptedError):
                await backend.put("flipped", Body.of_bytes(noise(4096)))
        async with opened(running) as direct:
            assert await names(direct, "flipped") == []

    with require(SERVERS["moto"]) as running:
        run(check(running))


def test_what_is_read_back_is_not_compared_by_its_etag_unless_it_sleeps() -> None:
    async def check(running: S3Server) -> None:
        options = PutOptions(read_back=True)
        async with behind(running, Flip(offset=50, upward=True, match=is_put)) as (_, backend):
            await backend.put("later", Body.of_bytes(noise(4096)), options=options)
            assert await fetched(backend, "later", 4096) != noise(4096)
        asleep = {"storage_class": "DEEP_ARCHIVE"}
        async with behind(running, Flip(offset=50, upward=True, match=is_put), **asleep) as (_, backend):
            with pytest.raises(errors.CorruptedError):
                await backend.put("never", Body.of_bytes(noise(4096)), options=options)

    with require(SERVERS["moto"]) as running:
        run(check(running))


def test_a_server_that_answers_ranges_with_the_whole_is_asked_so_once(server: S3Server) -> None:
    """One that does needs another request to be read from; it is remembered, and never believed less."""

    async def check() -> None:
        data = noise(9000)
        async with opened(server) as direct:
            await direct.put("small", Body.of_bytes(data))
        ranged: list[bool] = []

        def note(head: Head) -> bool:
            if is_get(head):
                ranged.append("range" in head.headers)
            return False

        async with behind(server, Hole(match=note)) as (_, backend):
            for _ in range(3):
                assert await fetched(backend, "small", len(data)) == data
        assert ranged == ([True, False, False, False] if server.kind == "rclone" else [True] * 3)

    run(check())


def _part(said: str | None) -> Answer:
    headers = () if said is None else (("Content-Range", said),)
    told = (("ETag", '"abc"'), ("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT"))
    return Answer(206, headers=(*told, *headers), body=noise(100), match=lambda head: "range" in head.headers)


@pytest.mark.parametrize(
    "odd",
    [
        Answer(416, "InvalidRange", match=lambda head: "range" in head.headers),
        _part("bytes 0-100/100"),
        _part("bytes 0-99/*"),
        _part("rubbish"),
        _part(None),
    ],
    ids=["not clipped", "end echoed", "size unsaid", "rubbish", "nothing said"],
)
def test_a_server_that_answers_ranges_oddly_is_read_without(strict: S3Server, odd: Answer) -> None:
    async def check() -> None:
        async with opened(strict) as direct:
            await direct.put("odd", Body.of_bytes(noise(100)))
        async with behind(strict, odd) as (_, backend):
            for _ in range(2):
                assert await fetched(backend, "odd", 100) == noise(100)
            for other in (50, 99, 101):
                with pytest.raises(OtherSizeError):
                    await fetched(backend, "odd", other)

    run(check())


def test_a_cut_upload_leaves_old_content(strict: S3Server) -> None:
    async def check() -> None:
        async with opened(strict) as direct:
            await direct.put("kept", Body.of_bytes(b"old"))
            cut = Cut(after=1000, upward=True, match=is_put)
            async with behind(strict, cut, retries=1) as (_, backend):
                for data in (noise(100_000), noise(2 * PART)):
                    with pytest.raises(errors.UnavailableError):
                        await backend.put("kept", Body.of_bytes(data))
            assert await read(direct, "kept") == b"old"
            assert await open_uploads(direct, "kept") == 0

    run(check())


# -- bodies that are known before they flow ------------------------------------------------------------------------
def test_a_known_body_goes_in_one_request_that_says_what_it_is(server: S3Server) -> None:
    async def check() -> None:
        data = noise(PART + 9)
        async with behind(server) as (proxy, backend):
            options = PutOptions("text/plain", {"colour": "grün"})
            assert (await backend.put("known", known(data), options=options)).size == len(data)
            (head,) = (one for one in proxy.seen if one.method in ("PUT", "POST"))
            assert head.headers["x-amz-content-sha256"] == hashlib.sha256(data).hexdigest()
            assert (head.headers["expect"], head.length) == ("100-continue", len(data))
            sizes = backend.put_requests(len(data)), backend.put_requests(len(data), known(data).known)
            assert sizes == (4, 1)  # begun, two parts, completed
            assert await read(backend, "known") == data
            assert (await backend.head("known")).metadata == {"colour": "grün"}

    run(check())


@pytest.mark.parametrize("way", ["strict", "secure"])
def test_a_server_refuses_what_is_not_what_was_known(way: str, request: pytest.FixtureRequest) -> None:
    async def check(server: S3Server) -> None:
        data, other = noise(PART + 9), noise(PART + 9, 1)
        async with opened(server, retries=0) as backend:
            with pytest.raises(errors.CorruptedError):
                await backend.put("damaged", known(data, said=other))
            assert await names(backend, "damaged") == []
            await backend.put("damaged", known(data))
            assert await read(backend, "damaged") == data

    run(check(request.getfixturevalue(way)))


@pytest.mark.parametrize("fault", [Hole, functools.partial(Answer, 417)])
def test_a_server_that_does_not_say_whether_it_wants_a_body_is_not_asked_again(
    strict: S3Server, fault: Callable[..., Fault]
) -> None:
    async def check() -> None:
        data = noise(PART + 1)
        async with behind(strict, retries=0, read_timeout=0.7) as (proxy, backend):
            proxy.script(fault(match=lambda head: "expect" in head.headers))
            for name in ("unasked", "unasked-2"):
                await backend.put(name, known(data))
                assert await read(backend, name) == data
            assert ["expect" in head.headers for head in proxy.seen if is_put(head)] == [True, False, False]

    run(check())


def test_a_refusal_is_heard_before_a_known_body_flows(strict: S3Server) -> None:
    async def check() -> None:
        begun = False

        async def chunks() -> AsyncIterator[bytes]:
            nonlocal begun
            begun = True
            yield noise(PART + 1)

        body = replace(known(noise(PART + 1)), opener=chunks, replayable=False)
        async with opened(strict, secret_key=CANARY) as backend:
            with pytest.raises(errors.UnauthenticatedError):
                await backend.put("refused", body)
            assert not begun

    run(check())


@pytest.mark.parametrize("replayable", [True, False])
def test_a_known_body_is_sent_again_only_if_it_can_be_read_again(strict: S3Server, replayable: bool) -> None:
    async def check() -> None:
        data = noise(PART + 1)
        body = replace(known(data), replayable=replayable)
        async with behind(strict, clock=SleeplessClock(), retries=1) as (proxy, backend):
            proxy.script(Cut(after=MIB, upward=True, match=is_put))
            if replayable:
                await backend.put("again", body)
                assert await read(backend, "again") == data
            else:
                with pytest.raises(errors.UnavailableError):
                    await backend.put("again-not", body)
                assert await names(backend, "again-not") == []

    run(check())


@pytest.mark.parametrize("end", ["fails", "cancelled"])
def test_a_known_body_that_ends_early_leaves_nothing_and_is_let_go_of(strict: S3Server, end: str) -> None:
    closed = asyncio.Event()

    async def chunks(stuck: asyncio.Event) -> AsyncIterator[bytes]:
        try:
            yield noise(MIB)
            stuck.set()
            if end == "cancelled":
                await asyncio.sleep(60)
            raise errors.DigestMismatchError("wrong")
        finally:
            closed.set()

    async def check() -> None:
        stuck = asyncio.Event()
        async with opened(strict) as backend:
            body = replace(known(noise(PART + 1)), opener=lambda: chunks(stuck))
            put = asyncio.ensure_future(backend.put("early", body))
            await stuck.wait()
            if end == "cancelled":
                put.cancel()
            with pytest.raises((errors.DigestMismatchError, asyncio.CancelledError)):
                await put
            await asyncio.wait_for(closed.wait(), 5)
            assert await names(backend, "early") == []

    run(check())


# -- uploads that end early ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("if_absent", [False, True])
def test_a_source_that_fails_leaves_nothing(strict: S3Server, if_absent: bool) -> None:
    async def check() -> None:
        async with opened(strict) as backend:
            body = Body.of_stream(stream(noise(2 * PART + 9), then=errors.DigestMismatchError("wrong")))
            with pytest.raises(errors.DigestMismatchError, match="wrong"):
                await backend.put("failed", body, if_absent=if_absent)
            assert await names(backend, "failed") == []
            assert await open_uploads(backend, "failed") == 0

    run(check())


@pytest.mark.parametrize("stuck", [False, True], ids=["flowing", "source stuck"])
@pytest.mark.parametrize("if_absent", [False, True])
def test_a_cancelled_upload_gives_its_parts_back(strict: S3Server, if_absent: bool, stuck: bool) -> None:
    async def source(sent: asyncio.Event) -> AsyncIterator[bytes]:
        for index in range(1000):
            yield noise(MIB, index % 4)
            if index == 12:
                sent.set()
                if stuck:
                    await asyncio.sleep(60)
            await asyncio.sleep(0)

    async def check() -> None:
        async with opened(strict) as backend:
            sent = asyncio.Event()
            name = f"cancelled-{if_absent}-{stuck}"
            body = Body.of_stream(source(sent), size=1000 * MIB)
            put = asyncio.ensure_future(backend.put(name, body, if_absent=if_absent))
            await sent.wait()
            await asyncio.sleep(0.05)
            assert await open_uploads(backend, name) == 1
            put.cancel()
            with pytest.raises(asyncio.CancelledError):
                await put
            assert await open_uploads(backend, name) == 0
            assert await names(backend, name) == []

    run(check())


def test_what_a_killed_process_left_is_found_and_aborted() -> None:
    async def left_behind(backend: ObjectStoreBackend, name: str) -> None:
        """The library used plainly: cancelled, it leaves its upload open. (Why `Feed` exists.)"""
        source = stream(noise(4 * PART), step=MIB)

        async def slow() -> AsyncIterator[bytes]:
            async for chunk in source:
                yield chunk
                await asyncio.sleep(0.05)

        store = backend._driver._opened(await backend._driver.keys())
        plain = asyncio.ensure_future(
            obstore.put_async(store, name, slow(), chunk_size=PART)  # type: ignore[arg-type]
        )
        await asyncio.sleep(0.7)
        plain.cancel()
        await asyncio.gather(plain, return_exceptions=True)

    async def check(running: S3Server) -> None:
        async with opened(running, prefix="mine") as backend, opened(running, prefix="other") as other:
            await left_behind(backend, "mine/orphan")
            assert await open_uploads(backend, "orphan") == 1
            assert await backend.abort_stale_uploads(3600) == 0
            assert await other.abort_stale_uploads(-1) == 0
            assert await backend.abort_stale_uploads(-1) == 1
            assert await open_uploads(backend, "orphan") == 0
            for name in ("orphan", "orphan-too"):
                await left_behind(backend, f"mine/{name}")
            await backend.discard("orphan")
            assert await open_uploads(backend, "orphan-too") == 1
            await backend.discard("orphan-too")
            await backend.discard("orphan-too")
            assert await open_uploads(backend, "orphan") == 0

    with require(SERVERS["rclone"]) as running:
        run(check(running))


def test_a_discard_aborts_the_uploads_of_exactly_that_blob(strict: S3Server) -> None:
    async def check() -> None:
        async with opened(strict) as backend:
            where = Where("put", "s3")
            for name in ("discarded", "discarded"):
                await Multipart(backend._client, where, backend._key(name)).create({})
            assert await open_uploads(backend, "discarded") >= 1
            await backend.discard("discarded")
            assert await open_uploads(backend, "discarded") == 0

    run(check())


def is_completion(head: Head) -> bool:
    return head.method == "POST" and "uploadId" in head.target


@pytest.mark.parametrize("if_absent", [False, True])
def test_an_answer_lost_after_completion_is_found_out(strict: S3Server, if_absent: bool) -> None:
    async def check() -> None:
        data = noise(2 * PART + 5)
        lost = Answer(503, match=is_completion, after_effect=True)
        async with behind(strict, clock=SleeplessClock()) as (proxy, backend):
            proxy.script(lost)
            # Overwriting goes through the library, which cannot find out; then it is an error, not a wrong answer.
            allowed = () if if_absent else (errors.UnavailableError, errors.NotFoundError)
            with contextlib.suppress(*allowed):
                info = await backend.put(f"lost-{if_absent}", Body.of_bytes(data), if_absent=if_absent)
                assert info.size == len(data)
            assert proxy.done["Answer"] == 1
            assert await read(backend, f"lost-{if_absent}") == data

    run(check())


# -- memory and addressing -----------------------------------------------------------------------------------------
def peak(reset: bool = False) -> int:
    """Return the highest resident size since the last reset, in bytes."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10


@pytest.mark.parametrize("how", ["known", "unknown", "if_absent"])
def test_memory_stays_flat_while_192_mebibytes_flow(strict: S3Server, how: str) -> None:
    block = noise(MIB)
    count = 192

    async def source() -> AsyncIterator[bytes]:
        for _ in range(count):
            yield bytes(bytearray(block))

    async def check() -> None:
        async with opened(strict) as backend:
            await backend.put("warm", Body.of_bytes(noise(PART + 1)))
            await read(backend, "warm")
            before = peak(reset=True)
            size = None if how == "unknown" else count * MIB
            body = Body.of_stream(source(), size=size)
            await backend.put(f"flow-{how}", body, if_absent=how == "if_absent")
            assert peak() - before < 45 * MIB
            before = peak(reset=True)
            async with backend.get(f"flow-{how}") as reader:
                assert sum([len(chunk) async for chunk in reader]) == count * MIB
            assert peak() - before < 40 * MIB
            await backend.delete(f"flow-{how}")

    run(check())


def test_virtual_addressing_puts_the_bucket_into_the_host() -> None:
    async def check() -> None:
        # The bucket "127" before the host "0.0.1" makes a host that every machine resolves.
        async with Proxy("127.0.0.1", 1, default=Answer(200, headers=(("ETag", '"e"'),))) as proxy:
            pretended = S3Server("none", f"http://0.0.1:{proxy.port}", "us-east-1", "127", "k", "s")
            listening = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
            proxy._upstream = listening.sockets[0].getsockname()[:2]
            async with opened(pretended, addressing="virtual", prefix="pre") as backend:
                await backend.put("a+b", Body.of_bytes(b"x"))
                await backend._client.call(Where("put", "s3"), "PUT", "pre/a+b", body=b"x")
                link = await backend.presign("GET", "a+b", expires_in=5)
            listening.close()
            assert link.url.startswith(f"http://127.0.0.1:{proxy.port}/pre/a%2Bb?")
            assert [(head.method, head.headers["host"]) for head in proxy.seen] == [
                ("PUT", f"127.0.0.1:{proxy.port}")
            ] * 2
            assert [head.target for head in proxy.seen] == ["/pre/a%2Bb"] * 2

    run(check())
