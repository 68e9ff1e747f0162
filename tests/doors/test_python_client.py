"""The same verbs with the same answers, embedded and over HTTP, with and without an event loop."""

from __future__ import annotations

import asyncio
import hashlib
import io
import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import holdfast
from holdfast.core.conditions import Preconditions
from holdfast.core.errors import (
    AlreadyExistsError,
    ConflictError,
    DigestMismatchError,
    InvalidRangeError,
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
    TooLargeError,
)
from holdfast.core.types import Deleted
from holdfast.library.client import Parts
from tests.doors.cli_tools import Server, noise

pytestmark = pytest.mark.doors


@pytest.fixture
def bucket(client: holdfast.Client, name: str) -> str:
    client.create_bucket(name)
    return name


@pytest.mark.parametrize("size", [0, 1, 4096, 65_536, 65_537, 3_000_001])
def test_bytes_come_back(client: holdfast.Client, bucket: str, size: int) -> None:
    data = noise(size)
    version = client.put(bucket, "key", data, content_type="text/plain", metadata={"a": "b"}, tags={"t": "1"})
    assert (version.size, version.content_type) == (size, "text/plain")
    assert version.digests.sha256 == hashlib.sha256(data).digest()
    assert client.get(bucket, "key") == data
    known = client.head(bucket, "key")
    assert known.ref.key == "key"
    assert (known.id, known.etag, known.size, known.digests.sha256) == (
        version.id,
        version.etag,
        size,
        version.digests.sha256,
    )
    assert abs(known.created - version.created) < 1_000_000
    assert (known.metadata, known.tags) == ({"a": "b"}, {"t": "1"})


def test_every_shape_of_source(client: holdfast.Client, bucket: str, tmp_path: Path) -> None:
    data = noise(2_500_000)
    path = tmp_path / "file"
    path.write_bytes(data)

    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 100_000):
            yield data[start : start + 100_000]

    pieces = [data[start : start + 300_000] for start in range(0, len(data), 300_000)]
    with path.open("rb") as file:
        sources = [
            data,
            bytearray(data),
            memoryview(data),
            path,
            file,
            io.BytesIO(data),
            pieces,
            iter(pieces),
            stream(),
        ]
        for index, source in enumerate(sources):
            assert client.put(bucket, f"k{index}", source).size == len(data)
            assert client.get(bucket, f"k{index}") == data
    for wrong in ("text", 17, ["text"], io.StringIO("text")):
        with pytest.raises(InvalidRequestError):
            client.put(bucket, "wrong", wrong)  # type: ignore[arg-type]
    with pytest.raises(NotFoundError):
        client.head(bucket, "wrong")


def test_a_source_that_fails_leaves_nothing(client: holdfast.Client, bucket: str) -> None:
    def broken() -> Iterator[bytes]:
        yield noise(1_000_000)
        raise RuntimeError("the disk caught fire")

    with pytest.raises(InvalidRequestError, match="caught fire") as caught:
        client.put(bucket, "key", broken())
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert list(client.list(bucket)) == []


def test_a_source_may_call_the_client_itself(client: holdfast.Client, bucket: str) -> None:
    data = noise(3_000_000)
    client.put(bucket, "one", data)
    with client.stream(bucket, "one") as download:
        client.put(bucket, "two", download)
    assert client.get(bucket, "two") == data


def test_a_download_reads_like_a_file(client: holdfast.Client, bucket: str, tmp_path: Path) -> None:
    data = noise(2_500_000)
    client.put(bucket, "one", data)
    with client.stream(bucket, "one") as download:
        assert download.read(0) == b""
        assert download.read(7) + download.read(3) == data[:10]
        with (tmp_path / "rest").open("wb") as file:
            shutil.copyfileobj(download, file)
        assert download.read(5) == download.read() == b""
    assert (tmp_path / "rest").read_bytes() == data[10:]


def test_ranges(client: holdfast.Client, bucket: str) -> None:
    data = noise(200_000)
    client.put(bucket, "key", data)
    for start, end in ((0, 0), (5, 9), (100_000, None), (None, 7), (199_999, None), (10, 10**9)):
        wish = holdfast.ByteRange(start, end)
        span = wish.resolve(len(data))
        assert client.get(bucket, "key", range=wish) == data[span.offset : span.end]
        with client.stream(bucket, "key", range=wish) as download:
            assert download.span == span
            assert download.version.size == len(data)
    for start, end in ((200_000, None), (9, 5), (None, 0)):
        with pytest.raises(InvalidRangeError):
            client.get(bucket, "key", range=holdfast.ByteRange(start, end))


