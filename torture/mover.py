"""The process that `torture.migrate` kills: works on one job until it has ended. `python -m torture.mover HOME JOB`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from holdfast.backends.local import LocalSettings, open_local
from holdfast.catalog import open_catalog
from holdfast.core.backend import Store
from holdfast.core.clock import Environment
from holdfast.engine.engine import Engine
from holdfast.engine.settings import EngineSettings
from holdfast.jobs.holding import Habits
from holdfast.jobs.installed import installed
from holdfast.jobs.runner import Runner
from holdfast.policy.placement import Placement

HABITS = Habits(lease=2.0, look=0.3, pause=0.5)  #: who is killed is replaced soon
GRACE = 60.0
STORES = ("source", "target")


@asynccontextmanager
async def engine_at(home: Path) -> AsyncIterator[Engine]:
    """Give an engine over the catalog and the two stores under `home`; objects go to the first."""
    environment = Environment()
    catalog = await open_catalog(f"sqlite:///{home}/catalog.db", environment=environment, upgrade=True)
    stores = {}
    for name in STORES:
        (home / name).mkdir(exist_ok=True)
        stores[name] = Store(name, open_local(name, LocalSettings(path=home / name), environment=environment))
    placement = Placement.everything([STORES[0]])
    settings = EngineSettings(grace=GRACE)
    engine = Engine(catalog, stores, placement, environment=environment, settings=settings)
    try:
        yield engine
    finally:
        await engine.close()


async def _work(home: Path, job_id: str) -> None:
    async with engine_at(home) as engine:
        await Runner(engine, installed(), habits=HABITS).run_job(job_id)


if __name__ == "__main__":
    asyncio.run(_work(Path(sys.argv[1]), sys.argv[2]))
