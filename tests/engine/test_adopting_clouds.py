"""What others wrote into a container of Azure and a bucket of Google: by its own key, as one content, and no other."""

from __future__ import annotations

import asyncio
import gzip
import itertools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from holdfast.backends.object_store.azure import listing
from holdfast.backends.object_store.errors import Where
from holdfast.backends.object_store.gcs import GcsSettings, open_gcs
from holdfast.core.adopted import Hold, Upstream, foreign_name, key_of, parse_foreign
from holdfast.core.backend import Backend, Capability, PutOptions
from holdfast.core.body import Body
from holdfast.core.clock import Environment, SystemClock
from holdfast.core.errors import (
    InvalidRangeError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnavailableError,
)
from holdfast.core.types import ByteRange
from holdfast.jobs.adopt import Adopt
from holdfast.jobs.follow import Follow
from holdfast.testing.azurite import AzureServer, azurite
from holdfast.testing.fakes.gcs import FakeGcs, Fault
from holdfast.testing.harness import pieces
from holdfast.testing.proxy import Answer, Proxy, Refuse, Truncate
from holdfast.testing.servers import require
from tests import azure_tools
from tests.engine.alone import run_alone
from tests.engine.outage import Ground, whereabouts
from tests.engine.test_adopting import KEYS
from tests.helpers import content, noise, run

pytestmark = [pytest.mark.engine, pytest.mark.timeout(60)]

MIB = 1 << 20
ODD = (*KEYS, "plus+%2B", "emoji 😀", "a/./b", "..", "ends/", "tilde~'()!*")
LARGE = noise(5 * MIB + 12_345)
_numbers = itertools.count(1)


class Clock(SystemClock):
    """Real time, but nobody waits."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@dataclass
class Cloud:
    """A service, and stores in a folder of it that is this test's own."""

    kind: str
    azure: AzureServer
    google: FakeGcs
    prefix: str
    opened: list[Backend]

    def open(self, **changed: Any) -> Any:
        environment = Environment(clock=Clock())
        if self.kind == "azure":
            changed = {"prefix": self.prefix, "part_size": MIB, **changed}
            return self._kept(azure_tools.store(self.azure, environment, **changed))
        values = {**self.google.settings(), "prefix": self.prefix, "part_size": 5 * MIB, **changed}
        return self._kept(open_gcs("gcs", GcsSettings.model_validate(values), environment=environment))

    def through(self, port: int) -> Any:
        """Return a store that goes through what listens on `port`."""
        if self.kind == "azure":
            return self.open(endpoint=f"http://127.0.0.1:{port}/{self.azure.account}")
        return self.open(endpoint=f"http://127.0.0.1:{port}")

    @property
    def port(self) -> int:
        return self.azure.port if self.kind == "azure" else int(self.google.endpoint.rpartition(":")[2])

    def tell(self, story: Callable[[Any], Awaitable[None]]) -> None:
        async def told() -> None:
            try:
                await story(self.open())
            finally:
                for one in self.opened:
                    await one.close()

        run(told())

    async def raw_keys(self, backend: Any) -> list[str]:
        """Return the keys as the service itself has them."""
        if self.kind == "azure":
            pages = listing.pages(backend._client, Where("list", "az"), self.prefix)
            found = [info.name async for page in pages for info in page.blobs]
        else:
            found = [key for key in self.google.bucket.objects if key.startswith(self.prefix)]
        return sorted(key[len(self.prefix) :] for key in found)

    def _kept(self, backend: Any) -> Any:
        self.opened.append(backend)
        return backend


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[AzureServer, FakeGcs]]:
    with require(azurite) as azure, FakeGcs() as google:
        yield azure, google


@pytest.fixture
def clouds(servers: tuple[AzureServer, FakeGcs]) -> Callable[[str], Cloud]:
    return lambda kind: Cloud(kind, *servers, f"t{next(_numbers)}/", [])


@pytest.fixture(params=["azure", "gcs"])
def cloud(request: pytest.FixtureRequest, clouds: Callable[[str], Cloud]) -> Cloud:
    return clouds(request.param)


async def put(backend: Backend, key: str, data: bytes, **how: Any) -> str:
    made = await backend.put(foreign_name(key), Body.of_bytes(data), options=PutOptions(**how))
    assert made.etag
    return made.etag


async def read(backend: Backend, name: str, wish: ByteRange | None = None) -> bytes:
    async with backend.get(name, range=wish) as reader:
        return await reader.read()


async def listed(backend: Backend, prefix: str = "", after: str = "") -> list[Any]:
    start = foreign_name(after) if after else ""
    return [info async for info in backend.list(foreign_name(prefix), after=start)]


