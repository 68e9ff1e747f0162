"""The sweeper: sweeps for as long as the process lives."""

from __future__ import annotations

import structlog

from holdfast.engine.engine import Engine
from holdfast.jobs.repeat import repeat

_log = structlog.get_logger("holdfast.sweep")


async def keep_sweeping(engine: Engine, interval: float) -> None:
    """Sweep every `interval` seconds until cancelled; 0: never."""

    async def sweep() -> None:
        report = await engine.sweep()
        if report.expired or report.deleted:
            _log.info("swept", expired=report.expired, deleted=report.deleted)
        for store, count in report.failed.items():
            _log.warning("blobs could not be deleted", store=store, blobs=count, reason=report.reasons[store])

    await repeat("sweep", sweep, interval, engine.context.environment)
