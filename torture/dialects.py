"""The S3 driver in front of every dialect: all promises, then many operations while the server has its bad days.

Looked for: bytes that are not what was put, a put that was acknowledged and is gone or older, a promise that breaks, a
request that the dialect would refuse, a call that does not end.
"""
# ruff: noqa: T201 - this is a program: it prints

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from holdfast.backends.object_store import ObjectStoreBackend, S3Settings, open_s3
from holdfast.backends.object_store.dialects import DIALECTS, MIB
from holdfast.core.body import Body
from holdfast.core.clock import Environment
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
from torture.storm import Figures as Seen
from torture.storm import Hasty, Storm

_PART = 5 * MIB
#: Where a space ends each key, a name has one character less than the promise says.
_WITH_FOLDERS = frozenset({"a_store_has_a_name_and_limits"})


@dataclass
class Figures(Seen):
    """What was seen with one dialect."""

    dialect: str = ""
    kept: int = 0
    not_offered: int = 0
    broken: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing was found, and there was something to look at."""
        return not (self.wrong or self.broken or self.refused) and self.kept > 0

    def __str__(self) -> str:
        shown = "".join(f"\n    {line}" for line in [*self.broken, *self.refused, *self.wrong][:6])
        return (
            f"{self.dialect}: {self.kept} promises kept, {self.not_offered} not offered, {len(self.broken)} broken; "
            f"{self.calls:,} calls with {self.faults:,} faults, {self.failed:,} failed; wrong {len(self.wrong)}, "
            f"refused {len(self.refused)}; {self.seconds:.0f} s → {'sound' if self.sound else 'BROKEN'}{shown}"
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
    figures, began = Figures(dialect=dialect), time.monotonic()
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
    return open_s3("torture", settings, environment=Environment(clock=Hasty()))


class _Storm(Storm):
    """A few workers, each with names of its own, and faults dealt out while they work."""

    workers = 8
    names = 3

    def __init__(
        self, proxy: DialectProxy, backend: ObjectStoreBackend, figures: Figures, faults: int, seed: int
    ) -> None:
        super().__init__(backend, figures, faults, seed, part=_PART)
        self._proxy, self._bucket = proxy, backend
        self._start = f"storm/{figures.dialect}/"

    def met(self) -> int:
        """Return how many faults there were."""
        return sum(self._proxy.done.values())

    def calm(self) -> None:
        """End the bad days."""
        self._proxy.clear()

    async def act(self, name: str, chance: random.Random) -> None:
        """Do one thing with `name`, or with all of its worker."""
        worker = name.partition("/")[0]
        names = [f"{self._start}{worker}/{number}" for number in range(self.names)]
        if self._proxy.pending >= self.workers:
            self._proxy.clear()  # some wait for requests that come seldom, or never in this dialect
        self._proxy.script(self._fault(chance, names))
        what = chance.random()
        if what < 0.4:
            await self._store(self._start + name, chance)
        elif what < 0.8:
            await self._look(self._start + name)
        elif what < 0.9:
            await self._remove(self._start + name)
        else:
            await self._remove_all(names)

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
                failed_deletions(self._bucket._key(names[0])),
                short_body(chance.randrange(1, 5000)),
                Cut(after=chance.randrange(3000)),
                Cut(after=chance.randrange(60_000), upward=True),
                Refuse(),
            )
        )

    async def _store(self, name: str, chance: random.Random) -> None:
        """Put without a condition, which not every dialect knows."""
        size = chance.choice((0, 1, 4096, 70_000, 300_000)) if chance.random() < 0.97 else _PART + 11
        data = chance.randbytes(size)
        digest = sha256(data).hexdigest()
        if await self._call(self._backend.put(name, Body.of_bytes(data))) is None:
            self._figures.acknowledged += 1
            self._may[name] = {digest}
        else:
            self._may[name] = {*self._may.get(name, {""}), digest}

    async def _remove_all(self, names: list[str]) -> None:
        done = await self._call(self._bucket.delete_many(names)) is None
        self._figures.acknowledged += done
        for name in names:
            self._may[name] = {""} if done else {"", *self._may.get(name, {""})}
