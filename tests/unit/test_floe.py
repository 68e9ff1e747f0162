"""FLOE-256: answers known from an independent reading of the format, random sizes and pieces, and every kind of tampering."""

from __future__ import annotations

import hashlib
import hmac
import random
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from holdfast.layers.encryption.floe import (
    HEADER,
    OVERHEAD,
    SHAPE,
    Floe,
    FloeError,
    Opening,
    Sealing,
    Shape,
)

pytestmark = pytest.mark.unit

KEY, NUMBER, AAD = bytes(range(32)), bytes(range(100, 132)), b"about"
SMALL = Shape(64, 2)
#: SHA-256 of header and body by (segment, rotation, size), made once by `slow`. They may never change.
VECTORS = {
    (64, 2, 0): "e17acfef343d8ba2bbc17a2266b4cf70620946b8ec22fc098155a4ea947dcc56",
    (64, 2, 7): "f64ae2450c248eec92f9769f8abfea95c07da1101254dfa050cbd8e61a535d33",
    (64, 2, 32): "e441f1ce916577c48e0804524063028bc6bb78b0a3225e5166757f8e32f09b7d",
    (64, 2, 97): "45170711f897982c2cab1cf7c4f49e97802a3cf359918650ff970c1313265fb5",
    (40, 1, 0): "214c4331e227256f5e38742cd5f2c765653b38c39e3b959bbd0f68164d34b8c3",
    (40, 1, 7): "8faa58645fc510d55c8fea13ad5e256d552c0150b0709dd6efac07e35053aaf5",
    (40, 1, 8): "912c253fc34d996ea6199c8511e986991c2c0a9181dabdb0909735440dc539d5",
    (40, 1, 25): "c6381bb9f44012c12641064f5974b9d807ceff24a79c18128e11be98b9da5f8d",
    (65536, 20, 0): "5ad020b4d0c9dc868b3d955d6610ad6c25323ceedfb4d8fa2235c1ce2512ee91",
    (65536, 20, 7): "3042d31408b1e4011c195435e3ac716e0a41dc5946dd33cebd3f37cd1d4308b2",
    (65536, 20, 65504): "8f1d8435bf76d4c24a3b0d9966c76a509f818f9d173b2713e833682a5c6bd1a4",
    (65536, 20, 196513): "08ec056450ea892d4397be664109066416a912882f1710dadb0df8cdcdff83a4",
}


def nonces(seed: int) -> Callable[[], bytes]:
    chance = random.Random(seed)
    return lambda: chance.randbytes(12)


def slow(data: bytes, shape: Shape, nonce: Callable[[], bytes]) -> bytes:
    """Return header and body by the letter of the format, sharing no code with what is tested."""
    size = shape.segment

    def expand(key: bytes, purpose: bytes, length: int) -> bytes:
        said = b"\x00\x00" + size.to_bytes(4, "big") + (32).to_bytes(4, "big") + NUMBER + purpose + AAD
        return hmac.new(key, said + b"\x01", hashlib.sha384).digest()[:length]

    made = b"\x00\x00" + size.to_bytes(4, "big") + (32).to_bytes(4, "big") + NUMBER
    made += expand(KEY, b"HEADER_TAG:", 32)
    message = expand(KEY, b"MESSAGE_KEY:", 48)
    step = size - 32
    pieces = [data[at : at + step] for at in range(0, len(data), step)] or [b""]
    for place, piece in enumerate(pieces):
        last = place == len(pieces) - 1
        turn = place - place % 2**shape.rotation
        aead = AESGCM(expand(message, b"DEK:" + turn.to_bytes(8, "big"), 32))
        iv = nonce()
        made += (len(piece) + 32).to_bytes(4, "big") if last else b"\xff\xff\xff\xff"
        made += iv + aead.encrypt(iv, piece, place.to_bytes(8, "big") + (b"\x01" if last else b"\x00"))
    return made


def sealed(data: bytes, shape: Shape, seed: int, step: int) -> bytes:
    floe = Floe(KEY, NUMBER, AAD, shape)
    sealing = Sealing(floe, nonces(seed))
    made = floe.header
    for at in range(0, len(data), step):
        made += sealing.update(data[at : at + step])
    return made + sealing.finish()


def opened(made: bytes, shape: Shape, step: int, key: bytes = KEY, aad: bytes = AAD) -> bytes:
    floe = Floe.of_header(key, made[:HEADER], aad, shape)
    body = made[HEADER:]
    shape.opened(len(body))
    opening = Opening(floe, len(body))
    found = b"".join(opening.update(body[at : at + step]) for at in range(0, len(body), step))
    assert opening.between
    return found


