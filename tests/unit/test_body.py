"""Bodies and readers: what flows, what is counted, what is compared."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.body import CHUNK, Body, FileSlice, Meter, Reader
from holdfast.core.errors import DigestMismatchError, InvalidRequestError, UnavailableError
from holdfast.core.types import BlobInfo, Digests, Span

pytestmark = pytest.mark.unit
T = TypeVar("T")
CHUNKS = st.lists(st.binary(max_size=40), max_size=12)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


async def chunks_of(body: Body) -> list[bytes]:
    return [chunk async for chunk in body.chunks()]


async def flowing(parts: list[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def sha256() -> Meter:
    return Meter({"sha256": hashlib.sha256})


@given(CHUNKS)
def test_a_stream_gives_its_bytes_without_empty_chunks(parts: list[bytes]) -> None:
    for body in (Body.of_stream(parts), Body.of_stream(flowing(parts))):
        found = run(chunks_of(body))
        assert b"".join(found) == b"".join(parts)
        assert b"" not in found
        assert (body.size, body.replayable) == (None, False)


def test_a_stream_can_be_read_once() -> None:
    body = Body.of_stream([b"x"])
    assert run(body.read()) == b"x"
    with pytest.raises(InvalidRequestError, match="twice"):
        run(body.read())


def test_bytes_can_be_read_often_in_bounded_chunks() -> None:
    data = bytes(2 * CHUNK + 5)
    body = Body.of_bytes(data)
    for _ in range(2):
        assert [len(chunk) for chunk in run(chunks_of(body))] == [CHUNK, CHUNK, 5]
    assert run(chunks_of(Body.of_bytes(b""))) == []
    assert (body.size, body.replayable, body.data) == (len(data), True, data)


def test_a_file_can_be_read_often_and_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * CHUNK + b"b")
    with ThreadPoolExecutor(1) as executor:
        body = Body.of_file(path, executor=executor)
        assert (body.size, body.replayable) == (CHUNK + 1, True)
        for _ in range(2):
            assert [len(chunk) for chunk in run(chunks_of(body))] == [CHUNK, 1]


@given(st.binary(max_size=60), st.integers(0, 70))
def test_reading_has_a_limit(data: bytes, limit: int) -> None:
    body = Body.of_stream([data])
    if len(data) <= limit:
        assert run(body.read(limit)) == data
    else:
        with pytest.raises(InvalidRequestError, match="more than"):
            run(body.read(limit))


@given(CHUNKS, st.integers(1, 100))
def test_peeking_loses_nothing(parts: list[bytes], count: int) -> None:
    whole = b"".join(parts)
    start, body = run(_peek(Body.of_stream(parts), count))
    assert start == whole[:count]
    assert body == whole
    if len(whole) < count:
        assert run(_replayable(Body.of_stream(parts), count))


async def _peek(body: Body, count: int) -> tuple[bytes, bytes]:
    start, rest = await body.peek(count)
    return start, await rest.read()


async def _replayable(body: Body, count: int) -> bool:
    _, rest = await body.peek(count)
    return rest.replayable and rest.size is not None


def test_a_peeked_stream_can_still_be_read_only_once() -> None:
    async def story() -> None:
        _, body = await Body.of_stream([b"abc", b"def"]).peek(2)
        assert await body.read() == b"abcdef"
        with pytest.raises(InvalidRequestError, match="twice"):
            await body.read()

    run(story())


def test_an_error_behind_the_peeked_part_is_kept() -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield b"abc"
        raise UnavailableError("gone")

    async def story() -> None:
        start, body = await Body.of_stream(breaking()).peek(2)
        assert start == b"ab"
        with pytest.raises(UnavailableError):
            await body.read()

    run(story())


@given(CHUNKS, st.integers(1, 60))
def test_gathering_changes_only_the_chunks(parts: list[bytes], least: int) -> None:
    found = run(chunks_of(Body.of_stream(parts).gathered(least)))
    assert b"".join(found) == b"".join(parts)
    assert all(len(chunk) >= least for chunk in found[:-1])


@given(CHUNKS)
def test_a_meter_sees_what_flows(parts: list[bytes]) -> None:
    meter = sha256()
    whole = b"".join(parts)
    assert run(Body.of_stream(parts).metered(meter).read()) == whole
    assert meter.size == len(whole)
    assert meter.digests == Digests(sha256=hashlib.sha256(whole).digest())


@pytest.mark.parametrize("gather", [0, 500_000, 10**9])
def test_a_meter_beside_the_flow_sees_the_same(gather: int) -> None:
    async def story(executor: ThreadPoolExecutor) -> None:
        meter = Meter({"sha256": hashlib.sha256, "md5": hashlib.md5}, executor, gather=gather)
        parts = [bytes([number]) * 200_000 for number in range(9)] + [b"tail"]
        await Body.of_stream(parts).metered(meter).read()
        whole = b"".join(parts)
        assert meter.digests.sha256 == hashlib.sha256(whole).digest()
        assert meter.digests.md5 == hashlib.md5(whole).digest()

    with ThreadPoolExecutor(2) as executor:
        run(story(executor))


def test_what_a_pass_left_undigested_is_not_in_the_next() -> None:
    """The pass broke off while a thread was still to digest its last chunk."""

    async def story(executor: ThreadPoolExecutor) -> None:
        free = threading.Event()
        executor.submit(free.wait, 10)  # the only thread is busy
        meter = Meter({"sha256": hashlib.sha256}, executor)
        await meter.update(b"a" * 200_000)
        meter.begin()
        free.set()
        await meter.update(b"b" * 200_000)
        assert (await meter.finish()).sha256 == hashlib.sha256(b"b" * 200_000).digest()

    with ThreadPoolExecutor(1) as executor:
        run(story(executor))


def test_a_second_pass_is_counted_anew() -> None:
    async def story() -> None:
        meter = sha256()
        body = Body.of_bytes(b"abc").metered(meter)
        await chunks_of(body)
        await chunks_of(body)
        assert meter.size == 3
        assert meter.digests.sha256 == hashlib.sha256(b"abc").digest()

    run(story())


def test_bytes_in_memory_do_not_slip_past_the_meter() -> None:
    """Whoever takes the short way over `data` must not get past what was wrapped around it."""
    body = Body.of_bytes(b"abc")
    meter = sha256()
    assert run(body.metered(meter).read()) == b"abc"
    assert meter.size == 3
    assert body.metered(meter).data is None
    with pytest.raises(DigestMismatchError):
        run(body.expecting(size=4).read())


@pytest.mark.parametrize("announced", [0, 1, 9, 11, 100])
def test_another_size_than_announced_is_an_error(announced: int) -> None:
    for parts in ([b"0123456789"], [b"01234", b"56789"], [bytes([byte]) for byte in b"0123456789"]):
        with pytest.raises(DigestMismatchError, match="announced"):
            run(chunks_of(Body.of_stream(parts, size=announced)))


def test_no_byte_beyond_the_announced_size_is_handed_on() -> None:
    async def story() -> None:
        seen = b""
        with pytest.raises(DigestMismatchError):
            async for chunk in Body.of_stream([b"01234", b"56789", b"more"], size=10).chunks():
                seen += chunk
        assert seen == b"0123456789"

    run(story())


def test_another_digest_than_announced_is_an_error_at_the_end() -> None:
    async def story(announced: Digests) -> bytes:
        meter = sha256()
        return await Body.of_stream([b"abc"]).metered(meter).expecting(digests=announced, meter=meter).read()

    assert run(story(Digests(sha256=hashlib.sha256(b"abc").digest()))) == b"abc"
    assert run(story(Digests(md5=b"not computed here"))) == b"abc"
    with pytest.raises(DigestMismatchError, match="sha256"):
        run(story(Digests(sha256=bytes(32))))


def test_a_reader_can_be_wrapped() -> None:
    async def upper(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for chunk in chunks:
            yield chunk.upper()

    async def story() -> None:
        def reader() -> Reader:
            return Reader(BlobInfo("n", 3, 0), Span(0, 3), flowing([b"a", b"bc"]), FileSlice(1, 0, 3))

        assert await reader().read() == b"abc"
        assert await reader().through(upper).read() == b"ABC"
        assert reader().through(upper).file is None, "the file would show other bytes"
        assert reader().through(upper, unchanged=True).file is not None
        assert [chunk async for chunk in reader()] == [b"a", b"bc"]

    run(story())
