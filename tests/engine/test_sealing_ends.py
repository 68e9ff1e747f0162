"""The last sealing of a process: done when the catalog answers, given up soon when it does not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.core.clock import Environment
from holdfast.core.errors import UnavailableError
from holdfast.engine.audit import SealReport
from holdfast.jobs import seal

pytestmark = pytest.mark.engine


class _Engine:
    """A catalog that answers or hangs, and an audit whose sealings are counted."""

    def __init__(self, *, answers: bool, refuses: bool = False) -> None:
        self.answers, self.refuses, self.begun, self.done = answers, refuses, 0, 0
        self.context = SimpleNamespace(environment=Environment())
        self.catalog, self.audit, self.recorder = self, self, _Recorder()
        self.started = asyncio.Event()

    async def ping(self) -> None:
        if self.refuses:
            raise UnavailableError("gone")
        if not self.answers:
            await asyncio.Event().wait()

    async def seal(self) -> SealReport:
        self.begun += 1
        self.started.set()
        if not self.answers:
            await asyncio.Event().wait()
        self.done += 1
        return SealReport()


class _Recorder(list[Any]):
    dropped = 0
    fresh = seal.MOST  # so that sealing begins at once


async def _ended(engine: Any) -> None:
    task = asyncio.ensure_future(seal.keep_sealing(engine))
    await engine.started.wait()
    task.cancel()
    _, pending = await asyncio.wait([task], timeout=5)
    assert not pending, "it does not end"


@pytest.mark.parametrize("refuses", [False, True])
def test_a_catalog_that_is_gone_holds_the_end_up_no_longer(refuses: bool) -> None:
    engine = _Engine(answers=False, refuses=refuses)
    asyncio.run(_ended(engine))
    assert engine.done == 0


def test_what_waits_is_sealed_when_the_catalog_answers() -> None:
    engine = _Engine(answers=True)
    asyncio.run(_ended(engine))
    assert engine.done == engine.begun >= 2
