"""What every storm over one driver does: work while the way to its server has bad days, against what was acknowledged.

Workers with names of their own put, read and delete at once. What was acknowledged must be there, whole; what failed may
be there or not; each error must be one of ours and each call must end. A driver adds what goes wrong, and what else is done.
"""
# ruff: noqa: S311 - choices that must repeat, no secrets

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, ClassVar

from holdfast.core.backend import Backend
from holdfast.core.body import Body
from holdfast.core.clock import SystemClock
from holdfast.core.errors import AlreadyExistsError, HoldfastError, NotFoundError
from holdfast.core.types import ByteRange
from holdfast.testing.harness import pieces

_PATIENCE = 60.0  #: seconds in which each call must end


class Hasty(SystemClock):
    """Real time, but the driver's own pauses are short: the bad days here are over at once."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.002))


@dataclass
class Figures:
    """What was seen."""

    faults: int = 0
    calls: int = 0
    acknowledged: int = 0  #: puts and deletes
    failed: int = 0  #: calls that ended with an error of ours
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)  #: what must not happen
    title: ClassVar[str] = ""

    @property
    def sound(self) -> bool:
        """Whether nothing was found, and there was something to look at."""
        return not self.wrong and self.acknowledged > 0

    @property
    def more(self) -> str:
        """What a driver counts besides."""
        return ""

    def __str__(self) -> str:
        shown = "".join(f"\n    {line}" for line in self.wrong[:8])
        return (
            f"{self.title}: {self.faults:,} faults in {self.calls:,} calls, {self.acknowledged:,} acknowledged, "
            f"{self.failed:,} failed, {self.more}wrong {len(self.wrong)}; {self.seconds:.0f} s → "
            f"{'sound' if self.sound else 'BROKEN'}{shown}"
        )


class Storm(ABC):
    """Workers on one store, until enough faults were met."""

    workers = 4
    names = 4  #: of each worker; nobody else writes them
    parts = 1  #: whole ones in a large body
    large_share = 0.15
    piece = 1 << 18  #: of a streamed body

    def __init__(self, backend: Backend, figures: Figures, faults: int, seed: int, *, part: int) -> None:
        self._backend, self._figures, self._faults = backend, figures, faults
        self._chance = random.Random(seed)
        self._large = self._chance.randbytes(self.parts * part + 300_000)
        #: what may be under each name: digests of what was acknowledged or may have come through; "" is nothing
        self._may: dict[str, set[str]] = {}

    @abstractmethod
    def met(self) -> int:
        """Return how many faults there were."""

    @abstractmethod
    def calm(self) -> None:
        """End the bad days."""

    @abstractmethod
    async def act(self, name: str, chance: random.Random) -> None:
        """Do one thing with `name`."""

    async def blow(self) -> None:
        """Work until the faults are used up, then look at everything without any."""
        await asyncio.gather(*(self._work(number) for number in range(self.workers)))
        self._figures.faults = self.met()
        self.calm()
        for name in sorted(self._may):
            await self._look(name, calm=True)

    def left_by(self, error: Exception) -> Sequence[str]:
        """Return what else may be under a name after a put that failed so."""
        return ()

    async def _work(self, worker: int) -> None:
        chance = random.Random(self._chance.random())
        while self.met() < self._faults:
            await self.act(f"{worker}/{chance.randrange(self.names)}", chance)

    async def _put(self, name: str, chance: random.Random) -> None:
        large = chance.random() < self.large_share
        data = (
            self._large[chance.randrange(200_000) :]
            if large
            else chance.randbytes(chance.choice((0, 1, 4096, 300_000)))
        )
        digest, if_absent = sha256(data).hexdigest(), chance.random() < 0.3
        before = set(self._may.get(name, {""}))
        body = Body.of_stream(pieces(data, self.piece)) if large else Body.of_bytes(data)
        error = await self._call(self._backend.put(name, body, if_absent=if_absent))
        if error is None:
            if if_absent and "" not in before:
                self._figures.wrong.append(f"{name} was taken and was given as free")
            self._figures.acknowledged += 1
            self._may[name] = {digest}
        elif not (isinstance(error, AlreadyExistsError) and before == {digest}):
            self._may[name] = before | {digest, *self.left_by(error)}

    async def _remove(self, name: str, *, discard: bool = False, left: Sequence[str] = ()) -> None:
        """Delete or discard `name`; when that fails, one of `left` may be there too."""
        work = self._backend.discard(name) if discard else self._backend.delete(name)
        if await self._call(work) is None:
            self._figures.acknowledged += 1
            self._may[name] = {""}
        else:
            self._may[name] = {"", *self._may.get(name, {""}), *left}

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
