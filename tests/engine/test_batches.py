"""How far a batch is, as the catalog knows it while the batch runs: all that anybody learns when a process dies."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from holdfast.catalog.contract import Batch, BatchState
from holdfast.core.clock import Environment
from holdfast.core.errors import NotFoundError
from holdfast.engine import batches
from holdfast.engine.batches import Item, Result
from tests.helpers import engine_on, local_store, run

pytestmark = pytest.mark.engine


@pytest.mark.parametrize("done", [25, 60, 100])
def test_progress_is_noted_every_few_items_not_by_time_alone(
    catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, done: int
) -> None:
    monkeypatch.setattr(batches, "_EVERY", 3600.0)
    environment = Environment()

    async def story() -> None:
        held, tried = asyncio.Event(), 0

        async def act(item: Item) -> Result:
            nonlocal tried
            tried += 1
            if tried > done:
                await held.wait()
            if tried % 2:
                raise NotFoundError("there is no such object")
            return Result(item, size=1)

        async with engine_on(
            catalog_url, local_store("local", tmp_path / "o", environment), environment=environment
        ) as (engine, session):
            items = [Item("plain", f"{n}") for n in range(300)]
            who = (session.principal.tenant, session.principal.id)
            batch = await engine.batches.start(*who, "delete", items, act, id="b")

            async def known() -> Batch:
                return await engine.batches.get(who[0], batch.id)

            async with asyncio.timeout(20):
                while (now := await known()).done + now.failed <= done - 25:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                assert now.state is BatchState.RUNNING
                assert now.done
                assert now.failed
                held.set()
                while (now := await known()).state is BatchState.RUNNING:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            assert (now.done + now.failed, now.bytes) == (300, now.done)

    run(story())
