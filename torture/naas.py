"""A storm over a storage of Naas: keys end at any time, both of its servers fail in every way known, and nothing may be lost.

Every blob has a name of its own, so what a name holds can only be what was put there. A call may fail; but what was
acknowledged must be there, whole, and what was deleted must be gone; and no call may last for ever.
"""
# ruff: noqa: S311 - choices that must repeat

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from holdfast.backends.naas import NaasSettings, open_naas
from holdfast.core.backend import Backend
from holdfast.core.body import Body
from holdfast.core.clock import Environment
from holdfast.core.errors import HoldfastError, NotFoundError
from holdfast.core.types import ByteRange
from holdfast.layers import stack
from holdfast.testing.fakes.naas import Changed, Fault, Garbage, Half, Lost, NaasFake, Status
from holdfast.testing.servers import rclone_s3
from torture.storm import Hasty

WORKERS = 16
PATIENCE = 60.0  #: seconds after which a call counts as hanging
_MIB = 1 << 20
_NO_FAULT = type(Fault()).__name__

_AT_THE_GATE: tuple[Fault, ...] = (
    Status(503, "SlowDown", retry_after=1),
    Status(503, "ServiceUnavailable"),
    Status(500, "InternalError"),
    Status(400, "ExpiredToken"),
    Status(400, "InvalidToken"),
    Status(429, "TooManyRequests", retry_after=1),
    Lost(),
    Half(),
)
_AT_THE_API: tuple[Fault, ...] = (
    Status(500),
    Status(429, retry_after=1),
    Lost(),
    Half(),
    Garbage(),
    Changed((("expiration", "2020-01-01 00:00:00+0000"),)),
)


@dataclass
class Figures:
    """What came of a storm."""

    faults: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    damage: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def total(self) -> int:
        """How many faults there were."""
        return sum(self.faults.values())

    @property
    def sound(self) -> bool:
        """Whether every promise held."""
        return not self.damage and self.total > 0 and self.calls["verified"] > 0

    def __str__(self) -> str:
        lines = [
            f"naas: {self.total} faults ({_told(self.faults)})",
            f"calls: {_told(self.calls)}",
            f"failed, as they may: {_told(self.failed) or 'none'}",
            f"wrong bytes, lost blobs, hangs: {len(self.damage)}, {self.seconds:.0f} s",
        ]
        return "\n".join((*lines, *self.damage[:20]))


