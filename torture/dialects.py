"""The S3 driver in front of every dialect: all promises, then many operations while the server has its bad days.

Looked for: bytes that are not what was put, a put that was acknowledged and is gone or older, a promise that breaks, a
request that the dialect would refuse, a call that does not end.
"""
# ruff: noqa: T201 - this is a program: it prints

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from holdfast.backends.object_store import ObjectStoreBackend, S3Settings, open_s3
from holdfast.backends.object_store.dialects import DIALECTS, MIB
from holdfast.core.body import Body
from holdfast.core.clock import Environment, SystemClock
from holdfast.core.errors import HoldfastError, NotFoundError
from holdfast.core.types import ByteRange
from holdfast.testing.dialects import (
    DialectProxy,
    expired_token,
    failed_completion,
    failed_deletions,
    short_body,
    slow_down,
)
from holdfast.testing.proxy import Answer, Cut, Fault, Refuse
from holdfast.testing.run import State, run
from holdfast.testing.servers import S3Server, moto_s3

_NAMES = 24
_AT_ONCE = 8
_PATIENCE = 60.0  #: seconds in which each call must end
_PART = 5 * MIB
#: Where a space ends each key, a name has one character less than the promise says.
_WITH_FOLDERS = frozenset({"a_store_has_a_name_and_limits"})


@dataclass
class Figures:
    """What was seen with one dialect."""

    dialect: str
    kept: int = 0
    not_offered: int = 0
    broken: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    calls: int = 0
    failed: int = 0  #: calls that ended with an error of ours
    faults: int = 0
    wrong: int = 0
    lost: int = 0
    hung: int = 0
    foreign: int = 0  #: errors that are not ours
    seconds: float = 0.0

    @property
    def sound(self) -> bool:
        """Whether nothing was found, and there was something to look at."""
        bad = self.wrong + self.lost + self.hung + self.foreign + len(self.broken) + len(self.refused)
        return bad == 0 and self.kept > 0

    def __str__(self) -> str:
        shown = "".join(f"\n    {line}" for line in [*self.broken, *self.refused][:6])
        return (
            f"{self.dialect}: {self.kept} promises kept, {self.not_offered} not offered, {len(self.broken)} broken; "
            f"{self.calls:,} calls with {self.faults:,} faults, {self.failed:,} failed; wrong {self.wrong}, "
            f"lost {self.lost}, hung {self.hung}, foreign errors {self.foreign}, refused {len(self.refused)}; "
            f"{self.seconds:.0f} s → {'sound' if self.sound else 'BROKEN'}{shown}"
        )


def report(dialects: Sequence[str], *, faults: int, seed: int) -> bool:
    """Try each of `dialects` (none: all), print what was seen, and return whether all was sound."""
    with moto_s3() as server:
        sound = True
        for number, dialect in enumerate(dialects or sorted(DIALECTS)):
            figures = asyncio.run(trial(server, dialect, faults=faults, seed=seed + number))
            print(figures, flush=True)
            sound = sound and figures.sound
    return sound


async def trial(
    server: S3Server, dialect: str, *, faults: int, seed: int, only: Sequence[str] | None = None
) -> Figures:
    """Return what one dialect shows: its promises (those in `only`), then `faults` faults under load."""
    figures, began = Figures(dialect), time.monotonic()
    async with DialectProxy(server.host, server.port, dialect) as proxy:
        backend = _opened(server, proxy, dialect)
        try:
            for one in await run(backend, only=only):
                figures.kept += one.state is State.KEPT
                figures.not_offered += one.state is State.NOT_OFFERED
                known = DIALECTS[dialect].folders and one.name in _WITH_FOLDERS
                if one.state is State.BROKEN and not known:
                    figures.broken.append(f"{one.name}: {one.reason[:200]}")
            if faults:
                await _Storm(proxy, backend, figures, faults, seed).blow()
        finally:
            await backend.close()
        figures.refused = [f"{head.start} {code}" for head, code in proxy.refused]
    figures.seconds = time.monotonic() - began
    return figures


def _opened(server: S3Server, proxy: DialectProxy, dialect: str) -> ObjectStoreBackend:
    settings = S3Settings.model_validate(
        {
            "dialect": dialect,
            "endpoint": proxy.url,
            "bucket": server.bucket,
            "region": server.region,
            "access_key": server.access_key,
            "secret_key": server.secret_key,
            "allow_http": True,
            "part_size": _PART,
            "upload_concurrency": 2,
            "read_timeout": 10,
        }
    )
    return open_s3("torture", settings, environment=Environment(clock=_Hurried()))


