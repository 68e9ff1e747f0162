"""A world whose stores tests damage: two stores in memory, every version in both, on a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from holdfast.backends.memory import MemoryBackend
from holdfast.core.body import Body
from holdfast.core.clock import Environment, ManualClock
from holdfast.core.findings import Finding
from holdfast.core.types import Replica
from holdfast.jobs.fsck import Fsck
from holdfast.jobs.scrub import Scrub
from holdfast.policy.placement import Rule
from tests.engine.alone import Ran, run_alone
from tests.engine.encrypted import Place, place

BOTH = Rule("default", ("main", "other"), acknowledge=2)
ALONE = Rule("default", ("main",))
DAY = 86400.0


@asynccontextmanager
async def world(url: str, *, rule: Rule = BOTH, seed: int = 5, **more: Any) -> AsyncIterator[Place]:
    """Give an engine over `main` and `other`."""
    async with place(
        url, rule=rule, stores=("main", "other"), environment=Environment.seeded(seed), **more
    ) as found:
        yield found


def advance(here: Place, seconds: float) -> None:
    """Let time pass."""
    assert isinstance(here.environment.clock, ManualClock)
    here.environment.clock.advance(seconds)


async def raw(disk: MemoryBackend, name: str) -> bytes:
    async with disk.get(name) as reader:
        return await reader.read()


async def flip(disk: MemoryBackend, name: str, at: int = -1) -> None:
    """Change one bit of a blob as it lies in the store."""
    data = bytearray(await raw(disk, name))
    data[at] ^= 0x10
    await disk.put(name, Body.of_bytes(bytes(data)))


async def copies(here: Place, store: str = "") -> list[Replica]:
    """Return the rows, of one store when it is named, by the name of their blob."""
    rows = await here.engine.catalog.replicas()
    return sorted((row for row in rows if store in ("", row.store)), key=lambda row: row.blob)


async def scrub(here: Place, *, twice: bool = False, **spec: Any) -> Ran:
    return await run_alone(here.engine, Scrub(), spec, twice=twice)


async def fsck(here: Place, *, twice: bool = False, **spec: Any) -> Ran:
    return await run_alone(here.engine, Fsck(), spec, twice=twice)


async def found(here: Place, **only: Any) -> dict[tuple[str, str], Finding]:
    """Return findings by kind and state, one of each at most."""
    page = await here.engine.catalog.findings(**only)
    told = {(finding.kind.value, finding.state.value): finding for finding in page}
    assert len(told) == len(page), page
    return told
