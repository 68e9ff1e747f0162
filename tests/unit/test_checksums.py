"""Digests of a flow, of its chunks, and of versions made of parts."""

from __future__ import annotations

import asyncio
import hashlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.api.digests import of_fields
from holdfast.core.body import Body, Meter
from holdfast.core.errors import InvalidRequestError
from holdfast.core.types import NO_DIGESTS, Digests
from holdfast.engine import checksums
from holdfast.engine.checksums import BoundedMd5, ChunkedCrc64, etag_of, joined
from tests.helpers import crc64

pytestmark = pytest.mark.unit


def test_crc64_is_the_published_one() -> None:
    assert crc64(b"123456789").hex() == "ae8b14860a799888"  # the catalogued check value of CRC-64/NVME


@given(
    st.binary(max_size=300),
    st.lists(st.integers(1, 40), max_size=20),
    st.integers(1, 50),
    st.sampled_from([2, 4, 8]),
)
def test_chunks_cover_any_flow(data: bytes, steps: list[int], chunk: int, most: int) -> None:
    hasher = ChunkedCrc64(chunk, most)
    rest = data
    for step in steps:
        hasher.update(rest[:step])
        rest = rest[step:]
    if rest:
        hasher.update(rest)
    assert hasher.digest() == crc64(data)
    size, crcs = hasher.chunks()
    if size:
        expected = [crc64(data[start : start + size]) for start in range(0, len(data), size)]
        assert crcs == b"".join(expected)
        assert len(expected) <= most
    else:
        assert len(data) <= hasher.chunk_size


def test_md5_is_given_up_past_its_limit() -> None:
    md5 = BoundedMd5(10)
    md5.update(b"x" * 10)
    assert md5.digest() == hashlib.md5(b"x" * 10).digest()
    md5.update(b"x")
    assert md5.digest() == b""


def test_etags_with_and_without_md5() -> None:
    assert etag_of(Digests(md5=bytes(16))) == "0" * 32
    assert etag_of(Digests(sha256=bytes(range(32)))) == bytes(range(16)).hex() + "-1"


def test_parts_join_to_the_crc_of_everything() -> None:
    chance = random.Random(1)
    pieces = [chance.randbytes(size) for size in (0, 1, 5000, 70_000)]
    parts = []
    for piece in pieces:
        digests = Digests(hashlib.sha256(piece).digest(), hashlib.md5(piece).digest(), crc64(piece))
        parts.append((digests, len(piece), etag_of(digests)))
    digests, etag = joined(parts)
    assert digests.crc64nvme == crc64(b"".join(pieces))
    assert etag.endswith("-4")
    assert joined(parts[2:3])[0].sha256 == hashlib.sha256(pieces[2]).digest()


def test_a_replayed_body_is_metered_once() -> None:
    meter = Meter(checksums.factories(3, NO_DIGESTS, md5_limit=10))
    body = Body.of_bytes(b"abc").metered(meter)

    async def twice() -> None:
        for _ in range(2):
            assert [chunk async for chunk in body.chunks()] == [b"abc"]

    asyncio.run(twice())
    assert meter.size == 3
    assert checksums.settled(meter).sha256 == hashlib.sha256(b"abc").digest()


def test_a_malformed_digest_is_called_what_the_sender_calls_it() -> None:
    with pytest.raises(InvalidRequestError, match=r"^checksum is 64 hexadecimal digits"):
        of_fields({"sha256": "xyz"}, sha256="checksum")
    with pytest.raises(InvalidRequestError, match=r"^sha256 is 64 hexadecimal digits"):
        of_fields({"sha256": "xyz"})