class Storm:
    """One storm: a seed says what happens when, but for what runs side by side."""

    def __init__(self, fake: NaasFake, backend: Backend, faults: int, seed: int) -> None:
        self._fake, self._backend, self._wanted = fake, backend, faults
        self._chance = random.Random(seed)
        self._held: dict[str, bytes] = {}  #: what was acknowledged
        self._open: dict[str, bytes] = {}  #: what a failed put may have left
        self._gone: set[str] = set()
        self._number = 0
        self._ended = 0
        self.figures = Figures()

    async def run(self) -> Figures:
        """Blow until there were enough faults; then look at everything in calm."""
        began = time.monotonic()
        await asyncio.gather(*(self._worker() for _ in range(WORKERS)))
        self._fake.gate.clear()
        self._fake.api.clear()
        self._fake.ledger.end_all()
        await self._verify()
        self.figures.faults = self._count()
        self.figures.seconds = time.monotonic() - began
        return self.figures

    def _count(self) -> Counter[str]:
        found = Counter({"keys ended": self._ended})
        for name, script in (("gate", self._fake.gate), ("api", self._fake.api)):
            found += Counter({f"{name} {kind}": n for kind, n in script.seen.items() if kind != _NO_FAULT})
        return found

    async def _worker(self) -> None:
        while sum(self._count().values()) < self._wanted:
            self._break_something()
            verb = self._chance.choice(("put", "put", "get", "get", "range", "head", "delete", "list"))
            try:
                async with asyncio.timeout(PATIENCE):
                    await getattr(self, f"_{verb}")()
                self.figures.calls[verb] += 1
            except TimeoutError:
                self.figures.damage.append(f"{verb} did not end within {PATIENCE:.0f} s")
            except HoldfastError as error:
                self.figures.failed[f"{verb} {error.code}"] += 1

    def _break_something(self) -> None:
        kind = self._chance.random()
        if kind < 0.25:
            self._fake.gate.script(self._chance.choice(_AT_THE_GATE))
        elif kind < 0.30:
            self._fake.api.script(self._chance.choice(_AT_THE_API))
        elif kind < 0.33:
            self._ended += 1
            self._fake.ledger.end_all()

    async def _put(self) -> None:
        self._number += 1
        name = f"storm/{self._number % 7}/{self._number}"
        size = self._chance.choice(
            (0, 1, 999, 70_000, 300_000, 300_000, 6 * _MIB if self._number % 9 == 0 else 5_000)
        )
        data = random.Random(self._number).randbytes(size)
        self._open[name] = data
        streamed = self._chance.random() < 0.4
        body = Body.of_stream(_pieces(data), size=len(data)) if streamed else Body.of_bytes(data)
        await self._backend.put(name, body)
        self._held[name] = self._open.pop(name)

    async def _get(self) -> None:
        if name := self._any():
            await self._compare(name, self._held[name])

    async def _range(self) -> None:
        name = self._any()
        if name and (data := self._held[name]):
            start = self._chance.randrange(len(data))
            end = min(len(data) - 1, start + 5_000)
            await self._compare(name, data[start : end + 1], ByteRange(start, end))

    async def _head(self) -> None:
        if name := self._any():
            size = len(self._held[name])
            try:
                found = (await self._backend.head(name)).size
            except NotFoundError:
                found = -1
            if found != size and name in self._held:
                self.figures.damage.append(f"head of {name} says {found} instead of {size}")

    async def _delete(self) -> None:
        if name := self._any():
            data = self._held.pop(name)
            self._open[name] = data  # until it is acknowledged it may be there or not
            await self._backend.delete(name)
            del self._open[name]
            self._gone.add(name)

    async def _list(self) -> None:
        prefix = f"storm/{self._chance.randrange(7)}/"
        before = {name for name in self._held if name.startswith(prefix)}
        found = {info.name async for info in self._backend.list(prefix)}
        if lost := {name for name in before - found if name in self._held}:
            self.figures.damage.append(f"the listing lacks {sorted(lost)[:3]}")

    def _any(self) -> str:
        return self._chance.choice(list(self._held)) if self._held else ""

    async def _compare(self, name: str, data: bytes, range: ByteRange | None = None) -> None:
        try:
            async with self._backend.get(name, range=range) as reader:
                found = await reader.read()
        except NotFoundError:
            if name in self._held:
                self.figures.damage.append(f"{name} was acknowledged and is not there")
            return
        if found != data:
            self.figures.damage.append(f"{name} has other bytes ({len(found)} instead of {len(data)})")

    async def _verify(self) -> None:
        for name, data in self._held.items():
            await self._compare(name, data)
            self.figures.calls["verified"] += 1
        there = {info.name async for info in self._backend.list("storm/")}
        if lost := self._held.keys() - there:
            self.figures.damage.append(f"the last listing lacks {sorted(lost)[:3]}")
        if back := self._gone & there:
            self.figures.damage.append(f"deleted, and there again: {sorted(back)[:3]}")
        for name in there & self._open.keys():
            await self._whole(name)

    async def _whole(self, name: str) -> None:
        """What a failed put left is all of it, or nothing."""
        async with self._backend.get(name) as reader:
            if await reader.read() != self._open[name]:
                self.figures.damage.append(f"{name}, whose put failed, has other bytes")


async def storm(faults: int, *, seed: int = 1) -> Figures:
    """Return what comes of so many faults over a fake in front of a real server."""
    with rclone_s3() as server:
        async with NaasFake(server) as fake:
            environment = Environment(clock=Hasty())
            settings = NaasSettings.model_validate(
                fake.settings(dialect="rclone", part_size=5 * _MIB, retries=0)
            )
            driver = open_naas("naas", settings, environment=environment)
            backend = stack.build(driver, stack.StackSettings(attempts=4), environment=environment)
            try:
                return await Storm(fake, backend, faults, seed).run()
            finally:
                await backend.close()


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


def _told(counted: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counted.items()))
