"""The driver for Azure Blob while the way to a real blob server has its bad days.

Looked for: bytes that are not what was put, a put that was acknowledged and is gone or older, a free name that two
writers were given, an error that is not ours, a call that does not end.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from holdfast.backends.object_store.azure import AzureBackend, AzureSettings, open_azure
from holdfast.core.body import Body
from holdfast.core.clock import Environment, SystemClock
from holdfast.core.errors import AlreadyExistsError, HoldfastError, NotFoundError
from holdfast.core.types import ByteRange
from holdfast.testing.azurite import AzureServer, azurite
from holdfast.testing.harness import pieces
from holdfast.testing.proxy import Answer, Cut, Fault, Flip, Proxy, Refuse, Truncate

_AT_ONCE = 4
_NAMES = 4  #: of each worker; nobody else writes them
_BLOCK = 1 << 20
_PATIENCE = 60.0  #: seconds in which each call must end


class _Hasty(SystemClock):
    """Real time, but the driver's own pauses are skipped."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


@dataclass
class Figures:
    """What was seen."""

    faults: int = 0
    calls: int = 0
    acknowledged: int = 0  #: puts and deletes
    failed: int = 0  #: calls that ended with an error of ours
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)  #: what must not happen

    @property
    def sound(self) -> bool:
        """Whether nothing was found, and there was something to look at."""
        return not self.wrong and self.acknowledged > 0 and self.failed > 0

    def __str__(self) -> str:
        shown = "".join(f"\n    {line}" for line in self.wrong[:8])
        return (
            f"azure: {self.faults:,} faults in {self.calls:,} calls, {self.acknowledged:,} acknowledged, "
            f"{self.failed:,} failed, wrong {len(self.wrong)}; {self.seconds:.0f} s → "
            f"{'sound' if self.sound else 'BROKEN'}{shown}"
        )


async def storm(faults: int, *, seed: int, server: AzureServer | None = None) -> Figures:
    """Return what happens while `faults` requests meet a fault; on `server`, else on one that is started for it."""
    if server is None:
        with azurite() as running:
            return await storm(faults, seed=seed, server=running)
    figures, began = Figures(), time.monotonic()
    async with Proxy("127.0.0.1", server.port) as proxy:
        settings = AzureSettings.model_validate(
            {
                "account": server.account,
                "account_key": server.account_key,
                "container": server.container,
                "endpoint": f"http://127.0.0.1:{proxy.port}/{server.account}",
                "allow_http": True,
                "part_size": _BLOCK,
                "retries": 1,
                "prefix": f"storm-{seed}",
            }
        )
        environment = Environment(clock=_Hasty(), random=random.Random(seed))  # noqa: S311 - repeatable, not secret
        backend = open_azure("storm", settings, environment=environment)
        try:
            await _Storm(proxy, backend, figures, faults, seed).blow()
        finally:
            await backend.close()
    figures.seconds = time.monotonic() - began
    return figures


class _Storm:
    def __init__(self, proxy: Proxy, backend: AzureBackend, figures: Figures, faults: int, seed: int) -> None:
        self._proxy, self._backend, self._figures = proxy, backend, figures
        self._faults, self._chance = faults, random.Random(seed)  # noqa: S311
        self._large = self._chance.randbytes(2 * _BLOCK + 300_000)
        #: what may be under each name: digests of what was acknowledged or may have come through; "" is nothing
        self._may: dict[str, set[str]] = {}

    async def blow(self) -> None:
        """Work until the faults are used up, then look at everything without any."""
        await asyncio.gather(*(self._work(number) for number in range(_AT_ONCE)))
        left = self._proxy.pending
        self._proxy.clear()
        self._figures.faults = sum(self._proxy.done.values())
        assert left <= _AT_ONCE, "faults pile up unused"
        for name in sorted(self._may):
            await self._look(name, calm=True)

    async def _work(self, worker: int) -> None:
        chance = random.Random(self._chance.random())  # noqa: S311
        while sum(self._proxy.done.values()) < self._faults:
            if self._proxy.pending < _AT_ONCE:
                self._proxy.script(_fault(chance))
            name, what = f"{worker}/{chance.randrange(_NAMES)}", chance.random()
            if what < 0.5:
                await self._put(name, chance)
            elif what < 0.85:
                await self._look(name)
            else:
                await self._remove(name, discard=chance.random() < 0.5)

    async def _put(self, name: str, chance: random.Random) -> None:
        large = chance.random() < 0.15
        data = (
            self._large[chance.randrange(200_000) :]
            if large
            else chance.randbytes(chance.choice((0, 1, 4096, 300_000)))
        )
        digest, if_absent = sha256(data).hexdigest(), chance.random() < 0.3
        before = set(self._may.get(name, {""}))
        body = Body.of_stream(pieces(data, 1 << 18)) if large else Body.of_bytes(data)
        error = await self._call(self._backend.put(name, body, if_absent=if_absent))
        if error is None:
            if if_absent and "" not in before:
                self._figures.wrong.append(f"{name} was taken and was given as free")
            self._figures.acknowledged += 1
            self._may[name] = {digest}
        elif not (isinstance(error, AlreadyExistsError) and before == {digest}):
            self._may[name] = before | {digest}

    async def _remove(self, name: str, *, discard: bool) -> None:
        work = self._backend.discard(name) if discard else self._backend.delete(name)
        error = await self._call(work)
        if error is None:
            self._figures.acknowledged += 1
            self._may[name] = {""}
        else:  # `discard` makes an empty blob for a moment, and may be kept from removing it
            empty = {sha256(b"").hexdigest()} if discard else set()
            self._may[name] = {"", *self._may.get(name, {""}), *empty}

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
        if found:
            seen = sha256(found[0]).hexdigest()
        elif isinstance(error, NotFoundError):
            seen = ""
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


def _fault(chance: random.Random) -> Fault:
    return chance.choice(
        (
            Answer(503, code="ServerBusy", retry_after=0),
            Answer(500, code="OperationTimedOut", after_effect=True),
            Answer(500, code="InternalError"),
            Answer(409, code="BlobBeingRehydrated", match=lambda head: head.method == "GET"),
            Refuse(),
            Cut(after=chance.randrange(2_000)),
            # All of a body would take effect some time after the connection is gone; that proves nothing.
            Cut(after=chance.randrange(2_000), upward=True, match=lambda head: head.length > 2_000),
            Truncate(length=chance.randrange(10), match=lambda head: head.method == "GET"),
            # Lists of blocks are not among them: the emulator does not compare their MD5.
            Flip(
                offset=chance.randrange(10),
                upward=True,
                match=lambda head: head.length > 10 and "blocklist" not in head.target,
            ),
        )
    )
