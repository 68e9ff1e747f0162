"""What encryption costs one core: 64 MiB sealed and opened, bare and through the layer, and 4 KiB read from the middle.

Everything happens on one thread, and what it took of the processor counts, not of the clock. What is sealed goes to a store
that throws it away; what is opened comes from memory. The peer is bare AES-256-GCM: what is left of it is what the format, the layer and the flow of chunks cost.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench.figures import Figure
from bench.options import Options
from holdfast.backends.memory import MemoryBackend
from holdfast.core.backend import NO_OPTIONS, PutOptions
from holdfast.core.body import CHUNK, Body
from holdfast.core.clock import Environment
from holdfast.core.keyring import BlobKey
from holdfast.core.types import BlobInfo, ByteRange
from holdfast.layers.encryption import Encryption
from holdfast.layers.encryption.envelope import stream_of
from holdfast.layers.encryption.floe import SHAPE, Opening, Sealing
from holdfast.testing.keyring import MemoryKeyRing

_SIZE = 64 << 20
_LEAST = 1.0  #: GB/s of one core
_PART = 4096
_NAME = "bench/2026112108/0190d6f4-1111-7222-8333-444455556666.floe1"


def run(options: Options) -> list[Figure]:
    """Measure; the same bytes every round."""
    data = os.urandom(_SIZE)
    sealing = Figure("encryption: 64 MiB sealed on one core", "GB/s", ours="layer")
    opening = Figure("encryption: 64 MiB opened on one core", "GB/s", ours="layer")
    parts = Figure("encryption: 4 KiB out of 64 MiB, key known", "µs", ours="layer", at_most=1000.0)
    for figure in (sealing, opening):
        figure.notes.append(f"wanted of the layer: ≥ {_LEAST:g} GB/s")
    for number in range(options.rounds):
        options.say(f"encryption: round {number + 1} of {options.rounds}")
        _bare(data, sealing, opening)
        _format(data, sealing, opening)
        asyncio.run(_layer(data, sealing, opening, parts))
    return [sealing, opening, parts]


def _rate(work: Callable[[], object]) -> float:
    begun = time.thread_time()
    work()
    return _SIZE / (time.thread_time() - begun) / 1e9


def _bare(data: bytes, sealing: Figure, opening: Figure) -> None:
    cipher, nonce, view = AESGCM(os.urandom(32)), os.urandom(12), memoryview(data)
    made = [cipher.encrypt(nonce, view[at : at + CHUNK], None) for at in range(0, _SIZE, CHUNK)]

    def seal() -> None:
        for at in range(0, _SIZE, CHUNK):
            cipher.encrypt(nonce, view[at : at + CHUNK], None)

    def unseal() -> None:
        for piece in made:
            cipher.decrypt(nonce, piece, None)

    sealing.add("bare AES-256-GCM", _rate(seal))
    opening.add("bare AES-256-GCM", _rate(unseal))


def _format(data: bytes, sealing: Figure, opening: Figure) -> None:
    floe = stream_of(_NAME, BlobKey(os.urandom(64), 1, b""))
    chunks = [data[at : at + CHUNK] for at in range(0, _SIZE, CHUNK)]
    flow = Sealing(floe, lambda: os.urandom(12))
    made = [*(flow.update(chunk) for chunk in chunks), flow.finish()]

    def seal() -> None:
        flow = Sealing(floe, lambda: os.urandom(12))
        for chunk in chunks:
            flow.update(chunk)
        flow.finish()

    def unseal() -> None:
        flow = Opening(floe, SHAPE.sealed(_SIZE))
        for piece in made:
            flow.update(piece)

    sealing.add("the format alone", _rate(seal))
    opening.add("the format alone", _rate(unseal))


class _Nowhere(MemoryBackend):
    """Takes everything and keeps nothing."""

    async def put(
        self, name: str, body: Body, *, options: PutOptions = NO_OPTIONS, if_absent: bool = False
    ) -> BlobInfo:
        size = 0
        async for chunk in body.chunks():
            size += len(chunk)
        return BlobInfo(name, size, 0)


async def _layer(data: bytes, sealing: Figure, opening: Figure, parts: Figure) -> None:
    environment = Environment()
    disk = MemoryBackend("memory", environment=environment)
    layer = Encryption(disk, MemoryKeyRing(environment), environment=environment)
    nowhere = Encryption(
        _Nowhere("memory", environment=environment), MemoryKeyRing(environment), environment=environment
    )
    chunks = [data[at : at + CHUNK] for at in range(0, _SIZE, CHUNK)]

    async def flow() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    begun = time.thread_time()
    await nowhere.put(_NAME, Body.of_stream(flow(), size=_SIZE))
    sealing.add("layer", _SIZE / (time.thread_time() - begun) / 1e9)
    await layer.put(_NAME, Body.of_stream(flow(), size=_SIZE))
    begun, seen = time.thread_time(), 0
    async with layer.get(_NAME) as reader:
        async for chunk in reader:
            seen += len(chunk)
    opening.add("layer", seen / (time.thread_time() - begun) / 1e9)
    took = []
    for at in range(1 << 20, _SIZE, 3 << 20):
        begun = time.perf_counter()
        async with layer.get(_NAME, range=ByteRange(at, at + _PART - 1)) as reader:
            await reader.read()
        took.append((time.perf_counter() - begun) * 1e6)
    parts.add("layer", sorted(took)[len(took) // 2])
