"""What goes in comes out."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from holdfast.core.body import Body
from holdfast.core.errors import CorruptedError, NotFoundError
from holdfast.core.fetching import fetched
from holdfast.testing.harness import Harness, holds_true, noise, pieces, promise, refused, same, same_bytes

_DAY: Final = 86_400_000_000
_MIB: Final = 1 << 20


@promise()
async def an_empty_blob_round_trips(h: Harness) -> None:
    """A blob may have no bytes at all."""
    same((await h.put("empty", b"")).size, 0, "the size that put told")
    await h.holds("empty", b"")


@promise()
async def one_byte_round_trips(h: Harness) -> None:
    """A blob may have one byte, also a NUL."""
    await h.put("one", b"\0")
    await h.holds("one", b"\0")


@promise()
async def every_byte_value_survives(h: Harness) -> None:
    """No byte is changed, added or lost, line ends included."""
    data = bytes(range(256)) * 3 + b"\r\n\n\r\x1a"
    await h.put("all", data)
    await h.holds("all", data)


@promise()
async def odd_sizes_round_trip(h: Harness) -> None:
    """Sizes at and around the edges of pages, blocks and chunks are kept to the byte."""
    for size in (2, 255, 4095, 4096, 4097, 65535, 65536, 65537, _MIB - 1, _MIB, _MIB + 1):
        await h.put(f"size-{size}", noise(size, size))
        await h.holds(f"size-{size}", noise(size, size))


@promise()
async def several_mebibytes_round_trip(h: Harness) -> None:
    """A blob of many chunks comes back whole."""
    data = noise(12 * _MIB + 3)
    same((await h.put("large", data)).size, len(data), "the size that put told")
    await h.holds("large", data)


@promise()
async def a_stream_of_unknown_length_round_trips(h: Harness) -> None:
    """A body that can be read once and whose length nobody knows is stored whole."""
    data = noise(7 * _MIB + 5)
    info = await h.put_stream("stream", pieces(data, 77_777))
    same(info.size, len(data), "the size that put told")
    await h.holds("stream", data)


@promise()
async def a_stream_of_known_length_round_trips(h: Harness) -> None:
    """A body that can be read once and announces its length is stored whole."""
    data = noise(2 * _MIB + 1)
    await h.put_stream("stream", pieces(data, 100_000), size=len(data))
    await h.holds("stream", data)


@promise()
async def a_stream_of_single_bytes_round_trips(h: Harness) -> None:
    """The size of chunks does not matter: bytes may come one by one."""
    data = noise(3000)
    await h.put_stream("drops", pieces(data, 1))
    await h.holds("drops", data)


@promise()
async def an_empty_stream_round_trips(h: Harness) -> None:
    """A stream that ends at once is an empty blob."""
    await h.put_stream("empty", pieces(b"", 1))
    await h.holds("empty", b"")


@promise()
async def a_file_round_trips(h: Harness) -> None:
    """A body may be a file."""
    data = noise(_MIB + 17)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(data)
        await h.backend.put(h.name("file"), Body.of_file(path))
    await h.holds("file", data)


@promise()
async def a_body_can_be_stored_twice(h: Harness) -> None:
    """A replayable body may be put under two names."""
    body = Body.of_bytes(noise(1000))
    await h.backend.put(h.name("first"), body)
    await h.backend.put(h.name("second"), body)
    await h.holds("first", noise(1000))
    await h.holds("second", noise(1000))


@promise()
async def chunks_are_bytes_and_never_empty(h: Harness) -> None:
    """A reader yields `bytes` of at least one byte, and not the whole blob in one piece when it is large."""
    await h.put("large", noise(20 * _MIB))
    async with h.backend.get(h.name("large")) as reader:
        async for chunk in reader:
            holds_true(type(chunk) is bytes, f"a chunk is {type(chunk).__name__}")
            holds_true(0 < len(chunk) <= 16 * _MIB, f"a chunk has {len(chunk)} bytes")


@promise()
async def put_and_head_agree(h: Harness) -> None:
    """What put returns is what head shows: name, size and ETag."""
    told = await h.put("blob", noise(5000))
    seen = await h.head("blob")
    same(told.name, h.name("blob"), "the name that put told")
    same((seen.name, seen.size), (told.name, told.size), "head")
    if told.etag is not None and seen.etag is not None:
        same(seen.etag, told.etag, "the ETag in head")


@promise()
async def get_and_head_agree(h: Harness) -> None:
    """A reader knows the same facts as head."""
    await h.put("blob", noise(5000))
    seen = await h.head("blob")
    async with h.backend.get(h.name("blob")) as reader:
        same((reader.info.name, reader.info.size), (seen.name, seen.size), "the reader's facts")
        same((reader.span.offset, reader.span.length), (0, 5000), "the reader's span")
        if reader.info.etag is not None and seen.etag is not None:
            same(reader.info.etag, seen.etag, "the reader's ETag")
        await reader.read()


@promise()
async def modified_is_about_now(h: Harness) -> None:
    """`modified` is microseconds since the epoch of about the time of the put (clocks may differ by a day)."""
    await h.put("blob", b"x")
    difference = abs((await h.head("blob")).modified - h.environment.clock.now())
    holds_true(difference < _DAY, f"modified is {difference / 1e6:.0f} seconds from now")


@promise()
async def an_overwrite_replaces_the_content(h: Harness) -> None:
    """A put of a name that exists replaces it: longer, shorter or empty."""
    for data in (noise(1000, 1), noise(2 * _MIB, 2), noise(10, 3), b""):
        await h.put("name", data)
        await h.holds("name", data)
    same(await h.names(), ["name"], "the listing after overwrites")


@promise()
async def an_overwrite_changes_the_etag(h: Harness) -> None:
    """Two contents of one name have two ETags, where the store has ETags."""
    first = await h.put("name", b"one")
    second = await h.put("name", b"two")
    if first.etag is not None:
        holds_true(first.etag != second.etag, "the ETag stayed the same")


@promise()
async def what_is_absent_is_not_found(h: Harness) -> None:
    """Head and get of a name that was never used raise `NotFoundError`."""
    await h.absent("never")
    with refused(NotFoundError, "get in a folder that was never used"):
        await h.read("never/ever/there")


@promise()
async def a_small_blob_is_read_at_once(h: Harness) -> None:
    """All of a small blob comes when it has the size that was told, and nothing of it when it has not."""
    name = h.name("small")
    for size in (0, 1, 4096, 65536):
        data = noise(size, size)
        await h.put("small", data)
        same_bytes(await fetched(h.backend, name, size), data, f"{size} bytes")
        for other in (size + 1, size + 100, size - 1, size // 2):
            if other != size and other >= 0:
                with refused(CorruptedError, f"{other} bytes of {size}"):
                    await fetched(h.backend, name, other)
    with refused(NotFoundError, "what was never there"):
        await fetched(h.backend, h.name("never"), 10)


@promise()
async def delete_removes(h: Harness) -> None:
    """After a delete nothing is visible under the name."""
    await h.put("gone", b"x")
    await h.delete("gone")
    await h.absent("gone")


@promise()
async def deleting_what_is_absent_succeeds(h: Harness) -> None:
    """A delete of what is not there, or not there any more, is a success."""
    await h.delete("never")
    await h.delete("never/in/any/folder")
    await h.put("once", b"x")
    await h.delete("once")
    await h.delete("once")


@promise()
async def a_deleted_name_can_be_used_again(h: Harness) -> None:
    """A name is free after a delete; nothing of the old blob comes back."""
    for data in (noise(3000, 1), b"", noise(10, 2)):
        await h.put("folder/name", data)
        await h.holds("folder/name", data)
        await h.delete("folder/name")
        await h.absent("folder/name")


@promise(outside=True)
async def memory_stays_flat_while_bytes_stream(h: Harness) -> None:
    """64 MiB of unknown length go in and come out while this process holds less than 40 MiB of them."""
    block, count = noise(_MIB), 64

    async def source() -> AsyncIterator[bytes]:
        for number in range(count):
            yield number.to_bytes(4, "big") + block[4:]

    with _Peak() as peak:
        same((await h.put_stream("big", source())).size, count * _MIB, "the size that put told")
    holds_true(peak.size < 40 * _MIB, f"put held {peak.size >> 20} MiB")
    seen = 0
    with _Peak() as peak:
        async with h.backend.get(h.name("big")) as reader:
            async for chunk in reader:
                if seen % _MIB == 0 and len(chunk) >= 4:
                    same_bytes(chunk[:4], (seen // _MIB).to_bytes(4, "big"), f"the mark at byte {seen}")
                seen += len(chunk)
    same(seen, count * _MIB, "the bytes that came out")
    holds_true(peak.size < 40 * _MIB, f"get held {peak.size >> 20} MiB")


class _Peak:
    """The most that Python held at once inside the block, above what it held before."""

    size = 0

    def __enter__(self) -> _Peak:
        self._mine = not tracemalloc.is_tracing()
        if self._mine:
            tracemalloc.start()
        tracemalloc.reset_peak()
        self._before = tracemalloc.get_traced_memory()[0]
        return self

    def __exit__(self, *_: object) -> None:
        self.size = tracemalloc.get_traced_memory()[1] - self._before
        if self._mine:
            tracemalloc.stop()
