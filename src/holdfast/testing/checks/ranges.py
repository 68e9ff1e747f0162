"""Parts of a blob."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Final

from holdfast.core.backend import Capability
from holdfast.core.errors import InvalidRangeError, NotFoundError
from holdfast.core.types import ByteRange
from holdfast.testing.harness import Harness, noise, promise, refused, same, same_bytes

_DATA: Final = noise(10_000)


async def _reads(h: Harness, wish: ByteRange, wanted: bytes) -> None:
    same_bytes(await h.read("blob", wish), wanted, f"range {wish.start}-{wish.end}")


@promise(needs=Capability.RANGE)
async def a_range_gives_just_that_part(h: Harness) -> None:
    """`start..end` includes both ends."""
    await h.put("blob", _DATA)
    for first, last in ((0, 0), (0, 99), (1, 1), (100, 4999), (4095, 4097), (9_998, 9_999), (0, 9_999)):
        await _reads(h, ByteRange(first, last), _DATA[first : last + 1])


@promise(needs=Capability.RANGE)
async def an_open_range_reads_to_the_end(h: Harness) -> None:
    """`start..` reads the rest."""
    await h.put("blob", _DATA)
    for first in (0, 1, 5000, 9_999):
        await _reads(h, ByteRange(first), _DATA[first:])


@promise(needs=Capability.RANGE)
async def a_suffix_range_reads_the_last_bytes(h: Harness) -> None:
    """`..n` reads the last n bytes, and everything when there are fewer."""
    await h.put("blob", _DATA)
    for count in (1, 100, 9_999, 10_000):
        await _reads(h, ByteRange(None, count), _DATA[-count:])
    for count in (10_001, 1 << 40):
        await _reads(h, ByteRange(None, count), _DATA)


@promise(needs=Capability.RANGE)
async def an_end_past_the_end_is_cut(h: Harness) -> None:
    """A range may end past the end: it gives what is there."""
    await h.put("blob", _DATA)
    await _reads(h, ByteRange(9_990, 10_000), _DATA[9_990:])
    await _reads(h, ByteRange(0, 1 << 50), _DATA)


@promise(needs=Capability.RANGE)
async def a_range_past_the_end_is_refused(h: Harness) -> None:
    """A range that starts at or past the end raises `InvalidRangeError`."""
    await h.put("blob", _DATA)
    for wish in (ByteRange(10_000), ByteRange(10_000, 10_001), ByteRange(1 << 50), ByteRange(None, 0)):
        with refused(InvalidRangeError, f"range {wish.start}-{wish.end} of 10,000 bytes"):
            await h.read("blob", wish)


@promise(needs=Capability.RANGE)
async def a_reversed_range_is_refused(h: Harness) -> None:
    """A range whose end is before its start raises `InvalidRangeError`."""
    await h.put("blob", _DATA)
    with refused(InvalidRangeError, "range 10-5"):
        await h.read("blob", ByteRange(10, 5))


@promise(needs=Capability.RANGE)
async def no_range_of_an_empty_blob_exists(h: Harness) -> None:
    """Any range of an empty blob raises `InvalidRangeError`."""
    await h.put("blob", b"")
    for wish in (ByteRange(0), ByteRange(0, 0), ByteRange(None, 1)):
        with refused(InvalidRangeError, f"range {wish.start}-{wish.end} of nothing"):
            await h.read("blob", wish)


@promise(needs=Capability.RANGE)
async def a_range_of_what_is_absent_is_not_found(h: Harness) -> None:
    """A range of a name that is not there raises `NotFoundError`."""
    with refused(NotFoundError, "a range of nothing"):
        await h.read("never", ByteRange(0, 1))


@promise(needs=Capability.RANGE)
async def a_range_reader_tells_its_span_and_the_whole_size(h: Harness) -> None:
    """The reader of a range knows which part it gives and how large the blob is."""
    await h.put("blob", _DATA)
    async with h.backend.get(h.name("blob"), range=ByteRange(100, 20_000)) as reader:
        same((reader.span.offset, reader.span.length), (100, 9_900), "the span")
        same(reader.info.size, 10_000, "the whole size")
        await reader.read()


@promise(needs=Capability.RANGE)
async def many_ranges_of_a_large_blob_fit_together(h: Harness) -> None:
    """Ranges of a blob of several chunks give the right bytes, wherever they begin and end."""
    data = noise((3 << 20) + 1234)
    await h.put("blob", data)
    chance = random.Random(7)  # noqa: S311
    edges = [(1 << 20) + shift for shift in (-1, 0, 1)]
    cuts = sorted({0, len(data), *edges, *(chance.randrange(len(data)) for _ in range(12))})
    parts = [await h.read("blob", ByteRange(first, last - 1)) for first, last in pairwise(cuts)]
    same_bytes(b"".join(parts), data, "the ranges together")