def test_errors_are_the_same_kinds(client: holdfast.Client, bucket: str) -> None:
    client.put(bucket, "key", b"data")
    with pytest.raises(NotFoundError):
        client.get(bucket, "never")
    with pytest.raises(NotFoundError):
        client.head(bucket, "never")
    with pytest.raises(NotFoundError):
        client.put("no-such-bucket", "key", b"")
    with pytest.raises(NotFoundError):
        list(client.list("no-such-bucket"))
    with pytest.raises(AlreadyExistsError):
        client.create_bucket(bucket)
    with pytest.raises(ConflictError):
        client.delete_bucket(bucket)
    with pytest.raises(InvalidRequestError):
        client.create_bucket("No Such Name")
    for key in ("", "a/../b", "nul\0", "new\nline", "x" * 1025, "\ud800"):
        with pytest.raises(InvalidRequestError):
            client.put(bucket, key, b"")
        with pytest.raises(InvalidRequestError):
            client.get(bucket, key)
    with pytest.raises(TooLargeError):
        client.get(bucket, "key", limit=3)
    wrong = holdfast.Digests(sha256=hashlib.sha256(b"other").digest())
    with pytest.raises(DigestMismatchError):
        client.put(bucket, "wrong", b"data", digests=wrong)
    assert [item.ref.key for item in client.list(bucket)] == ["key"]


def test_conditions(client: holdfast.Client, bucket: str) -> None:
    first = client.put(bucket, "key", b"one", conditions=holdfast.IF_ABSENT)
    with pytest.raises(PreconditionFailedError):
        client.put(bucket, "key", b"two", conditions=holdfast.IF_ABSENT)
    second = client.put(bucket, "key", b"two", conditions=Preconditions(if_match=(first.etag,)))
    with pytest.raises(PreconditionFailedError):
        client.delete(bucket, "key", conditions=Preconditions(if_match=(first.etag,)))
    with client.stream(bucket, "key", conditions=Preconditions(if_none_match=(second.etag,))) as download:
        assert not download.modified
        assert download.read() == b""
    with pytest.raises(PreconditionFailedError):
        with client.stream(bucket, "key", conditions=Preconditions(if_match=("other",))):
            pass


def test_an_idempotency_key_writes_once(client: holdfast.Client, bucket: str) -> None:
    kept = bucket + "-kept"
    client.create_bucket(kept, versioning=True)
    first = client.put(kept, "key", b"one", idempotency_key="request-" + kept)
    assert client.put(kept, "key", b"one", idempotency_key="request-" + kept).id == first.id
    assert len(list(client.versions(kept))) == 1
    with pytest.raises(ConflictError):
        client.put(kept, "other", b"one", idempotency_key="request-" + kept)


def test_listing_pages_and_folders(client: holdfast.Client, bucket: str) -> None:
    keys = sorted([f"n{i:04}" for i in range(30)] + ["b/1", "b/2", "ü/x", "z z"], key=str.encode)
    for key in keys:
        client.put(bucket, key, key.encode())
    assert [item.ref.key for item in client.list(bucket)] == keys
    assert [item.ref.key for item in client.list(bucket, prefix="n001")] == [
        f"n{i:04}" for i in range(10, 20)
    ]
    walked, marker = [], ""
    while True:
        page = client.list_page(bucket, delimiter="/", marker=marker, limit=7)
        assert len(page.items) + len(page.prefixes) <= 7
        walked += [item.ref.key for item in page.items] + list(page.prefixes)
        if not page.truncated:
            break
        marker = page.next_marker
    assert sorted(walked) == sorted([key for key in keys if "/" not in key] + ["b/", "ü/"])
    item = next(client.list(bucket, prefix="b/1"))
    assert (item.size, item.etag, item.content_type) == (
        3,
        hashlib.md5(b"b/1").hexdigest(),
        "application/octet-stream",
    )
    assert item.id == client.head(bucket, "b/1").id


