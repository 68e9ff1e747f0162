"""The sweeper: sweeps for as long as the process lives."""

from __future__ import annotations

import structlog

from holdfast.core.errors import HoldfastError
from holdfast.engine.engine import Engine

_log = structlog.get_logger("holdfast.sweep")


async def keep_sweeping(engine: Engine, interval: float) -> None:
    """Sweep every `interval` seconds (jittered by a quarter, so that replicas spread out) until cancelled; 0: never."""
    if interval <= 0:
        return
    environment = engine.context.environment
    while True:
        await environment.clock.sleep(interval * environment.random.uniform(0.75, 1.25))
        try:
            report = await engine.sweep()
        except HoldfastError as error:
            _log.warning("sweep failed", code=error.code, error=error.message)
            continue
        if report.expired or report.deleted:
            _log.info("swept", expired=report.expired, deleted=report.deleted)
        for store, count in report.failed.items():
            _log.warning("blobs could not be deleted", store=store, blobs=count, reason=report.reasons[store])
