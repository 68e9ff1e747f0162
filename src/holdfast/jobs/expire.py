"""Retention: removes versions whose time is over, for as long as the process lives."""

from __future__ import annotations

import structlog

from holdfast.core.errors import HoldfastError
from holdfast.engine.engine import Engine

_log = structlog.get_logger("holdfast.expire")


async def keep_expiring(engine: Engine, interval: float) -> None:
    """Expire every `interval` seconds (jittered, so that replicas spread out) until cancelled; 0: never."""
    if interval <= 0:
        return
    environment = engine.context.environment
    while True:
        await environment.clock.sleep(interval * environment.random.uniform(0.75, 1.25))
        try:
            count = await engine.expire()
        except HoldfastError as error:
            _log.warning("expiring failed", code=error.code, error=error.message)
            continue
        if count:
            _log.info("expired", versions=count)