def test_versions_and_markers(client: holdfast.Client, bucket: str) -> None:
    kept = bucket + "-kept"
    client.create_bucket(kept, versioning=True)
    made = [client.put(kept, "key", text).id for text in (b"1", b"22", b"333")]
    deleted = client.delete(kept, "key")
    assert deleted.delete_marker
    found = list(client.versions(kept))
    assert [item.id for item in found] == [deleted.version_id, *reversed(made)]
    assert [item.delete_marker for item in found] == [True, False, False, False]
    assert [item.current for item in found] == [True, False, False, False]
    assert [item.size for item in found] == [0, 3, 2, 1]
    with pytest.raises(NotFoundError):
        client.get(kept, "key")
    assert client.get(kept, "key", version_id=made[1]) == b"22"
    walked, key_marker, version_marker = [], "", ""
    while True:
        page = client.versions_page(kept, key_marker=key_marker, version_marker=version_marker, limit=1)
        walked += [item.id for item in page.items]
        if not page.truncated:
            break
        key_marker, version_marker = page.next_key, page.next_version
    assert walked == [item.id for item in found]
    assert client.delete(kept, "key", version_id=deleted.version_id) == Deleted(deleted.version_id, True)
    assert client.get(kept, "key") == b"333"
    assert client.copy((kept, "key"), (bucket, "copy"), source_version_id=made[0]).size == 1
    assert client.get(bucket, "copy") == b"1"


def test_uploads_in_parts(client: holdfast.Client, bucket: str) -> None:
    upload = client.create_upload(bucket, "film ü.mp4", metadata={"a": "b"})
    pieces = {3: noise(100), 1: noise(5 << 20, 1), 2: noise(5 << 20, 2)}
    parts = {
        number: client.put_part(bucket, "film ü.mp4", upload.id, number, data)
        for number, data in pieces.items()
    }
    client.put_part(bucket, "film ü.mp4", upload.id, 4, b"left over")
    assert parts[1].size == 5 << 20
    assert [part.number for part in client.list_parts(bucket, "film ü.mp4", upload.id)] == [1, 2, 3, 4]
    assert [part.number for part in client.list_parts(bucket, "film ü.mp4", upload.id, after=2)] == [3, 4]
    found, more = client.list_uploads(bucket)
    assert [(item.id, item.ref.key) for item in found] == [(upload.id, "film ü.mp4")]
    assert not more
    chosen = [(number, parts[number].etag) for number in (1, 2, 3)]
    version = client.complete_upload(bucket, "film ü.mp4", upload.id, chosen)
    whole = pieces[1] + pieces[2] + pieces[3]
    assert (version.size, version.parts) == (len(whole), 3)
    assert client.get(bucket, "film ü.mp4") == whole
    assert client.head(bucket, "film ü.mp4").metadata == {"a": "b"}
    other = client.create_upload(bucket, "given-up")
    client.abort_upload(bucket, "given-up", other.id)
    with pytest.raises(NotFoundError):
        client.put_part(bucket, "given-up", other.id, 1, b"x")
    assert client.list_uploads(bucket) == ([], False)


def test_files_up_and_down(
    client: holdfast.Client, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "holdfast.library.http.client.PARTS", Parts(6 << 20, 5 << 20)
    )  # so that HTTP goes in parts
    data = noise((12 << 20) + 17)
    (tmp_path / "up").write_bytes(data)
    told: list[int] = []
    version = client.put_file(bucket, "key", tmp_path / "up", metadata={"a": "b"}, progress=told.append)
    assert (version.size, sum(told)) == (len(data), len(data))
    assert client.head(bucket, "key").metadata == {"a": "b"}
    told.clear()
    got = client.get_file(bucket, "key", tmp_path / "down", progress=told.append)
    assert (got.id, sum(told)) == (version.id, len(data))
    assert (tmp_path / "down").read_bytes() == data
    assert not list(tmp_path.glob(".*part"))
    assert client.list_uploads(bucket) == ([], False)
    with pytest.raises(InvalidRequestError):
        client.put_file(bucket, "key", tmp_path / "missing")
    with pytest.raises(InvalidRequestError):
        client.get_file(bucket, "key", tmp_path)


def test_many_threads_share_a_client(client: holdfast.Client, bucket: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def one(index: int) -> bool:
        data = noise(10_000, seed=index)
        client.put(bucket, f"k{index}", data)
        return client.get(bucket, f"k{index}") == data

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(one, range(64)))


def test_the_asynchronous_client_has_the_same_verbs(server: Server, tmp_path: Path) -> None:
    async def story(target: str, token: str | None) -> None:
        async with holdfast.open_async(target, token=token) as client:
            await client.create_bucket("async-bucket")
            await asyncio.gather(*(client.put("async-bucket", f"k{i}", noise(1000, i)) for i in range(20)))
            found = [item.ref.key async for item in client.list("async-bucket")]
            assert found == sorted(f"k{i}" for i in range(20))
            async with client.stream("async-bucket", "k3") as download:
                assert b"".join([chunk async for chunk in download]) == noise(1000, 3)

    asyncio.run(story(str(tmp_path / "data"), None))
    asyncio.run(story(server.url, server.token))


