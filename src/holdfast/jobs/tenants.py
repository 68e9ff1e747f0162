"""Deleted tenants: removed when their time is over, for as long as the process lives."""

from __future__ import annotations

import structlog

from holdfast.engine.engine import Engine
from holdfast.jobs.repeat import repeat

_log = structlog.get_logger("holdfast.tenants")


async def keep_removing_tenants(engine: Engine, interval: float) -> None:
    """Remove tenants whose time is over, every `interval` seconds until cancelled; 0: never."""

    async def remove() -> None:
        for tenant in await engine.remove_tenants():
            _log.info("tenant removed", tenant=tenant)

    await repeat("removing tenants", remove, interval, engine.context.environment)