class _Hurried(SystemClock):
    """The real time; pauses are short, since the bad days here are over at once."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 0.002))


class _Storm:
    """A few workers, each with names of its own, and faults dealt out while they work."""

    def __init__(
        self, proxy: DialectProxy, backend: ObjectStoreBackend, figures: Figures, faults: int, seed: int
    ) -> None:
        self._proxy, self._backend, self._figures = proxy, backend, figures
        self._faults = faults
        self._chance = random.Random(seed)  # noqa: S311 - repeatable, not secret
        #: what may be under each name: digests of what was acknowledged and of what may have come through; "" is nothing
        self._may: dict[str, set[str]] = {}

    async def blow(self) -> None:
        """Work until all faults were met, then look at everything without any."""
        await asyncio.gather(*(self._work(number) for number in range(_AT_ONCE)))
        self._proxy.clear()
        for name in sorted(self._may):
            await self._look(name, calm=True)

    def _used(self) -> int:
        return sum(self._proxy.done.values())

    async def _work(self, worker: int) -> None:
        chance = random.Random(self._chance.random())  # noqa: S311
        names = [f"storm/{self._figures.dialect}/{worker}/{number}" for number in range(_NAMES // _AT_ONCE)]
        while self._used() < self._faults:
            if self._proxy.pending >= _AT_ONCE:
                self._proxy.clear()  # some wait for requests that come seldom, or never in this dialect
            self._proxy.script(self._fault(chance, names))
            name, what = chance.choice(names), chance.random()
            if what < 0.4:
                await self._put(name, chance)
            elif what < 0.8:
                await self._look(name)
            elif what < 0.9:
                await self._delete([name], many=False)
            else:
                await self._delete(names, many=True)
        self._figures.faults = self._used()

    def _fault(self, chance: random.Random, names: list[str]) -> Fault:
        return chance.choice(
            (
                slow_down(),
                slow_down(1),
                expired_token(),
                Answer(500, "InternalError"),
                Answer(503, after_effect=True),
                Answer(500, "InternalError", after_effect=True),
                failed_completion(),
                failed_deletions(self._backend._key(names[0])),
                short_body(chance.randrange(1, 5000)),
                Cut(after=chance.randrange(3000)),
                Cut(after=chance.randrange(60_000), upward=True),
                Refuse(),
            )
        )

    async def _put(self, name: str, chance: random.Random) -> None:
        size = chance.choice((0, 1, 4096, 70_000, 300_000)) if chance.random() < 0.97 else _PART + 11
        data = chance.randbytes(size)
        digest = hashlib.sha256(data).hexdigest()
        if await self._call(self._backend.put(name, Body.of_bytes(data))):
            self._may[name] = {digest}
        else:
            self._may.setdefault(name, {""}).add(digest)

    async def _delete(self, names: list[str], *, many: bool) -> None:
        call = self._backend.delete_many(names) if many else self._backend.delete(names[0])
        done = await self._call(call)
        for name in names:
            self._may[name] = {""} if done else {"", *self._may.get(name, set())}

    async def _look(self, name: str, *, calm: bool = False) -> None:
        wanted = self._may.setdefault(name, {""})
        found = await self._read(name)
        if found is None:
            self._figures.hung += calm
        elif found not in wanted:
            self._figures.lost += found == ""
            self._figures.wrong += found != ""
            print(f"  {self._figures.dialect} {name}: {found[:12] or 'nothing'}", flush=True)

    async def _read(self, name: str) -> str | None:
        """Return the digest of the bytes, "" for nothing, None when it could not be told."""
        got: list[str] = []

        async def read() -> None:
            try:
                async with self._backend.get(name) as reader:
                    whole = await reader.read()
                if whole and len(whole) > 100:
                    async with self._backend.get(name, range=ByteRange(7, 99)) as reader:
                        self._figures.wrong += await reader.read() != whole[7:100]
                got.append(hashlib.sha256(whole).hexdigest())
            except NotFoundError:
                got.append("")

        await self._call(read())
        return got[0] if got else None

    async def _call(self, work: object) -> bool:
        """Await `work`; return whether it succeeded. Errors must be ours, and come in time."""
        self._figures.calls += 1
        try:
            async with asyncio.timeout(_PATIENCE):
                await work  # type: ignore[misc]
        except HoldfastError:
            self._figures.failed += 1
            return False
        except TimeoutError:
            self._figures.hung += 1
            return False
        except Exception as error:
            self._figures.foreign += 1
            print(f"  {self._figures.dialect}: {type(error).__name__}: {error}", flush=True)
            return False
        return True
