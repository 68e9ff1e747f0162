"""Measuring stores: again and again for as long as the process lives; processes that share a catalog take turns."""

from __future__ import annotations

from holdfast.engine.engine import Engine
from holdfast.engine.measuring import measure
from holdfast.jobs.repeat import repeat


async def keep_measuring(engine: Engine, interval: float) -> None:
    """Measure every `interval` seconds until cancelled, unless somebody else just did; 0: never."""

    async def work() -> None:
        await measure(engine.context, younger=interval / 2)

    await repeat("measuring stores", work, interval, engine.context.environment)
