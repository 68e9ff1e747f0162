"""Retention: removes versions whose time is over, for as long as the process lives."""

from __future__ import annotations

import structlog

from holdfast.engine.engine import Engine
from holdfast.jobs.repeat import repeat

_log = structlog.get_logger("holdfast.expire")


async def keep_expiring(engine: Engine, interval: float) -> None:
    """Expire every `interval` seconds until cancelled; 0: never."""

    async def expire() -> None:
        if count := await engine.expire():
            _log.info("expired", versions=count)

    await repeat("expiring", expire, interval, engine.context.environment)