def test_every_key_comes_back_with_one_etag(cloud: Cloud) -> None:
    keys = sorted(ODD)

    async def story(backend: Backend) -> None:
        assert Capability.ADOPT in backend.capabilities
        pins = {key: await put(backend, key, key.encode()) for key in keys}
        assert await cloud.raw_keys(backend) == keys
        found = await listed(backend)
        assert [key_of(info.name) for info in found] == keys
        for info in found:
            key = key_of(info.name)
            head = await backend.head(info.name)
            assert (head.size, head.etag, head.name) == (len(key.encode()), pins[key], info.name)
            assert (info.size, info.etag, info.modified // 10**6) == (
                head.size,
                head.etag,
                head.modified // 10**6,
            )
            pinned = foreign_name(key, pins[key], Hold.KEEP)
            async with backend.get(pinned) as reader:
                assert (await reader.read(), reader.info.etag, reader.info.name) == (
                    key.encode(),
                    pins[key],
                    pinned,
                )
        assert [key_of(one.name) for one in await listed(backend, "a/")] == ["a/./b", "a//c", "a/b"]
        behind = [key_of(one.name) for one in await listed(backend, after="n.floe1")]
        assert behind == [key for key in keys if key > "n.floe1"]
        assert await listed(backend, "a/", after="b") == []
        for key in keys:
            await backend.delete(foreign_name(key))
            await backend.delete(foreign_name(key))
        assert await cloud.raw_keys(backend) == []

    cloud.tell(story)


def test_a_pin_is_one_content_and_never_another(cloud: Cloud) -> None:
    async def story(backend: Backend) -> None:
        old = foreign_name("k", await put(backend, "k", b"old"), Hold.KEEP)
        pin = await put(backend, "k", b"new")
        owned = foreign_name("k", pin, Hold.OWN)
        stale = foreign_name("k", old.partition(":")[2].partition("/")[0], Hold.OWN)
        for wish in (None, ByteRange(1), ByteRange(None, 2)):
            with pytest.raises(NotFoundError, match="another content"):
                await read(backend, old, wish)
        with pytest.raises(NotFoundError):
            await backend.head(old)
        with pytest.raises(NotFoundError):
            await backend.copy(old, "copied")  # type: ignore[attr-defined]
        for name in (old, stale, foreign_name("k", pin, Hold.KEEP)):
            await backend.delete(name)
            await backend.discard(name)
        assert await read(backend, owned) == b"new"
        with pytest.raises(InvalidRequestError, match="not written over"):
            await backend.put(owned, Body.of_bytes(b"x"))
        await backend.delete(owned)
        await backend.discard(owned)
        for name in (owned, foreign_name("k")):
            with pytest.raises(NotFoundError):
                await backend.head(name)
            with pytest.raises(NotFoundError):
                await read(backend, name)

    cloud.tell(story)


def test_ranges(cloud: Cloud) -> None:
    async def story(backend: Backend) -> None:
        data = noise(100_000)
        name = foreign_name("r", await put(backend, "r", data), Hold.KEEP)
        for wish in (
            *(ByteRange(0), ByteRange(5), ByteRange(5, 9), ByteRange(99_999), ByteRange(99_990, 10**9)),
            *(ByteRange(None, 1), ByteRange(None, 10**9), ByteRange(0, 99_999)),
        ):
            span = wish.resolve(len(data))
            async with backend.get(name, range=wish) as reader:
                assert (reader.span, reader.info.size) == (span, len(data))
                assert await reader.read() == data[span.offset : span.end]
        await put(backend, "empty", b"")
        assert await read(backend, foreign_name("empty")) == b""
        for key, bad in (("r", ByteRange(100_000)), ("r", ByteRange(9, 5)), ("r", ByteRange(None, 0))):
            with pytest.raises(InvalidRangeError):
                await read(backend, foreign_name(key), bad)
        for bad in (ByteRange(0), ByteRange(None, 5)):
            with pytest.raises(InvalidRangeError):
                await read(backend, foreign_name("empty"), bad)
        for key in ("x" * 1100, "\udcff"):
            with pytest.raises(InvalidRequestError, match=r"1,024"):
                await backend.head(foreign_name(key))

    cloud.tell(story)