def test_a_content_is_found_by_its_id_and_said_otherwise(client: holdfast.Client, bucket: str) -> None:
    made = client.put(bucket, "a/key", b"content", metadata={"a": "1"}, tags={"t": "1", "u": "2"})
    assert client.file(made.id).ref.key == "a/key"
    assert client.file(made.id).ref.bucket == bucket
    with pytest.raises(NotFoundError):
        client.file("no-such-id")
    changed = client.update(bucket, "a/key", metadata={"b": "2"}, tags={"u": None})
    assert (changed.id, changed.metadata, changed.tags) == (made.id, {"a": "1", "b": "2"}, {"t": "1"})
    replaced = client.update(bucket, "a/key", tags={"only": "x"}, content_type="text/csv", merge=False)
    assert (replaced.metadata, replaced.tags) == ({"a": "1", "b": "2"}, {"only": "x"})
    assert (client.head(bucket, "a/key").content_type, client.get(bucket, "a/key")) == (
        "text/csv",
        b"content",
    )
    with pytest.raises(InvalidRequestError):
        client.update(bucket, "a/key", metadata={"big": "x" * 10_000})
    with pytest.raises(NotFoundError):
        client.update(bucket, "none", tags={"a": "b"})


def test_search_yields_all_pages(client: holdfast.Client, bucket: str) -> None:
    for number in range(30):
        client.put(
            bucket, f"k{number:02}", b"x" * number, tags={"odd": str(number % 2)}, metadata={"n": "ü&="}
        )
    assert len(list(client.search(bucket, tags={"odd": "1"}))) == 15
    assert [item.ref.key for item in client.search(bucket, tags={"odd": "0"}, min_size=20, max_size=24)] == [
        "k20",
        "k22",
        "k24",
    ]
    assert len(list(client.search(bucket, metadata={"n": "ü&="}, prefix="k1"))) == 10
    middle = client.head(bucket, "k15").created
    since = datetime.fromtimestamp(middle // 1_000_000 - 3600, UTC)
    assert len(list(client.search(bucket, since=since))) == 30
    assert list(client.search(bucket, until=since.replace(tzinfo=None))) == []
    assert any(item.ref.bucket == bucket for item in client.search(tags={"odd": "1"}))
    with pytest.raises(NotFoundError):
        list(client.search("no-such-bucket"))


def test_an_old_version_becomes_current_again(client: holdfast.Client, bucket: str) -> None:
    kept = bucket[:-1] + "-v"
    client.create_bucket(kept, versioning=True)
    first = client.put(kept, "k", b"first", tags={"a": "1"})
    client.put(kept, "k", b"second")
    back = client.restore(kept, "k", first.id)
    assert (client.get(kept, "k"), back.tags, back.current) == (b"first", {"a": "1"}, True)
    assert client.restore(kept, "k", back.id).id == back.id
    assert len(list(client.versions(kept))) == 3


def test_many_at_once(client: holdfast.Client, bucket: str) -> None:
    keys = [f"many/{number:03}" for number in range(250)]
    for key in keys:
        client.put(bucket, key, b"x")
    tagged = client.tag_many(bucket, [*keys, "many/none"], tags={"t": "1"})
    assert (tagged.done, [(failure.key, failure.code) for failure in tagged.failures]) == (
        250,
        [("many/none", "not_found")],
    )
    assert not tagged
    assert len(list(client.search(bucket, tags={"t": "1"}))) == 250
    copied = client.copy_many(
        [((bucket, keys[0]), (bucket, "copy/0")), ((bucket, "none"), (bucket, "copy/1"))]
    )
    assert (copied.done, copied.failures[0].key) == (1, "none")
    nothing = client.tag_many(bucket, ["no/1", "no/2"], tags={"t": "1"})
    assert (nothing.done, len(nothing.failures)) == (0, 2)
    gone = client.delete_many(bucket, [*keys, "never"])
    assert (gone.done, bool(gone)) == (251, True)
    assert [item.ref.key for item in client.list(bucket)] == ["copy/0"]
    assert client.delete_many(bucket, []).done == 0