@pytest.mark.parametrize("shape", [SMALL, Shape(40, 1), SHAPE], ids=["64", "40", "64k"])
def test_sealed_is_what_the_format_says(shape: Shape) -> None:
    full = shape.content
    for size in (0, 1, full - 1, full, full + 1, 2 * full, 5 * full + 7, 9 * full):
        data = random.Random(size).randbytes(size)
        made = sealed(data, shape, size, max(1, full // 3))
        assert made == slow(data, shape, nonces(size)), size
        assert len(made) == HEADER + shape.sealed(size)
        assert shape.opened(len(made) - HEADER) == size
        assert opened(made, shape, 1000) == data


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_answers_that_were_known_before(vector: tuple[int, int, int]) -> None:
    segment, rotation, size = vector
    data = random.Random(size).randbytes(size)
    made = sealed(data, Shape(segment, rotation), size, 1000)
    assert hashlib.sha256(made).hexdigest() == VECTORS[vector]


def test_any_size_in_any_pieces() -> None:
    chance = random.Random(7)
    for _ in range(300):
        data = chance.randbytes(chance.randrange(0, 700))
        made = sealed(data, SMALL, 1, chance.randrange(1, 200))
        assert opened(made, SMALL, chance.randrange(1, 300)) == data


def test_any_segment_opens_alone() -> None:
    data = random.Random(3).randbytes(SMALL.content * 9 + 5)
    made = sealed(data, SMALL, 1, 100)[HEADER:]
    floe = Floe(KEY, NUMBER, AAD, SMALL)
    for place in random.Random(4).sample(range(10), 10):
        piece = made[place * 64 : (place + 1) * 64]
        found = floe.open(place, piece, last=place == 9)
        assert found == data[place * SMALL.content : (place + 1) * SMALL.content]


def test_every_altered_bit_is_found() -> None:
    data = random.Random(5).randbytes(SMALL.content * 2 + 3)
    made = sealed(data, SMALL, 1, 100)
    for at in range(len(made)):
        altered = bytearray(made)
        altered[at] ^= 1 << at % 8
        with pytest.raises(FloeError):
            opened(bytes(altered), SMALL, 64)


def test_every_truncation_and_addition_is_found() -> None:
    data = random.Random(5).randbytes(SMALL.content * 3)
    made = sealed(data, SMALL, 1, 100)
    for size in range(len(made)):
        with pytest.raises(FloeError):
            opened(made[:size], SMALL, 64)
    for more in (b"\0", made[-64:], made[HEADER : HEADER + 64]):
        with pytest.raises(FloeError):
            opened(made + more, SMALL, 64)


def test_segments_cannot_change_places_or_blobs() -> None:
    data = random.Random(5).randbytes(SMALL.content * 4)
    made = sealed(data, SMALL, 1, 100)
    head, body = made[:HEADER], made[HEADER:]
    pieces = [body[at : at + 64] for at in range(0, len(body), 64)]
    for wrong in (
        [pieces[1], pieces[0], *pieces[2:]],
        [pieces[0], pieces[0], *pieces[2:]],
        [*pieces[:2], pieces[3]],
        pieces[1:],
    ):
        with pytest.raises(FloeError):
            opened(head + b"".join(wrong), SMALL, 64)
    foreign = Floe(KEY, bytes(32), AAD, SMALL).header + body
    with pytest.raises(FloeError):
        opened(foreign, SMALL, 64)


def test_the_header_fits_one_key_and_one_subject() -> None:
    made = sealed(b"content", SMALL, 1, 100)
    with pytest.raises(FloeError, match="another key"):
        opened(made, SMALL, 64, key=bytes(32))
    with pytest.raises(FloeError, match="another key"):
        opened(made, SMALL, 64, aad=b"about something else")
    with pytest.raises(FloeError, match="none of this format"):
        opened(made, Shape(128, 2), 64)


def test_sizes_that_no_body_has() -> None:
    for size in (-5, 0, OVERHEAD - 1, 65536 + 1, 65536 + OVERHEAD, 3 * 65536 + 5):
        with pytest.raises(FloeError):
            SHAPE.opened(size)
    for size in random.Random(1).sample(range(1 << 40), 2000):
        assert SHAPE.opened(SHAPE.sealed(size)) == size


def test_misuse_is_refused() -> None:
    floe = Floe(KEY, NUMBER, AAD, SMALL)
    for content, last in ((b"x" * 31, False), (b"x" * 33, True), (b"x" * 33, False)):
        with pytest.raises(ValueError, match="full"):
            floe.seal(0, content, bytes(12), last=last)
    with pytest.raises(ValueError, match="32 bytes"):
        Floe(b"short", NUMBER, AAD)
