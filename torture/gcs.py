"""The driver for Google Cloud Storage while its fake has its bad days.

Looked for: bytes that are not what was put, a put that was acknowledged and is gone or older, a free name that two
writers were given, an error that is not ours, a call that does not end, uploads that are left open.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from holdfast.backends.object_store.gcs import GcsBackend, GcsSettings, open_gcs
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.errors import AlreadyExistsError, CorruptedError, HoldfastError, NotFoundError
from holdfast.core.types import ByteRange
from holdfast.testing.fakes.gcs import FakeGcs, Fault
from holdfast.testing.harness import pieces

_AT_ONCE = 8
_NAMES = 4  #: of each worker; nobody else writes them
_PART = 5 << 20
_PATIENCE = 60.0  #: seconds in which each call must end
_FAULTS = (
    *(Fault("status", status=status) for status in (500, 502, 503)),
    Fault("status", status=429, code="SlowDown", retry_after=2),
    Fault("status", status=401, code="AuthenticationRequired"),
    Fault("status", status=408, code="RequestTimeout"),
    *(Fault(kind) for kind in ("reset", "lost", "half", "short", "lie")),
)


@dataclass
class Figures:
    """What was seen."""

    faults: int = 0
    calls: int = 0
    acknowledged: int = 0  #: puts and deletes
    failed: int = 0  #: calls that ended with an error of ours
    renewed: int = 0  #: tokens that were fetched
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)  #: what must not happen

    @property
    def sound(self) -> bool:
        """Whether nothing was found, and there was something to look at."""
        return not self.wrong and self.acknowledged > 0

    def __str__(self) -> str:
        shown = "".join(f"\n    {line}" for line in self.wrong[:8])
        return (
            f"gcs: {self.faults:,} faults in {self.calls:,} calls, {self.acknowledged:,} acknowledged, "
            f"{self.failed:,} failed, {self.renewed:,} tokens, wrong {len(self.wrong)}; "
            f"{self.seconds:.0f} s → {'sound' if self.sound else 'BROKEN'}{shown}"
        )


async def storm(faults: int, *, seed: int) -> Figures:
    """Return what happens while `faults` requests meet a fault."""
    figures, began, clock = Figures(), time.monotonic(), ManualClock()
    with FakeGcs(now=clock.now) as fake:
        values = {**fake.settings(), "part_size": _PART, "retries": 0, "read_timeout": 20}
        environment = Environment(clock=clock, random=random.Random(seed))  # noqa: S311 - repeatable, not secret
        backend = open_gcs("storm", GcsSettings.model_validate(values), environment=environment)
        assert isinstance(backend, GcsBackend)
        try:
            await _Storm(fake, clock, backend, figures, faults, seed).blow()
        finally:
            await backend.close()
        figures.renewed = len(fake.accounts.tokens)
    figures.seconds = time.monotonic() - began
    return figures


class _Storm:
    def __init__(
        self,
        fake: FakeGcs,
        clock: ManualClock,
        backend: GcsBackend,
        figures: Figures,
        faults: int,
        seed: int,
    ) -> None:
        self._fake, self._clock, self._backend, self._figures = fake, clock, backend, figures
        self._faults, self._chance = faults, random.Random(seed)  # noqa: S311
        self._large = self._chance.randbytes(_PART + 300_000)
        #: what may be under each name: digests of what was acknowledged or may have come through; "" is nothing
        self._may: dict[str, set[str]] = {}

    async def blow(self) -> None:
        """Work until the faults are used up, then look at everything without any."""
        self._fake.faults.chance = self._fault
        await asyncio.gather(*(self._work(number) for number in range(_AT_ONCE)))
        self._fake.faults.clear()
        self._figures.faults = len(self._fake.faults.met)
        for name in sorted(self._may):
            await self._look(name, calm=True)
        self._clock.advance(1)
        await self._backend.abort_stale_uploads(0)
        if self._fake.bucket.uploads:
            self._figures.wrong.append(f"{len(self._fake.bucket.uploads)} uploads stay open")

    def _fault(self, method: str, target: str) -> Fault | None:
        return self._chance.choice(_FAULTS) if self._chance.random() < 0.3 else None

    async def _work(self, worker: int) -> None:
        chance = random.Random(self._chance.random())  # noqa: S311
        while len(self._fake.faults.met) < self._faults:
            name, what = f"{worker}/{chance.randrange(_NAMES)}", chance.random()
            if what < 0.5:
                await self._put(name, chance)
            elif what < 0.85:
                await self._look(name)
            elif what < 0.95:
                await self._delete(name)
            else:
                self._clock.advance(chance.choice((1, 600, 4000)))  # tokens grow old
                if chance.random() < 0.3:
                    self._fake.accounts.end_all()

    async def _put(self, name: str, chance: random.Random) -> None:
        large = chance.random() < 0.08
        data = (
            self._large[chance.randrange(200_000) :]
            if large
            else chance.randbytes(chance.choice((0, 1, 4096, 300_000)))
        )
        digest = sha256(data).hexdigest()
        if_absent = chance.random() < 0.3
        before = set(self._may.get(name, {""}))
        body = Body.of_stream(pieces(data, 1 << 20)) if large else Body.of_bytes(data)
        error = await self._call(self._backend.put(name, body, if_absent=if_absent))
        if error is None:
            if if_absent and "" not in before:
                self._figures.wrong.append(f"{name} was taken and was given as free")
            self._figures.acknowledged += 1
            self._may[name] = {digest}
        elif not (isinstance(error, AlreadyExistsError) and before == {digest}):
            # What the store calls other bytes than were sent is taken back.
            gone = {""} if isinstance(error, CorruptedError) else set()
            self._may[name] = before | {digest} | gone

    async def _delete(self, name: str) -> None:
        if await self._call(self._backend.delete(name)) is None:
            self._figures.acknowledged += 1
            self._may[name] = {""}
        else:
            self._may[name] = {"", *self._may.get(name, {""})}

    async def _look(self, name: str, *, calm: bool = False) -> None:
        found: list[bytes] = []

        async def read() -> None:
            async with self._backend.get(name) as reader:
                found.append(await reader.read())
            if len(found[0]) > 100:
                async with self._backend.get(name, range=ByteRange(7, 99)) as reader:
                    if await reader.read() != found[0][7:100]:
                        self._figures.wrong.append(f"{name}: a range holds other bytes")

        error = await self._call(read())
        if isinstance(error, NotFoundError):
            seen = ""
        elif found:
            seen = sha256(found[0]).hexdigest()
        else:
            if calm:
                self._figures.wrong.append(f"{name} cannot be read: {error}")
            return
        if seen not in self._may.get(name, {""}):
            self._figures.wrong.append(f"{name}: {seen[:12] or 'nothing'} was not put")

    async def _call(self, work: Coroutine[Any, Any, object]) -> Exception | None:
        """Await `work`; return its error, which must be ours and come in time."""
        self._figures.calls += 1
        try:
            async with asyncio.timeout(_PATIENCE):
                await work
        except HoldfastError as error:
            self._figures.failed += 1
            return error
        except TimeoutError as error:
            self._figures.wrong.append("a call did not end")
            return error
        except Exception as error:
            self._figures.wrong.append(f"{type(error).__name__} is no error of ours: {error}")
            return error
        return None