def test_a_large_body_goes_in_parts_with_all_that_is_said_of_it(cloud: Cloud) -> None:
    said: dict[str, Any] = {
        "content_type": "text/x-own",
        "metadata": {"a-b": "ü", "n": "1"},
        "tags": {"t": "1 +", "ü": "x"},
    }

    async def story(backend: Backend) -> None:
        for body in (Body.of_stream(pieces(LARGE, 300_000)), Body.of_bytes(b"small")):
            size = body.size or len(LARGE)
            made = await backend.put(foreign_name("big"), body, options=PutOptions(**said))
            head = await backend.head(foreign_name("big"))
            assert (made.size, made.etag) == (head.size, head.etag) == (size, (await listed(backend))[0].etag)
            assert (head.content_type, head.metadata) == (said["content_type"], said["metadata"])
            assert head.tags == ({"t": "1 +"} if cloud.kind == "azure" else {})
            if size > 10:
                async with backend.get(foreign_name("big", made.etag or "", Hold.KEEP)) as reader:
                    chunks = [chunk async for chunk in reader]
                assert max(map(len, chunks)) <= 256 << 10
                assert b"".join(chunks) == LARGE

    cloud.tell(story)


def test_broken_answers_are_told_and_passing_trouble_is_passed(cloud: Cloud) -> None:
    async def story(backend: Backend) -> None:
        data = noise(2 * MIB)
        name = foreign_name("b", await put(backend, "b", data), Hold.KEEP)
        async with Proxy("127.0.0.1", cloud.port) as proxy:
            there = cloud.through(proxy.port)
            await there.head(name)

            def is_get(head: Any) -> bool:
                return bool(head.method == "GET" and "/b" in head.target)

            for fault in (Answer(503, retry_after=0, match=is_get), Refuse(match=is_get)):
                proxy.script(fault)
                assert await read(there, name) == data
            assert sum(proxy.done.values()) == 2
            proxy.script(Truncate(length=MIB, match=is_get))
            with pytest.raises(UnavailableError):
                await read(there, name)
            proxy.script(Answer(200, body=b"<html>a gateway", match=is_get), times=3)
            with pytest.raises(UnavailableError, match="not the store's own"):
                await read(there, foreign_name("b"))
            proxy.script(Answer(403, code="AccessDenied", match=is_get))
            with pytest.raises(PermissionDeniedError):
                await read(there, name)
            async with there.get(name) as reader:  # left early: the next one has no harm of it
                await anext(aiter(reader))
            assert await read(there, name, ByteRange(5, 9)) == data[5:10]

    cloud.tell(story)


def test_the_service_copies_what_others_wrote(cloud: Cloud) -> None:
    async def story(backend: Any) -> None:
        said: dict[str, Any] = {"content_type": "text/x-own", "metadata": {"m": "v"}}
        pin = await put(backend, "ü a//b", b"data" * 1000, **said)
        name = foreign_name("ü a//b", pin, Hold.KEEP)
        assert (await backend.copy(name, "one")).size == 4000
        other = cloud.open(prefix=f"{cloud.prefix}other/")
        assert other.can_copy_from(backend)
        made = await other.copy_from(backend, name, "two")
        assert (made.name, dict(made.metadata)) == ("two", {"m": "v"})
        assert await read(other, "two") == await read(backend, "one") == b"data" * 1000
        await put(backend, "ü a//b", b"changed")
        with pytest.raises(NotFoundError):
            await other.copy_from(backend, name, "three")
        with pytest.raises(NotFoundError):
            await other.head("three")

    cloud.tell(story)


def test_objects_are_adopted_followed_and_brought_home(cloud: Cloud, sqlite_url: str) -> None:
    async def story(backend: Backend) -> None:
        ground = Ground(sqlite_url, Environment())
        ground.stores["spare"] = backend  # type: ignore[assignment]
        place = {"tenant": "default", "bucket": "plain"}
        async with ground.opened(grace=0) as (engine, session):
            for key in KEYS:
                await put(backend, key, key.encode(), content_type="text/x-own", metadata={"m": "v"})
            ran = await run_alone(engine, Adopt(), {**place, "store": "spare", "heads": True}, twice=True)
            assert ran.counts.failed == 0
            for key in KEYS:
                assert await content(session, "plain", key) == key.encode()
            version = (await session.head("plain", "a//c"))[0]
            assert (version.content_type, dict(version.metadata)) == ("text/x-own", {"m": "v"})
            again = await run_alone(engine, Adopt(), {**place, "store": "spare"})
            assert again.counts.notes == {"same": len(KEYS)}
            await put(backend, "a b", b"changed there")
            assert await content(session, "plain", "a b") == b"changed there"
            await engine.catalog.attach_upstream(Upstream("default", "plain", "spare", dual_write=True))
            engine.context.following.forget()
            await put(backend, "new", noise(90_000))
            assert await content(session, "plain", "new") == noise(90_000)
            await session.put("plain", "ours", Body.of_bytes(noise(80_000)))
            await session.delete("plain", "x+y")
            for _ in range(2):
                ran = await run_alone(engine, Follow(), {**place, "passes": 1, "pause": 0.0}, most_rounds=1)
                assert ran.failures == []
            assert await whereabouts(engine, session, "plain", "new") == ["home"]
            assert await read(backend, foreign_name("ours")) == noise(80_000)
            assert sorted([*KEYS, "new", "ours"]) == sorted([*await cloud.raw_keys(backend), "x+y"])

    cloud.tell(story)


