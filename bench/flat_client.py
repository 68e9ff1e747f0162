"""The process whose memory `flat` measures: one store with all its layers, one blob up and back.

`python -m bench.flat_client` reads what to do as JSON from its input and prints what it saw as JSON. Idle is what the
process holds after 1 MiB went up and came back; the most that it held later is the system's own count (`VmHWM`, started
anew before each way), so nothing that lasted only a moment is missed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from holdfast.config import StoreSettings
from holdfast.core.backend import Backend, PutOptions
from holdfast.core.body import CHUNK, Body
from holdfast.core.clock import Environment
from holdfast.core.types import Origin
from holdfast.drivers import open_store
from holdfast.testing.keyring import MemoryKeyRing

_MIB: Final = 1 << 20
_STAMP: Final = 8
_NAMES: Final = {
    "warm": "bench/2026112108/0190d6f4-1111-7222-8333-444455556660",
    "up": "bench/2026112108/0190d6f4-1111-7222-8333-444455556661",
    "up, length unknown": "bench/2026112108/0190d6f4-1111-7222-8333-444455556662",
}


class Source:
    """Bytes that do not repeat, and their digest."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._noise = random.Random(size).randbytes(2 * CHUNK)
        self.digest = hashlib.sha256()

    async def flow(self) -> AsyncIterator[bytes]:
        """Yield them once."""
        for number, start in enumerate(range(0, self._size, CHUNK)):
            at = number % CHUNK
            chunk = number.to_bytes(_STAMP, "big") + self._noise[at : at + CHUNK - _STAMP]
            chunk = chunk[: self._size - start]
            self.digest.update(chunk)
            yield chunk


class Client:
    """Does what it is asked and weighs itself."""

    def __init__(self, backend: Backend, suffix: str) -> None:
        self._backend, self._suffix = backend, suffix
        self._digests: dict[str, str] = {}
        self._idle = 0
        self.seen: list[dict[str, Any]] = []

    async def warm(self) -> None:
        """Bring what is loaded at first use."""
        await self._put("warm", _MIB, known=True)
        await self._get("warm")
        await self._backend.delete(self._name("warm"))
        self._idle = _field("VmRSS")

    async def up(self, way: str, size: int, *, known: bool) -> None:
        """Put a blob, weighed."""
        await self._weighed(way, size, lambda: self._put(way, size, known=known))

    async def down(self, way: str, source: str, size: int) -> None:
        """Read it back, weighed."""
        found = await self._weighed(way, size, lambda: self._get(source))
        for row in self.seen:
            if row["way"] in (source, way):
                row["same"] = found == self._digests[source]

    async def remove(self, way: str) -> None:
        """Remove it."""
        await self._backend.delete(self._name(way))

    async def _weighed(self, way: str, size: int, work: Callable[[], Awaitable[str]]) -> str:
        Path("/proc/self/clear_refs").write_text("5")
        begun = time.perf_counter()
        found = await work()
        seconds = time.perf_counter() - begun
        above = (_field("VmHWM") - self._idle) / _MIB
        self.seen.append({"way": way, "mib": above, "mb_s": size / seconds / 1e6, "same": None})
        return found

    async def _put(self, way: str, size: int, *, known: bool) -> str:
        source = Source(size)
        body = Body.of_stream(source.flow(), size=size if known else None)
        name = self._name(way)
        origin = Origin("bench", "flat", way, name.rpartition("/")[2], "2026112108", None, 0, None)
        info = await self._backend.put(name, body, options=PutOptions(origin=origin))
        if info.size != size:
            raise AssertionError(f"{info.size} bytes are there, not {size}")
        self._digests[way] = source.digest.hexdigest()
        return self._digests[way]

    async def _get(self, way: str) -> str:
        digest = hashlib.sha256()
        async with self._backend.get(self._name(way)) as reader:
            async for chunk in reader:
                digest.update(chunk)
        return digest.hexdigest()

    def _name(self, way: str) -> str:
        return _NAMES[way] + self._suffix


async def run(asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what was seen, a row for each way."""
    environment, size, ways = Environment(), int(asked["size"]), asked["ways"]
    settings = StoreSettings.model_validate(asked["settings"])
    store = open_store("flat", settings, environment, keys=MemoryKeyRing(environment))
    suffix = ".floe1" if asked["encrypted"] else ""
    client = Client(store.for_blob(_NAMES["warm"] + suffix), suffix)
    try:
        await client.warm()
        if "up, length unknown" in ways:
            await client.up("up, length unknown", size, known=False)
            await client.down("down, length unknown", "up, length unknown", size)
            await client.remove("up, length unknown")
        await client.up("up", size, known=True)
        for way in asked["reads"]:
            await client.down(way, "up", size)
        client.seen = [row for row in client.seen if row["way"] in ways]
        await client.remove("up")
    finally:
        await store.backend.close()
    return client.seen


def _field(name: str) -> int:
    """Return a count of bytes from what the system says of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) << 10
    raise OSError(f"/proc/self/status has no {name}")


if __name__ == "__main__":
    os.environ.pop("HOLDFAST_CONFIG", None)
    print(json.dumps(asyncio.run(run(json.load(sys.stdin)))), flush=True)