# -- what only Azure has


async def ask(backend: Any, method: str, key: str, *, done: int = 0, body: bytes = b"", **how: Any) -> Any:
    """Ask as another client of the container would."""
    where, key = Where("test", "az"), backend._prefix + key
    return await backend._client.call(where, method, key, body=body, done=done, **how)


def test_append_and_page_blobs_are_read_and_taken_as_they_are(clouds: Callable[[str], Cloud]) -> None:
    cloud = clouds("azure")

    async def story(backend: Any) -> None:
        said = {"x-ms-blob-content-type": "text/x-log", "x-ms-meta-m": "v"}
        await ask(backend, "PUT", "log", headers={"x-ms-blob-type": "AppendBlob", **said})
        for line in (b"one\n", b"two\n"):
            await ask(backend, "PUT", "log", query=[("comp", "appendblock")], body=line)
        disk = {"x-ms-blob-type": "PageBlob", "x-ms-blob-content-length": "1024", **said}
        await ask(backend, "PUT", "disk", headers=disk)
        page = {"x-ms-page-write": "update", "x-ms-range": "bytes=512-1023"}
        await ask(backend, "PUT", "disk", query=[("comp", "page")], headers=page, body=b"x" * 512)
        data = {"disk": bytes(512) + b"x" * 512, "log": b"one\ntwo\n"}
        found = await listed(backend)
        assert [(key_of(one.name), one.size) for one in found] == [("disk", 1024), ("log", 8)]
        for key, etag in [(key_of(one.name), one.etag) for one in found]:
            name = foreign_name(key, etag, Hold.KEEP)
            head = await backend.head(name)
            assert (head.content_type, head.metadata) == ("text/x-log", {"m": "v"})
            assert await read(backend, name) == data[key]
            assert await read(backend, name, ByteRange(3, 700)) == data[key][3:701]
            await backend.copy(name, f"copy/{key}")
            assert await read(backend, f"copy/{key}") == data[key]
        await ask(backend, "PUT", "log", query=[("comp", "appendblock")], body=b"three\n")
        with pytest.raises(NotFoundError):
            await read(backend, foreign_name("log", found[1].etag, Hold.KEEP))

    cloud.tell(story)


def test_snapshots_are_no_objects_and_go_with_what_is_deleted(clouds: Callable[[str], Cloud]) -> None:
    cloud = clouds("azure")

    async def story(backend: Any) -> None:
        await put(backend, "k", b"old")
        await ask(backend, "PUT", "k", query=[("comp", "snapshot")], done=201)
        pin = await put(backend, "k", b"new")
        assert [(key_of(one.name), one.etag) for one in await listed(backend)] == [("k", pin)]
        await backend.delete(foreign_name("k", pin, Hold.OWN))
        assert await listed(backend) == []

    cloud.tell(story)


@pytest.mark.parametrize("size", [10, 2 * MIB])
def test_an_account_without_tags_gets_the_blob_without_them(
    clouds: Callable[[str], Cloud], size: int
) -> None:
    cloud = clouds("azure")

    async def story(backend: Any) -> None:
        async with Proxy("127.0.0.1", cloud.port) as proxy:
            there = cloud.through(proxy.port)

            def tagged(head: Any) -> bool:
                return "x-ms-tags" in head.headers or "comp=tags" in head.target

            await put(there, "k", noise(size), tags={"t": "1"})
            assert (await there.head(foreign_name("k"))).tags == {"t": "1"}
            proxy.default = Answer(403, code="AuthorizationPermissionMismatch", match=tagged)
            assert (await there.head(foreign_name("k"))).tags == {}
            pin = await put(there, "k", noise(size, 2), tags={"t": "2"}, metadata={"m": "v"})
            head = await there.head(foreign_name("k"))
            assert (head.etag, head.tags, head.metadata) == (pin, {}, {"m": "v"})
            assert await read(there, head.name) == noise(size, 2)

    cloud.tell(story)


FOLDERS = """<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>{}</Blobs><NextMarker/></EnumerationResults>"""
ONE = "<Blob><Name>{}</Name><Properties><Etag>0x1</Etag><Content-Length>1</Content-Length>{}</Properties></Blob>"


@pytest.mark.parametrize("told", [True, False])
def test_folders_are_no_objects_and_their_order_is_not_that_of_keys(
    clouds: Callable[[str], Cloud], told: bool
) -> None:
    cloud = clouds("azure")

    def item(key: str, kind: str = "file") -> str:
        kinds = f"<ResourceType>{kind}</ResourceType>" if told else ""
        return ONE.format(cloud.prefix + key, kinds) if told or kind == "file" else ""

    async def story(backend: Any) -> None:
        keys = [item("a", "directory"), item("a/x"), item("a-b"), item("b")]
        async with Proxy("127.0.0.1", cloud.port) as proxy:
            there = cloud.through(proxy.port)
            own = (("x-ms-request-id", "1"),)
            proxy.default = Answer(200, headers=own, body=FOLDERS.format("".join(keys)).encode())
            if not told:  # that is seen only when it is too late for this listing
                with pytest.raises(UnavailableError, match="byte order"):
                    await listed(there)
            assert [key_of(one.name) for one in await listed(there)] == ["a-b", "a/x", "b"]
            assert [key_of(one.name) for one in await listed(there, after="a-b")] == ["a/x", "b"]
            proxy.default = Answer(200, headers=(*own, ("x-ms-resource-type", "directory")))
            with pytest.raises(NotFoundError, match="folder"):
                await there.head(foreign_name("a"))

    cloud.tell(story)


# -- what only Google has


def test_what_is_stored_compressed_comes_as_it_is_stored(clouds: Callable[[str], Cloud]) -> None:
    cloud = clouds("gcs")

    async def story(backend: Any) -> None:
        packed = gzip.compress(b"plain" * 1000, mtime=0)
        headers = {"content-type": "text/plain", "content-encoding": "gzip", "x-goog-meta-m": "v"}
        cloud.google.bucket.put(f"{cloud.prefix}z", packed, headers, None)
        (info,) = await listed(backend)
        name = foreign_name("z", info.etag, Hold.KEEP)
        head = await backend.head(name)
        assert (head.size, head.etag, head.metadata) == (len(packed), info.etag, {"m": "v"})
        assert await read(backend, name) == packed
        assert await read(backend, name, ByteRange(3, 9)) == packed[3:10]
        assert (await backend.copy(name, "copy")).size == len(packed)
        assert await read(backend, "copy") == packed  # and nobody unpacks it
        copied = cloud.google.bucket.objects[f"{cloud.prefix}copy"].headers
        assert copied == {"content-type": "text/plain", "x-goog-meta-m": "v"}

    cloud.tell(story)


def test_a_token_that_ended_and_an_answer_that_breaks_off(clouds: Callable[[str], Cloud]) -> None:
    cloud = clouds("gcs")

    async def story(backend: Any) -> None:
        name = foreign_name("k", await put(backend, "k", noise(900_000)), Hold.KEEP)
        cloud.google.accounts.end_all()
        assert await read(backend, name) == noise(900_000)
        assert cloud.google.requests[-1].headers["if-match"] == f'"{parse_foreign(name).pin}"'
        cloud.google.faults.add(Fault("half", method="GET"))
        with pytest.raises(UnavailableError):
            await read(backend, name)

    cloud.tell(story)


def test_what_came_after_ours_is_neither_deleted_nor_taken_for_ours(clouds: Callable[[str], Cloud]) -> None:
    cloud = clouds("gcs")

    async def story(backend: Any) -> None:
        name = foreign_name("k", await put(backend, "k", b"1"), Hold.OWN)

        def meanwhile(method: str, target: str) -> None:
            if method == "DELETE":
                cloud.google.bucket.put(f"{cloud.prefix}k", b"2", {}, None)

        cloud.google.faults.chance = meanwhile
        await backend.delete(name)
        assert await read(backend, foreign_name("k")) == b"2"

        def after(method: str, target: str) -> None:
            if method == "HEAD":
                cloud.google.bucket.put(f"{cloud.prefix}k", b"3", {}, None)

        cloud.google.faults.chance = after
        with pytest.raises(UnavailableError):
            await put(backend, "k", LARGE)
        cloud.google.faults.clear()
        assert await read(backend, foreign_name("k")) == b"3"

    cloud.tell(story)
